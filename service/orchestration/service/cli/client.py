"""A small synchronous client of the API: one channel, typed calls, failures as `CliError`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Protocol, Self, TypeVar

import grpc
from google.protobuf.message import Message

from orchestration.service.cli.errors import CliError, ExitCode
from orchestration.service.cli.failures import api_error

POOLS = "/orchestration.v1.ComputePoolManagerService/"
MODELS = "/orchestration.v1.ModelRegistryService/"
DEPLOYMENTS = "/orchestration.v1.ModelDeploymentService/"

_MAX_REPLY_BYTES = 64 * 1024 * 1024
_MAX_PAGE = 1000
API_KEY = "ORCHESTRATION_API_KEY"
"""The variable that holds the key to show. There is no flag: whoever sees the processes would see it."""

Reply = TypeVar("Reply", bound=Message)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


class Client:
    """Calls a server; each call fails at once when the server cannot be reached."""

    def __init__(self, server: str, timeout_s: float) -> None:
        self.server = server
        self._timeout_s = timeout_s
        key = os.environ.get(API_KEY, "").strip()
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise CliError(f"{API_KEY} holds no key: expected printable ASCII without spaces", ExitCode.USAGE)
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._channel = grpc.insecure_channel(server, options=[("grpc.max_receive_message_length", _MAX_REPLY_BYTES)])

    def close(self) -> None:
        """Close the channel; open streams end."""
        self._channel.close()

    def call(self, method: str, request: Message, reply: type[Reply], timeout_s: float | None = None) -> Reply:
        """One unary call; ``method`` is ``/package.Service/Method``. Raises `CliError`."""
        rpc = self._channel.unary_unary(method, request_serializer=_serialize, response_deserializer=reply.FromString)
        try:
            return rpc(request, timeout=timeout_s or self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise api_error(error, self.server) from error

    def stream(
        self, method: str, request: Message, reply: type[Reply], timeout_s: float | None = None
    ) -> Iterator[Reply]:
        """The messages of a server stream as they come, without a deadline unless given. Raises `CliError`."""
        rpc = self._channel.unary_stream(method, request_serializer=_serialize, response_deserializer=reply.FromString)
        call = rpc(request, timeout=timeout_s, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise api_error(error, self.server) from error
        finally:
            call.cancel()


@contextmanager
def connect(server: str, timeout_s: float) -> Generator[Client, None, None]:
    """A client for the length of a block."""
    client = Client(server, timeout_s)
    try:
        yield client
    finally:
        client.close()


class PagedRequest(Protocol):
    """A list request."""

    page_size: int
    page_token: str


class PagedReply(Protocol):
    """A list reply."""

    next_page_token: str
    total_size: int

    def MergeFrom(self, other_msg: Self, /) -> None:  # noqa: N802 (the name is protobuf's)
        """Append the other reply's rows."""
        ...


Page = TypeVar("Page", bound=PagedReply)


def fetch_pages(fetch: Callable[[], Page], request: PagedRequest, count: Callable[[Page], int], limit: int) -> Page:
    """Read pages until ``limit`` rows are there or none are left, merged into one reply.

    ``fetch`` sends ``request`` as it is at that time; ``count`` counts the rows of a reply.
    """
    request.page_size = min(limit, _MAX_PAGE)
    whole = fetch()
    while whole.next_page_token and count(whole) < limit:
        request.page_token = whole.next_page_token
        request.page_size = min(limit - count(whole), _MAX_PAGE)
        page = fetch()
        whole.MergeFrom(page)
        whole.next_page_token = page.next_page_token
    return whole
