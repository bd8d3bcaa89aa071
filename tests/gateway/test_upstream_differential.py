"""One set of handlers, in the process and behind a real gRPC server: callers of the gateway see no difference."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest

from tests.support import (  # They fill CASES.
    handler_cases_streams,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    handler_cases_unary,  # noqa: F401  # pyright: ignore[reportUnusedImport]
)
from tests.support.gateway import eventually
from tests.support.handler_cases import CASES, Case
from tests.support.transcoding_client import Running, Transport, running
from tests.support.transcoding_service import Handlers
from tests.support.upstream_calls import observe, upstream_of

TRANSPORTS: tuple[Transport, ...] = ("in_process", "channel")
TARGETS = {"Get": "/v1/things/x", "Count": "/v1/ticks", "Collect": "/v1/rooms/r/collect", "Chat": "/v1/rooms/r/chat"}


async def call(served: Running, case: Case) -> dict[str, object]:
    """All that a caller sees."""
    url = served.url(TARGETS[case.kind])
    if case.kind in ("Get", "Count"):
        async with served.session.get(
            url, headers={"TE": "trailers", "X-Request-Id": "one", **case.headers}
        ) as response:
            if case.leaves is not None:
                return {"lines": [await response.content.readline() for _ in range(case.leaves)]}
            own = {key: value for key, value in response.headers.items() if key != "Date"}
            return {"status": response.status, "headers": own, "body": await response.read()}
    async with served.session.ws_connect(url, headers=case.headers) as socket:
        for text in case.sends:
            await socket.send_str(json.dumps({"text": text}))
        await socket.send_str("")
        frames: list[Any] = []
        reason: object = None
        async with asyncio.timeout(20):
            while len(frames) != case.leaves:
                frame = await socket.receive()
                if not isinstance(frame.data, str):
                    reason = frame.extra
                    break
                frames.append(json.loads(frame.data))
        return {"frames": frames, "code": socket.close_code, "reason": reason}


async def outcome(case: Case, transport: Transport, *interceptors: grpc.aio.ServerInterceptor) -> dict[str, object]:
    notes: list[object] = []
    handlers = Handlers()
    setattr(handlers, "on_" + case.kind.lower(), case.make(notes.append))
    async with running(transport, handlers=handlers, interceptors=interceptors) as served:
        seen = await call(served, case)
        if case.leaves is not None:

            async def over() -> bool:
                return "over" in notes

            await eventually(over, within_s=10)
    return {**seen, "notes": notes}


@pytest.mark.parametrize("name", list(CASES))
async def test_both_upstreams_answer_alike(name: str) -> None:
    here, there = await outcome(CASES[name], "in_process"), await outcome(CASES[name], "channel")
    assert here == there


async def rpc_outcome(case: Case, transport: Transport) -> dict[str, object]:
    notes: list[object] = []
    timeout = case.headers.get("X-Request-Timeout")
    async with upstream_of(transport, {case.kind: case.make(notes.append)}) as upstream:
        return await observe(upstream, case.kind, timeout=float(timeout) if timeout else None)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.leaves is None])
async def test_both_upstreams_give_the_same_metadata(name: str) -> None:
    """What callers see of trailing metadata are HTTP trailers, which few clients show: here it is compared."""
    here, there = [await rpc_outcome(CASES[name], transport) for transport in TRANSPORTS]
    assert here == there
