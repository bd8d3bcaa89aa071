"""Handlers without a server: interceptors, contexts and synchronous handlers behave as grpc.aio has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError

from orchestration.gateway import Call, InProcessUpstream, Rpc, RuleError, UpstreamError
from orchestration.gateway.upstream.context import InProcessContext
from tests.support.interceptor_cases import CASES
from tests.support.interceptor_handlers import FORMS
from tests.support.transcoding_client import Transport, running
from tests.support.transcoding_service import SERVICE, Handlers, message, pool
from tests.support.upstream_calls import observe, upstream_of

CALL = Call((("x-who", "me"),), None, "ipv4:127.0.0.1:1")
Behaviour = Callable[[Any, Any], Any]


class Counting(grpc.aio.ServerInterceptor):
    """Counts how often it builds, and wraps nothing."""

    def __init__(self, *, looks: bool) -> None:
        self.built = 0
        self._looks = looks

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        self.built += 1
        if self._looks:
            assert handler_call_details.invocation_metadata is not None
        return await continuation(handler_call_details)


def method(name: str) -> Any:
    return pool().FindServiceByName(SERVICE).methods_by_name[name]


async def bind(
    name: str, behaviour: Behaviour, *interceptors: grpc.aio.ServerInterceptor, build_once: bool = False
) -> Rpc:
    """One method of the test service, with a behaviour of its own."""
    handlers = Handlers()
    setattr(handlers, "on_" + name.lower(), behaviour)
    upstream = InProcessUpstream([handlers.register], interceptors, pool(), build_once=build_once)
    return await upstream.bind(method(name))


async def get(behaviour: Behaviour, *interceptors: grpc.aio.ServerInterceptor, call: Call = CALL) -> Any:
    rpc = await bind("Get", behaviour, *interceptors)
    return message("Thing").FromString(await rpc.unary(message("Thing")(name="x").SerializeToString(), call))


async def each(*wires: bytes) -> AsyncIterator[bytes]:
    for wire in wires:
        yield wire


@pytest.mark.parametrize(("build_once", "looks", "built"), [(False, False, 2), (True, False, 1), (True, True, 3)])
async def test_interceptors_build_once_where_they_may(*, build_once: bool, looks: bool, built: int) -> None:
    counting = Counting(looks=looks)

    async def echo(request: Any, context: Any) -> Any:
        return request

    rpc = await bind("Get", echo, counting, build_once=build_once)
    for _ in range(2):
        await rpc.unary(b"", CALL)
    assert counting.built == built


async def test_interceptors_run_in_their_order(transport: Transport) -> None:
    order: list[str] = []

    class Named(Counting):
        def __init__(self, name: str) -> None:
            super().__init__(looks=False)
            self._name = name

        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            order.append(self._name)
            return await continuation(handler_call_details)

    async with running(transport, interceptors=[Named("outer"), Named("inner")]) as served:
        order.clear() if transport == "channel" else None
        assert (await served.get("/v1/things/x")).status == 200
    assert order[:2] == ["outer", "inner"]


async def test_status_set_without_abort() -> None:
    async def fail(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("gone")
        return request

    with pytest.raises(UpstreamError) as caught:
        await get(fail)
    assert (caught.value.code, caught.value.message) == (5, "gone")


async def test_abort_with_status_carries_its_details() -> None:
    class Status(grpc.Status):
        code = grpc.StatusCode.ABORTED
        details = "stale"
        trailing_metadata = (("grpc-status-details-bin", b"\x08\x0a"),)

    async def fail(request: Any, context: Any) -> Any:
        await context.abort_with_status(Status())

    with pytest.raises(UpstreamError) as caught:
        await get(fail)
    assert (caught.value.code, caught.value.status) == (10, b"\x08\x0a")


async def test_exception_after_a_status_keeps_the_status() -> None:
    async def fail(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        raise NotImplementedError("not here")

    with pytest.raises(UpstreamError) as caught:
        await get(fail)
    assert caught.value.code == 12


async def test_callbacks_run_when_the_call_is_over() -> None:
    seen: list[tuple[bool, bool]] = []

    def over(done: InProcessContext) -> None:
        seen.append((done.done(), done.cancelled()))

    async def echo(request: Any, context: InProcessContext) -> Any:
        context.add_done_callback(over)
        assert not context.done()
        return request

    await get(echo)
    assert seen == [(True, False)]


async def test_deadline_cancels_the_handler_in_the_callers_task() -> None:
    tasks: list[Any] = []
    seen: list[bool] = []

    def over(done: InProcessContext) -> None:
        seen.append(done.cancelled())

    async def hang(request: Any, context: InProcessContext) -> Any:
        tasks.append(asyncio.current_task())
        context.add_done_callback(over)
        assert 0 < context.time_remaining() <= 1.0
        await asyncio.Event().wait()

    with pytest.raises(UpstreamError) as caught:
        await get(hang, call=Call((), 1.0, "unix:"))
    assert caught.value.code == 4
    assert (tasks, seen) == ([asyncio.current_task()], [True])


async def test_timeout_of_the_handler_itself_is_no_deadline() -> None:
    async def fail(request: Any, context: Any) -> Any:
        raise TimeoutError

    with pytest.raises(UpstreamError) as caught:
        await get(fail, call=Call((), 5.0, "unix:"))
    assert caught.value.code == 2


async def test_context_tells_about_the_caller() -> None:
    async def check(request: Any, context: Any) -> Any:
        assert context.invocation_metadata() == (("x-who", "me"),)
        assert context.peer() == "ipv4:127.0.0.1:1"
        assert context.time_remaining() is None
        assert context.auth_context() == {}
        assert context.peer_identities() is None
        assert context.peer_identity_key() is None
        context.set_compression(grpc.Compression.Gzip)
        context.disable_next_message_compression()
        await context.send_initial_metadata((("a", "b"),))
        return request

    assert (await get(check)).name == "x"


class TestSynchronous:
    async def test_handler_runs_in_a_thread(self) -> None:
        def echo(request: Any, context: Any) -> Any:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            return request

        assert (await get(echo)).name == "x"

    async def test_abort_needs_no_await(self) -> None:
        def fail(request: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.NOT_FOUND, "gone")

        with pytest.raises(UpstreamError) as caught:
            await get(fail)
        assert (caught.value.code, caught.value.message) == (5, "gone")

    async def test_stream(self) -> None:
        def count(request: Any, context: Any) -> Any:
            for number in (1, 2):
                yield message("Tick")(number=number)

        rpc = await bind("Count", count)
        found = [message("Tick").FromString(wire).number async for wire in rpc.stream(each(b""), CALL)]
        assert found == [1, 2]


async def test_messages_by_read_and_write() -> None:
    async def chat(_: Any, context: Any) -> None:
        while (note := await context.read()) is not grpc.aio.EOF:
            await context.write(message("Note")(text=note.text * 2))

    rpc = await bind("Chat", chat)
    wire = message("Note")(text="ab").SerializeToString()
    assert [message("Note").FromString(each).text async for each in rpc.stream(each(wire), CALL)] == ["abab"]


async def test_unary_handler_has_nothing_to_read_or_write() -> None:
    async def misuse(request: Any, context: Any) -> Any:
        assert await context.read() is grpc.aio.EOF
        with pytest.raises(RuntimeError):
            await context.write(request)
        return request

    assert (await get(misuse)).name == "x"


async def test_stream_that_is_left_cancels_its_handler() -> None:
    cancelled = asyncio.Event()

    async def count(request: Any, context: Any) -> Any:
        try:
            while True:
                yield message("Tick")(number=1)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    rpc = await bind("Count", count)
    stream = rpc.stream(each(b""), CALL)
    await anext(stream)
    await stream.aclose()
    assert cancelled.is_set()


async def test_service_missing_from_the_pool() -> None:
    def register(server: Any) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("no.Such", {}),))

    with pytest.raises(RuleError, match=r"no\.Such"):
        InProcessUpstream([register]).descriptors()


def test_what_is_no_interceptor_is_refused() -> None:
    class Plain:
        pass

    with pytest.raises(ValueError, match=r"Plain is no grpc\.aio\.ServerInterceptor"):
        InProcessUpstream([], [Plain()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("name", "code"), [("streams_two", 13), ("aborts_with_ok", 2), ("raises_a_cancellation", 2)])
@pytest.mark.parametrize("kind", ["Get", "Collect"])
async def test_callers_are_answered_where_a_server_would_let_them_wait(name: str, kind: str, code: int) -> None:
    notes: list[object] = []
    async with upstream_of("in_process", FORMS["yields"](notes.append), CASES[name](notes.append)) as upstream:
        seen = await observe(upstream, kind)
    assert (seen["messages"], seen["error"]) == ([], (code, "The service failed unexpectedly.", None))


async def test_no_interceptor_is_left_out_when_one_asks_twice() -> None:
    notes: list[object] = []
    interceptors = CASES["asks_twice_before_another"](notes.append)
    async with upstream_of("in_process", FORMS["yields"](notes.append), interceptors) as upstream:
        await observe(upstream, "Get")
    assert "inner begins" in notes


class TestUnreadable:
    """Messages that the service cannot read, which a server takes for a failure of its own."""

    WIRE = b"\x0a\xff"

    async def test_refused_before_a_handler_without_a_clients_stream(self) -> None:
        async def count(request: Any, context: Any) -> Any:
            raise AssertionError("called")
            yield

        rpc = await bind("Count", count)
        with pytest.raises(UpstreamError) as caught:
            await anext(rpc.stream(each(self.WIRE), CALL))
        assert caught.value.code == 3

    async def test_a_decode_error_to_the_handler(self) -> None:
        async def chat(requests: Any, context: Any) -> Any:
            try:
                await anext(requests)
            except DecodeError:
                yield message("Note")(text="what?")
            await context.read()

        rpc = await bind("Chat", chat)
        responses = rpc.stream(each(self.WIRE, self.WIRE), CALL)
        assert message("Note").FromString(await anext(responses)).text == "what?"
        with pytest.raises(UpstreamError) as caught:
            await anext(responses)
        assert caught.value.code == 3
