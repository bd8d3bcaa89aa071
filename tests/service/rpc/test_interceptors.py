"""The order of the interceptors, and what each does, on a real gRPC server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from prometheus_client import CollectorRegistry, generate_latest

from orchestration.service.errors import ExhaustedError
from orchestration.service.rpc.interceptors import Limits, build_interceptors, build_stages, concurrency
from orchestration.service.rpc.interceptors.deadlines import EqualDeadlines
from orchestration.service.rpc.interceptors.shutdown import ShutdownStage
from orchestration.v1 import model_deployments_pb2 as pb
from orchestration.v1 import model_deployments_pb2_grpc as pb_grpc

SECRET = "the secret that stands in an exception"


class Servicer(pb_grpc.ModelDeploymentServiceServicer):
    """Handlers that do what a test needs."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.seen: list[Any] = []

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Any) -> pb.Deployment:
        match request.deployment_id:
            case "boom":
                raise RuntimeError(SECRET)
            case "limit":
                raise ExhaustedError("TOO_MUCH", "no more", {"limit": "1"})
            case "own":
                raise grpc.aio.AbortError(SECRET)
            case "wait":
                await self.release.wait()
            case _:
                pass
        return pb.Deployment(deployment_id=request.deployment_id)

    async def DeployModel(self, request: pb.DeployModelRequest, context: Any) -> pb.DeployModelResponse:
        self.seen.append(request.request_id)
        return pb.DeployModelResponse(deployment_id="d")

    async def WatchDeployments(
        self, request: pb.WatchDeploymentsRequest, context: Any
    ) -> AsyncIterator[pb.WatchDeploymentsResponse]:
        yield pb.WatchDeploymentsResponse(resume_token="first")
        await self.release.wait()
        raise RuntimeError(SECRET)


class Server:
    """A server with the gateway's interceptors."""

    def __init__(self, limits: Limits) -> None:
        self.registry = CollectorRegistry()
        self.shutdown = ShutdownStage()
        self.servicer = Servicer()
        self.interceptors = build_interceptors(limits, self.registry, self.shutdown)
        self.stub: Any = None
        self.health = HealthServicer()
        self.health_stub: Any = None


@asynccontextmanager
async def serving(limits: Limits | None = None) -> AsyncGenerator[Server]:
    made = Server(limits or Limits())
    server = grpc.aio.server(interceptors=made.interceptors)
    health_pb2_grpc.add_HealthServicer_to_server(made.health, server)
    untyped: Any = pb_grpc
    untyped.add_ModelDeploymentServiceServicer_to_server(made.servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        made.stub = pb_grpc.ModelDeploymentServiceStub(channel)
        made.health_stub = health_pb2_grpc.HealthStub(channel)
        yield made
    await server.stop(None)


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The details of a status, by type."""
    packed: Any = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    found: dict[str, Any] = {}
    for item in status_pb2.Status.FromString(packed).details:
        name = item.TypeName().rsplit(".", 1)[1]
        message = getattr(error_details_pb2, name)()
        item.Unpack(message)
        found[name] = message
    return found


def test_the_order() -> None:
    names = [type(item).__name__ for item in build_stages(Limits(), CollectorRegistry(), ShutdownStage())]
    assert names == [
        "RequestIdStage",
        "TelemetryStage",
        "DeadlineStage",
        "AuthenticationStage",
        "AuthorisationStage",
        "ConcurrencyStage",
        "ShutdownStage",
        "IdempotencyKeyStage",
        "ValidationStage",
    ]


async def test_an_unexpected_error_never_shows_its_text() -> None:
    async with serving() as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="boom"))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert SECRET not in str(caught.value)
        info = details(caught.value)["ErrorInfo"]
        assert info.metadata["correlation_id"] in (caught.value.details() or "")
        assert dict(caught.value.trailing_metadata() or ())["x-request-id"] == info.metadata["correlation_id"]


async def test_an_unexpected_error_in_a_stream_never_shows_its_text() -> None:
    async with serving() as server:
        server.servicer.release.set()
        call = server.stub.WatchDeployments(pb.WatchDeploymentsRequest())
        assert (await call.read()).resume_token == "first"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert SECRET not in str(caught.value)


async def test_known_errors_carry_reason_and_metadata() -> None:
    async with serving() as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="limit"))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        info = details(caught.value)["ErrorInfo"]
        assert (info.reason, info.domain, dict(info.metadata)) == ("TOO_MUCH", "orchestration", {"limit": "1"})


async def test_every_broken_rule_is_named() -> None:
    async with serving() as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.DeployModel(pb.DeployModelRequest(replicas=-1, env={"1BAD": "x"}))
        fields = {item.field for item in details(caught.value)["BadRequest"].field_violations}
        assert fields == {"model_name", "pool_id", "replicas", "env['1BAD']"}


async def test_the_callers_request_id_comes_back_unless_it_is_unfit() -> None:
    async with serving() as server:
        for sent, kept in (("abc-123", True), ("x" * 500, False), ("with space", False)):
            call = server.stub.GetDeployment(
                pb.GetDeploymentRequest(deployment_id="d"), metadata=(("x-request-id", sent),)
            )
            await call
            given = dict(await call.trailing_metadata())["x-request-id"]
            assert (given == sent) is kept
            assert given


async def test_the_idempotency_key_fills_the_request_id() -> None:
    async with serving() as server:
        request = pb.DeployModelRequest(model_name="m", pool_id="p")
        await server.stub.DeployModel(request, metadata=(("idempotency-key", "k1"),))
        assert server.servicer.seen == ["k1"]
        request.request_id = "other"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.DeployModel(request, metadata=(("idempotency-key", "k1"),))
        assert details(caught.value)["BadRequest"].field_violations[0].field == "request_id"


async def test_the_default_deadline_ends_a_slow_call() -> None:
    async with serving(Limits(default_deadline_s=0.05)) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="wait"))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_each_of_several_slow_calls_has_the_default_deadline() -> None:
    async with serving(Limits(default_deadline_s=0.3)) as server:

        async def wait(after_s: float) -> float:
            await asyncio.sleep(after_s)
            began = time.monotonic()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="wait"))
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return time.monotonic() - began

        async def answered() -> None:
            assert (await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="d"))).deployment_id == "d"

        await answered()
        waited = await asyncio.gather(*(wait(number * 0.1) for number in range(6)))
        assert min(waited) >= 0.29, "none is ended by another's deadline"
        await answered()


async def test_a_stream_that_writes_by_itself_is_a_stream() -> None:
    """As the health service's Watch is: it has no deadline, takes no place of a call, and ends with the gateway."""
    async with serving(Limits(max_unary=1, default_deadline_s=0.2)) as server:
        watch = server.health_stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        waiting = server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="wait"))
        with pytest.raises(grpc.aio.AioRpcError):
            await waiting  # beyond the default deadline
        await server.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.shutdown.close(5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_are_counted_whatever_ends_them() -> None:
    async with serving() as server:
        for request, timeout, code in (("own", None, "UNKNOWN"), ("wait", 0.3, "DEADLINE_EXCEEDED")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id=request), timeout=timeout)
            assert SECRET not in (caught.value.details() or "")
            labels = {"method": "/orchestration.v1.ModelDeploymentService/GetDeployment", "code": code}
            while server.registry.get_sample_value("orchestration_rpc_handled_total", labels) != 1:
                await asyncio.sleep(0.01)
        assert server.registry.get_sample_value("orchestration_rpc_in_flight") == 0


