"""A running gateway for each test, called by every face that it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.audit import Trail, audited
from tests.support.caller import Caller
from tests.support.faces import face_of
from tests.support.gateway import Api, running_gateway

FACES = {"grpc": "inprocess", "rest": "inprocess", "rest-over-channel": "channel"}
"""Ways to call, and how REST reaches the services in each."""


@pytest.fixture
def trail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trail]:
    """What the test makes the gateway commit; a transition without an event fails it."""
    with audited(monkeypatch) as watched:
        yield watched


@pytest.fixture(params=list(FACES))
async def api(request: pytest.FixtureRequest, tmp_path: Path, trail: Trail) -> AsyncIterator[Caller]:
    """A caller of a gateway of its own, once for each face."""
    name: str = request.param
    async with running_gateway(tmp_path, gateway_upstream=FACES[name]) as gateway:
        caller = Caller(face_of(name, gateway), gateway)
        yield caller
        await caller.clean_up()


@pytest.fixture
async def gateway(tmp_path: Path, trail: Trail) -> AsyncIterator[Api]:
    """A gateway for tests of what one face alone has."""
    async with running_gateway(tmp_path) as running:
        yield running
        await Caller(face_of("grpc", running), running).clean_up()
