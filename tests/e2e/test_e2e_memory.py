"""An engine that takes more memory than its control group has, really killed by the kernel."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.gateway import GatewayProcess, end_engines

_LIMIT = 700 * 1024 * 1024
"""Bytes: enough for the gateway, and not for an engine that takes without end."""
_ROOT = Path("/sys/fs/cgroup")


@pytest.fixture
def memory_group() -> Generator[Path]:
    """A control group of limited memory; skips where none can be made."""
    folder, limit = (_ROOT / "memory", "memory.limit_in_bytes")
    if not folder.is_dir():
        folder, limit = (_ROOT, "memory.max")
    group = folder / f"orchestration-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(_LIMIT))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"control groups of limited memory cannot be made here: {error}")
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (folder / "cgroup.procs").write_text(pid)
        group.rmdir()


async def test_an_engine_out_of_memory_is_told_as_such(memory_group: Path, tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path / "data")
    try:
        async with gateway.api() as api:
            (memory_group / "cgroup.procs").write_text(str(gateway.pid))  # engines are born into it
            deployment = await api.deploy(
                await api.make_pool(), "--say", "loading the weights", "--eat", restart_policy={"max_attempts": 1}
            )
            found = await api.reach(deployment, "FAILED", within_s=60)
            (replica,) = found["replica_statuses"]
            assert replica["reason"] == "OOM_KILLED", replica["message"]
            assert "killed by the kernel: its control group ran out of memory" in found["error_message"]
            assert "loading the weights" in found["error_message"]
    finally:
        await gateway.stop()
        end_engines(gateway.data_dir)
