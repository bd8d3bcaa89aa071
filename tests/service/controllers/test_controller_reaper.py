"""Providers fail one at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from orchestration.service.controllers.reaper import Reaper
from orchestration.service.controllers.shards import ShardLeases
from orchestration.service.providers.base import Instance, InstanceState, ProviderUnavailableError, Resource
from orchestration.service.providers.local.provider import CAPABILITIES
from orchestration.service.providers.registry import ProviderRegistry
from orchestration.service.usecases.managed_nodes import ManagedNodes
from orchestration.store.leases import LeaseManager
from orchestration.store.records import Node, NodeState, Pool
from orchestration.store.store import Store
from tests.support.fake_provider import FakeProvider


class Unreachable(FakeProvider):
    """Answers no list."""

    async def list_owned(self) -> Sequence[Instance]:
        """Raises."""
        raise ProviderUnavailableError("it is out of reach")


class Littered(FakeProvider):
    """Runs an instance that no replica knows."""

    deleted: tuple[str, ...] = ()

    async def list_owned(self) -> Sequence[Instance]:
        """The one."""
        return (Instance(name="left", provider_instance_id="left", state=InstanceState.RUNNING),)

    async def delete(self, name: str) -> None:
        """Noted."""
        self.deleted += (name,)


class Machine(FakeProvider):
    """A machine whose inventory can fail."""

    failing = False

    async def list_resources(self) -> Sequence[Resource]:
        """The machine."""
        if self.failing:
            raise ProviderUnavailableError("the driver does not answer")
        return (Resource(provider=self.name, provider_resource_id="host", vcpu=4),)


async def test_a_provider_out_of_reach_does_not_keep_the_next_from_being_swept(tmp_path: Path) -> None:
    littered = Littered("b", CAPABILITIES)
    providers = ProviderRegistry({"a": Unreachable("a", CAPABILITIES), "b": littered})
    async with await Store.open(f"sqlite+aiosqlite:///{tmp_path}/test.db") as store:
        shards = ShardLeases(LeaseManager(store, clock=time.time), 60, time.time)
        await shards.turn(lambda: None)
        await Reaper(store, shards, providers, time.time, interval_s=1, grace_s=0).sweep()
    assert littered.deleted == ("left",)


async def test_a_machine_whose_inventory_cannot_be_read_is_what_it_was(tmp_path: Path) -> None:
    machine = Machine("m", CAPABILITIES)
    async with await Store.open(f"sqlite+aiosqlite:///{tmp_path}/test.db") as store:
        async with store.write(actor="test") as tx:
            await tx.insert(Pool(id="p", name="p", owner_type="user", owner_id="a", provider="m"))
        managed = ManagedNodes(store, ProviderRegistry({"m": machine}), time.time)
        await managed.refresh()
        machine.failing = True
        await managed.refresh()
        assert [node.state for node in store.index.all(Node)] == [NodeState.READY]
