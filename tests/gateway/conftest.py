"""The test service behind a gateway: in the process, and over a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from tests.support.transcoding_client import Running, Transport, running


@pytest.fixture(params=["in_process", "channel"], scope="module")
def transport(request: pytest.FixtureRequest) -> Transport:
    return cast("Transport", request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(transport: Transport) -> AsyncIterator[Running]:
    """One for all tests of a module, which must not change its state."""
    async with running(transport) as service:
        yield service
