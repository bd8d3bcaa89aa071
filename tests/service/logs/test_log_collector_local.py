"""Copying from real processes of the local provider, over restarts of the gateway's side."""

from __future__ import annotations

import asyncio
from pathlib import Path

from orchestration.service.logs.collector import LogCollector
from orchestration.service.logs.store import LogStore
from orchestration.service.providers.base import InstanceState
from tests.support.log_sources import all_lines, messages
from tests.support.provider_local import LocalHarness, local_harness
from tests.support.provider_processes import python_command

_LINES = 3000
_PRINT = f"import sys; [print('line', n, file=(sys.stdout, sys.stderr)[n % 2], flush=True) for n in range({_LINES})]"


async def _ended(local: LocalHarness, name: str) -> None:
    async with asyncio.timeout(10):
        while True:
            instance = await local.provider.describe(name)
            if instance is not None and instance.state is InstanceState.EXITED:
                return
            await asyncio.sleep(0.01)


async def test_each_line_of_a_process_is_kept_once_though_everything_is_opened_anew(tmp_path: Path) -> None:
    async with local_harness(tmp_path / "local") as local:
        await local.provider.create(local.spec("i", python_command(_PRINT)))
        for _ in range(3):
            store = LogStore(tmp_path / "logs")
            collector = LogCollector(store)
            collector.start(local.provider, "i", "d", "r")
            await asyncio.sleep(0.05)
            await collector.close()
            await store.close()
            await local.restart()
        await _ended(local, "i")
        store = LogStore(tmp_path / "logs")
        collector = LogCollector(store)
        await collector.drain(local.provider, "i", "d", "r")
        lines = messages(await all_lines(store, "d"))
        await collector.close()
        await store.close()
    for remainder in range(2):
        # The two streams are pipes of their own: order holds within each.
        own = [int(line.split()[1]) for line in lines if int(line.split()[1]) % 2 == remainder]
        assert own == list(range(remainder, _LINES, 2))
