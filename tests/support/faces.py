"""The API by each of its faces, gRPC and REST, so that one test holds for both.

A call names the RPC and gives its fields as ProtoJSON; an answer is a dictionary in the shape that REST gives. Over
REST the published path, the query and the body are made from the RPC's annotation.
"""

from __future__ import annotations

import abc
import functools
import io
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from yarl import URL

from tests.support.gateway import Api
from tests.support.protos import bindings, methods

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
DOMAIN = "orchestration"
# Any of these types can only be printed as JSON once its module was imported.
DETAIL_TYPES = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)


class ApiError(Exception):
    """A call that was refused, in the terms of AIP-193."""

    def __init__(self, code: str, message: str, details: list[dict[str, Any]]) -> None:
        super().__init__(f"{code}: {message} {details}")
        self.code = code
        self.message = message
        self.details = details

    def detail(self, kind: str) -> dict[str, Any] | None:
        """The detail of that type, such as ``ErrorInfo``."""
        return next((item for item in self.details if item["@type"].endswith(f".{kind}")), None)

    @property
    def info(self) -> dict[str, Any]:
        """The ErrorInfo, which every error has."""
        found = self.detail("ErrorInfo")
        assert found is not None, f"an error without ErrorInfo: {self}"
        return found

    @property
    def reason(self) -> str:
        """The ErrorInfo's reason."""
        return str(self.info["reason"])

    @property
    def violations(self) -> dict[str, str]:
        """What was wrong, by field."""
        found = self.detail("BadRequest") or {}
        return {item["field"]: item["description"] for item in found.get("field_violations", [])}


class Conversation(abc.ABC):
    """A stream in both directions."""

    @abc.abstractmethod
    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one request."""

    @abc.abstractmethod
    async def receive(self) -> dict[str, Any]:
        """The next answer."""


class Face(abc.ABC):
    """One way to call the API."""

    name: str

    @abc.abstractmethod
    async def call(self, rpc: str, /, *, headers: Any = None, **fields: Any) -> dict[str, Any]:
        """The answer of a unary call. Raises `ApiError`."""

    @abc.abstractmethod
    def stream(
        self, rpc: str, /, *, headers: Any = None, **fields: Any
    ) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        """The answers of a call that the server streams; ends the call when left. Reading raises `ApiError`."""

    @abc.abstractmethod
    def converse(self, rpc: str) -> AbstractAsyncContextManager[Conversation]:
        """A call that streams in both directions."""


@functools.cache
def method_named(rpc: str) -> MethodDescriptor:
    """The RPC's descriptor."""
    return next(method for method in methods() if method.name == rpc)


