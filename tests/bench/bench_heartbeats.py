"""Heartbeats over gRPC: CPU of the server process for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

from orchestration.v1 import compute_pools_pb2 as pb
from orchestration.v1.compute_pools_pb2_grpc import ComputePoolManagerServiceStub
from tests.bench.measuring import cpu_per_call, cpu_seconds, in_turns
from tests.bench.peer import METHOD
from tests.bench.results import Row, Target
from tests.bench.seed import PROVIDER
from tests.bench.servers import AUTHORIZATION, SMALL, Servers

_ROUNDS = 5
_CALLERS = 32
_EACH = 25
_SHOWN = (("authorization", AUTHORIZATION),)


async def rows(servers: Servers) -> list[Row]:
    """Unary against an empty method, and a stream against unary."""
    server, peer = await servers.gateway(SMALL), await servers.peer()
    stub: Any = ComputePoolManagerServiceStub(server.channel)
    agents = [_Agent(f"node-{number}") for number in range(_CALLERS)]
    empty: Any = peer.channel.unary_unary(
        METHOD, pb.HeartbeatRequest.SerializeToString, pb.HeartbeatResponse.FromString
    )

    async def unary(method: Any, pid: int) -> float:
        return await cpu_per_call(
            pid, lambda caller: method(agents[caller].heartbeat(), metadata=_SHOWN), callers=_CALLERS, each=_EACH
        )

    async def stream() -> float:
        count = _CALLERS * _EACH
        before = cpu_seconds(server.pid)
        answered = 0
        async for answer in stub.StreamHeartbeats(_heartbeats(agents, count), metadata=_SHOWN):
            if answer.status != "ok":
                raise RuntimeError(f"a heartbeat was refused: {answer.status} {answer.message}")
            answered += 1
        if answered != count:
            raise RuntimeError(f"{count} heartbeats have {answered} answers")
        return (cpu_seconds(server.pid) - before) / count * 1e6

    rounds = await in_turns(
        _ROUNDS,
        {
            "unary": lambda: unary(stub.Heartbeat, server.pid),
            "empty": lambda: unary(empty, peer.pid),
            "stream": stream,
        },
    )
    return _rows(
        {name: 1e6 / rounds.median(name) for name in rounds.figures},
        rounds.ratio("empty", "unary"),
        rounds.ratio("unary", "stream"),
    )


def _rows(per_second: dict[str, float], to_empty: float, to_unary: float) -> list[Row]:
    return [
        Row(
            figure="gRPC Heartbeat, for a second of CPU",
            value=per_second["unary"],
            unit="/s",
            peer="empty grpc.aio method",
            peer_value=per_second["empty"],
            ratio=to_empty,
            target=Target(">=", 0.6),
        ),
        Row(
            figure="gRPC StreamHeartbeats, for a second of CPU",
            value=per_second["stream"],
            unit="/s",
            peer="gRPC Heartbeat",
            peer_value=per_second["unary"],
            ratio=to_unary,
            target=Target(">=", 2.0),
        ),
    ]


class _Agent:
    """A node's agent; its heartbeats are in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sequence = itertools.count(1)

    def heartbeat(self) -> pb.HeartbeatRequest:
        """The next one: alive, with new numbers."""
        sequence = next(self._sequence)
        return pb.HeartbeatRequest(
            provider=PROVIDER,
            provider_instance_id=self._name,
            incarnation=1,
            sequence=sequence,
            state="READY",
            gpu_allocated=sequence % 8,
            vcpu_allocated=12.5,
            ram_gb_allocated=96.0,
            health_score=99.0,
            telemetry={"gpu0.temperature_c": 61.0, "gpu0.utilization": 0.93},
        )


async def _heartbeats(agents: list[_Agent], count: int) -> AsyncIterator[pb.HeartbeatRequest]:
    for agent in itertools.islice(itertools.cycle(agents), count):
        yield agent.heartbeat()
