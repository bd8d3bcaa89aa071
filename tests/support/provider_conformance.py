"""What every provider must do, written once.

A provider's test file subclasses `ProviderConformance` and defines the fixture ``harness``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from orchestration.service.providers.base import InstanceSpec, InstanceState, LogRecord, Provider
from tests.support.provider_processes import ended, gone, until_async


class ProviderHarness(Protocol):
    """A started provider, and specs that mean something to it."""

    provider: Provider

    def serving(self, name: str) -> InstanceSpec:
        """An instance that prints ``line 0``, ``line 1`` and ``line 2`` and then serves until it is ended."""
        ...

    def exiting(self, name: str, lines: int, delay_s: float = 0) -> InstanceSpec:
        """One that prints ``line 0`` and so on, with the delay after each, and exits with code 3."""
        ...

    def running(self, name: str) -> int:
        """How many engine processes (jobs, pods) of this name there are, counted without the provider's help."""
        ...


async def read(provider: Provider, name: str, after: str = "", follow: bool = False) -> list[LogRecord]:
    """All the lines that the provider gives."""
    return [record async for record in provider.logs(name, after=after, follow=follow)]


async def line(provider: Provider, name: str, message: str) -> LogRecord:
    """The first record with this message, as soon as it is there."""

    async def found() -> LogRecord | None:
        return next((record for record in await read(provider, name) if record.message == message), None)

    record = await until_async(found)
    assert record is not None
    return record