def _printed(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


class GrpcFace(Face):
    """Plain gRPC."""

    name = "grpc"

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def _callable(self, rpc: str) -> Any:
        method = method_named(rpc)
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        return getattr(self._channel, kind)(
            f"/{method.containing_service.full_name}/{rpc}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    async def call(self, rpc: str, /, *, headers: Any = None, **fields: Any) -> dict[str, Any]:
        """One unary call."""
        call = self._callable(rpc)(_request(rpc, fields), metadata=_metadata(headers), timeout=30)
        try:
            return _printed(await call)
        except grpc.aio.AioRpcError as error:
            raise _api_error(error) from None

    @asynccontextmanager
    async def stream(
        self, rpc: str, /, *, headers: Any = None, **fields: Any
    ) -> AsyncGenerator[AsyncIterator[dict[str, Any]], None]:
        """One call that the server streams."""
        call = self._callable(rpc)(_request(rpc, fields), metadata=_metadata(headers), timeout=60)

        async def answers() -> AsyncGenerator[dict[str, Any], None]:
            try:
                async for message in call:
                    yield _printed(message)
            except grpc.aio.AioRpcError as error:
                raise _api_error(error) from None

        try:
            async with aclosing(answers()) as reading:
                yield reading
        finally:
            call.cancel()

    @asynccontextmanager
    async def converse(self, rpc: str) -> AsyncGenerator[Conversation, None]:
        """One call that streams in both directions."""
        call = self._callable(rpc)(timeout=60)
        try:
            yield _GrpcConversation(rpc, call)
        finally:
            call.cancel()


class _GrpcConversation(Conversation):
    def __init__(self, rpc: str, call: Any) -> None:
        self._rpc = rpc
        self._call = call

    async def send(self, message: Mapping[str, Any]) -> None:
        await self._call.write(_request(self._rpc, message))

    async def receive(self) -> dict[str, Any]:
        return _printed(await self._call.read())


def _metadata(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple((key.lower(), value) for key, value in (headers or {}).items())


def _request(rpc: str, fields: Mapping[str, Any]) -> Message:
    return json_format.ParseDict(dict(fields), GetMessageClass(method_named(rpc).input_type)())


def _api_error(error: grpc.aio.AioRpcError) -> ApiError:
    code = error.code()
    packed = next((value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"), None)
    if packed is None:  # gRPC itself refused the call: the gateway has not seen it
        return ApiError(code.name, error.details() or "", [])
    assert isinstance(packed, bytes)
    status = status_pb2.Status.FromString(packed)
    assert status.code == code.value[0], f"the details say {status.code}, the status {code}"
    assert status.message == error.details()
    return ApiError(code.name, error.details() or "", [_printed(detail) for detail in status.details])


class RestFace(Face):
    """REST on the published paths."""

    def __init__(self, session: aiohttp.ClientSession, base: str, name: str = "rest") -> None:
        self._session = session
        self._base = base
        self.name = name

    def _target(self, rpc: str, fields: Mapping[str, Any]) -> tuple[str, str, str | None]:
        """Verb, URL and body."""
        binding = next(bindings(method_named(rpc)))
        rest = dict(fields)
        path = re.sub(r"\{(\w+)\}", lambda match: quote(str(rest.pop(match[1])), safe=""), binding.path)
        if binding.body == "*":
            return binding.verb, self._base + path, json.dumps(rest)
        query = urlencode([(key, each) for key, value in rest.items() for each in _texts(value)])
        return binding.verb, self._base + path + (f"?{query}" if query else ""), None

    async def call(self, rpc: str, /, *, headers: Any = None, **fields: Any) -> dict[str, Any]:
        """One unary call."""
        verb, url, body = self._target(rpc, fields)
        sent: dict[str, str] = {**(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        data = None if body is None else io.BytesIO(body.encode())
        async with self._session.request(verb, _encoded(url), data=data, headers=sent) as answer:
            return _read(answer.status, json.loads(await answer.text()))

    @asynccontextmanager
    async def stream(
        self, rpc: str, /, *, headers: Any = None, **fields: Any
    ) -> AsyncGenerator[AsyncIterator[dict[str, Any]], None]:
        """One call that the server streams, as NDJSON."""
        verb, url, _ = self._target(rpc, fields)
        sent: dict[str, str] = {**(headers or {}), "Accept": "application/x-ndjson"}
        async with self._session.request(verb, _encoded(url), headers=sent) as answer:

            async def answers() -> AsyncGenerator[dict[str, Any], None]:
                if answer.status != 200:
                    _read(answer.status, json.loads(await answer.text()))
                async for line in answer.content:
                    if line.strip():
                        yield _unwrap(json.loads(line))

            async with aclosing(answers()) as reading:
                yield reading

    @asynccontextmanager
    async def converse(self, rpc: str) -> AsyncGenerator[Conversation, None]:
        """One call that streams in both directions, over a WebSocket."""
        _, url, _ = self._target(rpc, {})
        async with self._session.ws_connect(url) as socket:
            yield _SocketConversation(socket)


def _texts(value: Any) -> list[str]:
    """A query parameter's values, as they are written in a URL."""
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]  # pyright: ignore[reportUnknownVariableType]
    return [json.dumps(value) if isinstance(value, bool) else str(value)]


def _encoded(url: str) -> URL:
    """The URL as it was written: aiohttp would otherwise decode what need not be encoded."""
    return URL(url, encoded=True)


class _SocketConversation(Conversation):
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, message: Mapping[str, Any]) -> None:
        await self._socket.send_str(json.dumps(dict(message)))

    async def receive(self) -> dict[str, Any]:
        return _unwrap(json.loads(await self._socket.receive_str(timeout=10)))


def _unwrap(frame: Mapping[str, Any]) -> dict[str, Any]:
    """What a line or frame holds: a result, or a last error."""
    if "error" in frame:
        error = frame["error"]
        raise ApiError(error["status"], error["message"], error["details"])
    assert set(frame) == {"result"}, f"neither a result nor an error: {frame}"
    return dict(frame["result"])


def _read(status: int, answer: Any) -> dict[str, Any]:
    """The answer, checked against the rules that hold for every one."""
    if status == 200:
        return dict(answer)
    assert set(answer) == {"error"}, f"{status} with something that is no error: {answer}"
    error = answer["error"]
    assert set(error) == {"code", "status", "message", "details"}
    assert error["code"] == status
    # A body that is too large has an HTTP status of its own, which no gRPC code stands for.
    assert status in {HTTP_STATUS[error["status"]]} | ({413} if error["status"] == "RESOURCE_EXHAUSTED" else set())
    raise ApiError(error["status"], error["message"], error["details"])


def face_of(name: str, api: Api) -> Face:
    """The face of that name: ``grpc``, or a REST one."""
    return GrpcFace(api.channel) if name == "grpc" else RestFace(api.rest.session, api.rest.base, name)
