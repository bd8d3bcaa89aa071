# pyright: reportPrivateUsage=false
"""The disk of the data folder: full, gone, slow; also when the database is somewhere else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from orchestration.service import disk
from orchestration.service.disk import DiskWatch
from tests.support.disks import fill, small_disk
from tests.support.gateway import eventually, running_gateway


async def test_a_full_disk_is_told_of_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as folder:
        watch = DiskWatch([tmp_path, folder])
        await watch.look()
        assert watch.failure == ""
        fill(folder / "filler")
        await watch.look()
        assert watch.failure.startswith(f"DISK_FULL: {folder} cannot be written: No space left on device, for 0 s")
        (folder / "filler").unlink()
        await watch.look()
        assert watch.failure == ""
        assert list(folder.iterdir()) == [], "nothing is left behind"


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    watch = DiskWatch([tmp_path / "gone"])
    await watch.look()
    assert watch.failure.startswith(f"DISK_NOT_WRITABLE: {tmp_path / 'gone'}")


async def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def hang(_: Path) -> None:
        answers.wait(30)

    monkeypatch.setattr(disk, "_write", hang)
    monkeypatch.setattr(disk, "_SLOW_S", 0.1)
    watch = DiskWatch([tmp_path])
    looking = asyncio.create_task(watch.look())
    try:

        async def slow() -> bool:
            return watch.failure.startswith("DISK_SLOW")

        await eventually(slow, within_s=10)
    finally:
        answers.set()
    await looking
    assert watch.failure == ""


async def test_only_the_data_folder_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database elsewhere takes writes, but logs and engines have no room: not ready, and nothing is touched."""
    monkeypatch.setattr(disk, "INTERVAL_S", 0.2)
    database = tmp_path / "database.db"
    with small_disk(tmp_path / "disk", 16) as folder:
        async with running_gateway(folder / "data", database_url=f"sqlite+aiosqlite:///{database}") as api:

            async def ready() -> tuple[int, str]:
                status, answer = await api.rest.call("GET", "/readyz")
                return status, answer.get("reason", "")

            async def red() -> bool:
                status, reason = await ready()
                return status == 503 and f"DISK_FULL: {folder / 'data'}" in reason

            async def green() -> bool:
                return (await ready())[0] == 200

            deployment = await api.deploy(await api.make_pool())
            await api.reach(deployment, "RUNNING")
            await eventually(green)
            await asyncio.to_thread(fill, folder / "filler")
            await eventually(red, why=lambda: "a full data folder is not told of")
            await asyncio.sleep(1.5)
            found = await api.status(deployment)
            assert (found["status"], found["replica_statuses"][0]["restarts"]) == ("RUNNING", 0)
            (folder / "filler").unlink()
            await eventually(green, why=lambda: "readiness stayed red")
            await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
            await api.reach(deployment, "STOPPED")