class ProviderConformance:
    """The suite."""

    async def test_unknown_names_are_nothing_special(self, harness: ProviderHarness) -> None:
        provider = harness.provider
        for name in ("never-created", "", "..", "a/b", "x" * 500):
            assert await provider.describe(name) is None
            await provider.delete(name)
            assert await read(provider, name) == []
            assert await read(provider, name, follow=True) == []
        assert list(await provider.list_owned()) == []

    async def test_create_describe_list_agree(self, harness: ProviderHarness) -> None:
        spec = harness.serving("one")
        created = await harness.provider.create(spec)
        assert (created.name, created.deployment_id, created.replica_id) == ("one", spec.deployment_id, spec.replica_id)
        assert created.provider_instance_id

        async def is_running() -> bool:
            described = await harness.provider.describe("one")
            return described is not None and described.state is InstanceState.RUNNING

        await until_async(is_running)
        described = await harness.provider.describe("one")
        assert described is not None
        assert described.endpoint.startswith("http://")
        assert described.started_at > 0
        assert list(await harness.provider.list_owned()) == [described]

    async def test_create_again_gives_the_same_instance(self, harness: ProviderHarness) -> None:
        first = await harness.provider.create(harness.serving("same"))
        again = await harness.provider.create(harness.serving("same"))
        assert (again.provider_instance_id, again.endpoint) == (first.provider_instance_id, first.endpoint)
        assert harness.running("same") == 1

    async def test_concurrent_creates_of_one_name_start_one(self, harness: ProviderHarness) -> None:
        instances = await asyncio.gather(*(harness.provider.create(harness.serving("race")) for _ in range(12)))
        assert len({instance.endpoint for instance in instances}) == 1
        assert harness.running("race") == 1

    async def test_an_ended_instance_is_not_started_again(self, harness: ProviderHarness) -> None:
        spec = harness.exiting("brief", lines=1)
        await harness.provider.create(spec)
        first = await ended(harness.provider, "brief")
        assert (first.state, first.exit_code, first.signal, first.reason) == (InstanceState.EXITED, 3, None, "EXITED")
        assert await harness.provider.create(spec) == first
        assert harness.running("brief") == 0

    async def test_cancelled_create_leaves_one_instance_or_none(self, harness: ProviderHarness) -> None:
        for step in range(6):
            name = f"cancelled-{step}"
            task = asyncio.create_task(harness.provider.create(harness.serving(name)))
            await asyncio.sleep(step * 0.006)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # What the caller does who knows nothing of the effect: it asks for the same again.
            await harness.provider.create(harness.serving(name))
            assert harness.running(name) == 1

    async def test_list_is_oldest_first(self, harness: ProviderHarness) -> None:
        names = ["zebra", "ant", "mole"]
        for name in names:
            await harness.provider.create(harness.serving(name))
        assert [instance.name for instance in await harness.provider.list_owned()] == names

    async def test_delete_ends_and_forgets_and_can_be_repeated(self, harness: ProviderHarness) -> None:
        await harness.provider.create(harness.serving("gone"))
        await asyncio.gather(harness.provider.delete("gone"), harness.provider.delete("gone"))
        described = await harness.provider.describe("gone")
        assert described is None or described.state is InstanceState.STOPPING
        await harness.provider.delete("gone")
        await gone(harness.provider, "gone")
        await harness.provider.delete("gone")
        assert harness.running("gone") == 0
        assert list(await harness.provider.list_owned()) == []
        assert await read(harness.provider, "gone") == []

    async def test_a_deleted_name_can_be_used_again(self, harness: ProviderHarness) -> None:
        await harness.provider.create(harness.exiting("again", lines=5))
        await ended(harness.provider, "again")
        await harness.provider.delete("again")
        await gone(harness.provider, "again")
        await harness.provider.create(harness.exiting("again", lines=1))
        await ended(harness.provider, "again")
        assert [record.message for record in await read(harness.provider, "again")] == ["line 0"]

    async def test_logs_resume_after_each_cursor(self, harness: ProviderHarness) -> None:
        await harness.provider.create(harness.exiting("lines", lines=5))
        await ended(harness.provider, "lines")
        records = await read(harness.provider, "lines")
        assert [(record.stream, record.message) for record in records] == [("stdout", f"line {n}") for n in range(5)]
        assert all(record.time > 0 for record in records)
        for index, record in enumerate(records):
            assert await read(harness.provider, "lines", after=record.cursor) == records[index + 1 :]

    async def test_follow_gives_every_line_and_ends_with_the_instance(self, harness: ProviderHarness) -> None:
        await harness.provider.create(harness.exiting("tail", lines=40, delay_s=0.01))
        async with asyncio.timeout(60):
            records = await read(harness.provider, "tail", follow=True)
        assert [record.message for record in records] == [f"line {n}" for n in range(40)]
        assert len({record.cursor for record in records}) == 40

    async def test_follow_of_a_running_instance_can_be_left_and_taken_up(self, harness: ProviderHarness) -> None:
        await harness.provider.create(harness.exiting("relay", lines=30, delay_s=0.01))
        seen: list[LogRecord] = []
        # A reader that goes away after every few lines and comes back with the last cursor.
        async with asyncio.timeout(60):
            while len(seen) < 30:
                records = harness.provider.logs("relay", after=seen[-1].cursor if seen else "", follow=True)
                for _ in range(4):
                    record = await anext(records, None)
                    if record is None:
                        break
                    seen.append(record)
                assert isinstance(records, AsyncGenerator), "a reader must be able to leave"
                await records.aclose()
        assert [record.message for record in seen] == [f"line {n}" for n in range(30)]

    async def test_resources_are_of_this_provider(self, harness: ProviderHarness) -> None:
        for resource in await harness.provider.list_resources():
            assert resource.provider == harness.provider.name
            assert resource.provider_resource_id
            assert resource.pricing_model in {"fixed", "spot", "auction", "on_demand"}
            assert resource.price_per_hour >= 0
            assert resource.available_count >= 0

    async def test_capabilities_are_complete(self, harness: ProviderHarness) -> None:
        capabilities = harness.provider.capabilities
        assert capabilities.kind in {"local", "cluster", "marketplace"}
        assert capabilities.engines
        assert capabilities == harness.provider.capabilities
