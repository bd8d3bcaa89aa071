"""What a deleted instance printed last can be read for a while, and then nothing of it is left."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from orchestration.service.providers.local import provider as provider_module
from orchestration.service.providers.local import records as records_module
from orchestration.service.providers.local.records import InstanceFolder, empty_trash
from tests.support.provider_conformance import line, read
from tests.support.provider_local import LocalHarness, local_harness
from tests.support.provider_processes import gone, python_command, until
from tests.support.stores import FakeClock

_TALKS_TO_THE_END = """
import signal, sys, time

def stop(*_):
    for number in range(5000):
        print("last", number)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""


async def test_what_was_printed_during_the_end_is_read_after_it(local: LocalHarness) -> None:
    await local.provider.create(local.spec("a", python_command(_TALKS_TO_THE_END)))
    ready = await line(local.provider, "a", "ready")
    await local.provider.delete("a")
    await gone(local.provider, "a")
    for follow in (False, True):
        rest = await read(local.provider, "a", after=ready.cursor, follow=follow)
        assert [record.message for record in rest] == [f"last {n}" for n in range(5000)]
    # The next gateway finds it too; only what is new by that name is another matter.
    provider = await local.restart()
    assert len(await read(provider, "a", after=ready.cursor)) == 5000
    await provider.create(local.exiting("a", 1))
    assert (await read(provider, "a", follow=True))[0].message == "line 0"


async def test_the_trash_is_emptied_when_its_time_is_over(local: LocalHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await local.provider.create(local.exiting("a", 3))
    await read(local.provider, "a", follow=True)
    await local.provider.delete("a")
    await gone(local.provider, "a")
    empty_trash(local.data_dir, time.time())
    assert len(await read(local.provider, "a")) == 3
    monkeypatch.setattr(records_module, "TRASH_KEPT_S", 0.0)
    await local.restart()
    await until(lambda: not any((local.data_dir / "trash").iterdir()))
    assert await read(local.provider, "a") == []


async def test_the_trash_is_aged_by_the_time_of_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the wall clock is: this one is years ahead."""
    monkeypatch.setattr(
        provider_module, "TRASH_KEPT_S", 0.4
    )  # emptied so often; what lies in it is kept as long as ever
    emptied = 0

    def count(root: Path, now: float) -> None:
        nonlocal emptied
        empty_trash(root, now)
        emptied += 1

    monkeypatch.setattr(provider_module, "empty_trash", count)
    clock = FakeClock(4_000_000_000.0)
    async with local_harness(tmp_path, clock=clock) as local:
        await local.provider.create(local.exiting("a", 3))
        await read(local.provider, "a", follow=True)
        await local.provider.delete("a")
        await gone(local.provider, "a")
        clock.now += records_module.TRASH_KEPT_S - 1
        seen = emptied
        await until(lambda: emptied >= seen + 2)
        assert len(await read(local.provider, "a")) == 3
        clock.now += 2
        await until(lambda: not any((local.data_dir / "trash").iterdir()))


def test_the_trash_of_the_first_release_is_emptied_at_once(tmp_path: Path) -> None:
    (tmp_path / "trash" / "a.0123abc" / "log").mkdir(parents=True)
    (tmp_path / "trash" / "a.0123abc" / "spec.json").write_text("{}")
    empty_trash(tmp_path, time.time())
    assert list((tmp_path / "trash").iterdir()) == []


def test_a_clock_that_was_wrong_keeps_nothing_for_ever(tmp_path: Path) -> None:
    folder = InstanceFolder(tmp_path, "a")
    folder.path.mkdir(parents=True)
    folder.remove(time.time() + 86_400)
    assert folder.resting_place() != folder.path
    empty_trash(tmp_path, time.time())
    assert folder.resting_place() == folder.path


async def test_instances_can_be_forgotten_while_the_trash_is_emptied(tmp_path: Path) -> None:
    done = False

    def empty() -> None:
        while not done:
            empty_trash(tmp_path, time.time())

    emptying = asyncio.create_task(asyncio.to_thread(empty))
    for _ in range(200):
        folder = InstanceFolder(tmp_path, "a")
        folder.path.mkdir(parents=True)
        await asyncio.to_thread(folder.remove, time.time())
        assert not folder.exists()
    done = True
    await emptying