def test_the_default_deadline_holds_on_another_event_loop() -> None:
    deadlines = EqualDeadlines(0.05)

    async def run_out() -> None:
        deadline = deadlines.start()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asyncio.sleep(30)
        assert isinstance(deadline.settle(cancelled.value), TimeoutError)
        deadlines.start()  # is under way when the loop ends

    for _ in range(2):
        asyncio.run(run_out())


async def test_a_deadline_beyond_the_longest_is_cut() -> None:
    async with serving(Limits(max_deadline_s=0.05)) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="wait"), timeout=60)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert details(caught.value)["ErrorInfo"].reason == "DEADLINE_EXCEEDED", "the server's, not the client's own"


async def test_a_call_that_is_cancelled_gives_its_place_back() -> None:
    async with serving(Limits(max_unary=1)) as server:
        call = server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="wait"))
        in_flight = server.registry.get_sample_value
        while in_flight("orchestration_rpc_in_flight") != 1:
            await asyncio.sleep(0.01)
        call.cancel()
        while in_flight("orchestration_rpc_in_flight") != 0:
            await asyncio.sleep(0.01)
        assert (await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="d"))).deployment_id == "d"


async def test_more_calls_than_the_limit_are_refused_and_places_come_back() -> None:
    async with serving(Limits(max_unary=1, max_streams=1)) as server:
        waiting = asyncio.ensure_future(server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="wait")))
        stream = server.stub.WatchDeployments(pb.WatchDeploymentsRequest())
        await stream.read()
        in_flight = server.registry.get_sample_value
        while in_flight("orchestration_rpc_in_flight") != 2:
            await asyncio.sleep(0.01)
        for call in (
            server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="d")),
            server.stub.WatchDeployments(pb.WatchDeploymentsRequest()).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        server.servicer.release.set()
        await waiting
        assert (await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="d"))).deployment_id == "d"


async def test_probes_that_stay_keep_no_caller_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no key may watch the health: as many as do must leave room for the streams of those who have one."""
    monkeypatch.setattr(concurrency, "MAX_OPEN", 2)
    async with serving(Limits(max_unary=1, max_streams=1)) as server:
        watches = [server.health_stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.health_stub.Check(health_pb2.HealthCheckRequest())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream = server.stub.WatchDeployments(pb.WatchDeploymentsRequest())
        assert (await stream.read()).resume_token == "first"
        for watch in (*watches, stream):
            watch.cancel()


async def test_open_streams_end_when_the_gateway_stops() -> None:
    async with serving() as server:
        stream = server.stub.WatchDeployments(pb.WatchDeploymentsRequest())
        await stream.read()
        await server.shutdown.close(5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details(caught.value)["ErrorInfo"].reason == "SHUTTING_DOWN"
        assert "RetryInfo" in details(caught.value)


async def test_calls_are_counted_by_method_and_code() -> None:
    async with serving() as server:
        await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="d"))
        with pytest.raises(grpc.aio.AioRpcError):
            await server.stub.GetDeployment(pb.GetDeploymentRequest(deployment_id="boom"))
        text = generate_latest(server.registry).decode()
        method = 'method="/orchestration.v1.ModelDeploymentService/GetDeployment"'
        assert f'orchestration_rpc_handled_total{{code="OK",{method}}} 1.0' in text
        assert f'orchestration_rpc_handled_total{{code="INTERNAL",{method}}} 1.0' in text
