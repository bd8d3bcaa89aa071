"""`orchestration gateway` in front of a server that is not the gateway's own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from orchestration.v1 import compute_pools_pb2 as pools
from tests.support.command_line import Run
from tests.support.fake_api import FakeApi


@asynccontextmanager
async def gateway(*arguments: str) -> AsyncGenerator[str, None]:
    """The base URL of a gateway process; it must end well on SIGTERM."""
    command = [sys.executable, "-m", "orchestration.service.cli.main", "gateway", "--http-listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(*command, *arguments, stderr=PIPE)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            line = await process.stderr.readline()
        record = json.loads(line)
        assert record["message"] == "serving"
        yield f"http://{record['http']}"
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = await process.communicate()
    assert (process.returncode, rest) == (0, b"")


def write_descriptor_set(path: Path) -> None:
    found: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        for needed in file.dependencies:
            add(needed)
        found.setdefault(file.name, file)

    add(pools.DESCRIPTOR)
    descriptor_set = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(descriptor_set.file.add())
    path.write_bytes(descriptor_set.SerializeToString())


@pytest.mark.parametrize("reflection", [True, False])
async def test_it_serves_a_server_from_reflection_or_a_descriptor_set(
    reflection: bool, api: FakeApi, tmp_path: Path
) -> None:
    api.answers["GetPool"] = lambda request: pools.Pool(pool_id=request.pool_id, pool_name="p")
    flags = [] if reflection else ["--descriptor-set", str(tmp_path / "api.binpb")]
    if not reflection:
        write_descriptor_set(tmp_path / "api.binpb")
    async with (
        gateway("--upstream", api.address, *flags) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/deployment/pool/p1") as answer,
    ):
        assert answer.status == 200
        assert (await answer.json())["pool_id"] == "p1"
    assert api.asked("GetPool") == [pools.GetPoolRequest(pool_id="p1")]


@pytest.mark.parametrize(
    ("flags", "code", "why"),
    [
        ("--upstream 127.0.0.1:1 --upstream-wait 0", 5, "cannot learn the services of 127.0.0.1:1"),
        ("--upstream h:1 --http-listen x", 2, "has no port"),
        ("--upstream h:1 --descriptor-set /no/such", 2, "--descriptor-set: cannot read /no/such"),
        ("--upstream h:1 --descriptor-set /bin/sh", 2, "is no serialized FileDescriptorSet"),
        ("--upstream h:1 --ca-file /no/such", 2, "--ca-file: cannot read /no/such"),
        ("--upstream h:1 --client-cert /no/such", 2, "--client-cert and --client-key go together"),
        ("--upstream h:1 --client-cert /no/such --client-key /no/such", 2, "--client-key: cannot read /no/such"),
        ("--upstream h:1 --server-name x", 2, "--server-name: there is no certificate"),
        ("--upstream h:1 --cors-origin * --cors-credentials", 2, "cors_credentials"),
        ("--upstream h:1 --cors-expose a:b", 2, "cors_expose"),
        ("--upstream h:1 --trusted-proxy nowhere", 2, "trusted_proxies"),
        ("--upstream h:1 --log-level loud", 2, "--log-level: expected debug"),
    ],
)
async def test_what_it_cannot_do_is_told(flags: str, code: int, why: str) -> None:
    command = [sys.executable, "-m", "orchestration.service.cli.main", "gateway", *flags.split()]
    process = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
    _, err = await process.communicate()
    assert process.returncode == code
    assert err.startswith(b"error: ")
    assert why in err.decode()
    assert b"Traceback" not in err


async def test_an_upstream_is_required(cli: Run) -> None:
    result = await cli("gateway")
    assert result.code == 2
    assert "Missing option '--upstream'" in result.err
