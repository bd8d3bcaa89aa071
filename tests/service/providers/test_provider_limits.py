"""Calls to a provider end, and are so few at once, that one that hangs keeps nothing else from being done."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestration.service.providers.base import Instance, InstanceSpec, InstanceState, ProviderUnavailableError
from orchestration.service.providers.bounded import BoundedProvider, CallLimits, ProviderBusyError
from orchestration.service.providers.inventory import ClusterNodes, NodeScope
from orchestration.service.providers.kubernetes import CAPABILITIES as KUBERNETES
from orchestration.service.providers.registry import ProviderRegistry
from tests.support.fake_provider import FakeProvider
from tests.support.gateway import eventually

FEW = CallLimits(create_s=30, describe_s=0.05, delete_s=0.05, list_s=0.05, at_once=2, turn_s=0.05)


class Hanging(FakeProvider):
    """Answers once it is let."""

    def __init__(self, kind: str = "cluster") -> None:
        super().__init__("stuck", replace(KUBERNETES, kind=kind))
        self.answers = asyncio.Event()
        self.under_way = 0
        self.describe_hangs = True
        self.own_timeout = False

    async def _hang(self) -> None:
        self.under_way += 1
        try:
            await self.answers.wait()
        finally:
            self.under_way -= 1

    async def create(self, spec: InstanceSpec) -> Instance:
        """Hangs."""
        await self._hang()
        return Instance(name="made", provider_instance_id="made", state=InstanceState.RUNNING)

    async def describe(self, name: str) -> Instance | None:
        """Hangs, or fails with a time-out of its own."""
        if self.own_timeout:
            raise TimeoutError("of its own")
        if self.describe_hangs:
            await self._hang()
        return None

    async def delete(self, name: str) -> None:
        """Hangs."""
        await self._hang()

    async def list_owned(self) -> tuple[Instance, ...]:
        """Hangs."""
        await self._hang()
        return ()

    async def list_nodes(self, scope: NodeScope) -> tuple[ClusterNodes, ...]:
        """Hangs."""
        await self._hang()
        return ()


SPEC: InstanceSpec = object()  # type: ignore[assignment]  # handed on, not looked at


@pytest.mark.parametrize("call", ["describe", "delete", "list_owned", "list_nodes"])
async def test_a_call_without_an_answer_ends_and_says_which(call: str) -> None:
    hanging = Hanging()
    provider = ProviderRegistry({"stuck": hanging}, limits=FEW).get("stuck")
    with pytest.raises(ProviderUnavailableError, match=f"stuck did not answer {call} within 0.05 s") as caught:
        async with asyncio.timeout(10):
            await getattr(provider, call)(*([] if call == "list_owned" else ["name"]))
    assert (caught.value.reason, caught.value.retryable) == ("PROVIDER_TIMEOUT", True)
    assert hanging.under_way == 0, "what is not waited for goes on"


def test_only_a_provider_that_rents_and_tells_its_nodes_has_them_kept() -> None:
    silent = FakeProvider("silent", KUBERNETES)
    providers = {"stuck": Hanging(), "silent": silent, "machine": Hanging("local")}
    assert set(ProviderRegistry(providers).node_listers) == {"stuck"}


async def test_a_provider_without_nodes_cannot_be_asked_for_any() -> None:
    with pytest.raises(TypeError, match="silent tells no nodes"):
        await BoundedProvider(FakeProvider("silent", KUBERNETES)).list_nodes(NodeScope())


async def test_a_creation_may_take_longer_and_ends_too() -> None:
    limits = CallLimits(create_s=0.05)
    with pytest.raises(ProviderUnavailableError, match="did not answer create within"):
        await BoundedProvider(Hanging(), limits).create(SPEC)
    assert CallLimits().create_s > CallLimits().delete_s > CallLimits().describe_s


async def _under_way(hanging: Hanging, count: int) -> bool:
    return hanging.under_way == count


async def test_creations_that_hang_keep_others_out_but_not_what_runs_from_being_looked_at() -> None:
    hanging = Hanging()
    hanging.describe_hangs = False
    provider = BoundedProvider(hanging, FEW)
    creations = [asyncio.create_task(provider.create(SPEC)) for _ in range(2)]
    await eventually(lambda: _under_way(hanging, 2))
    with pytest.raises(ProviderBusyError, match="has not answered 2 calls yet; create was not called"):
        await provider.create(SPEC)
    assert hanging.under_way == 2
    assert await provider.describe("name") is None
    hanging.answers.set()
    await asyncio.gather(*creations)
    assert (await provider.create(SPEC)).name == "made", "its turn has come"


async def test_a_time_out_of_the_provider_s_own_is_not_taken_for_ours() -> None:
    hanging = Hanging()
    hanging.own_timeout = True
    with pytest.raises(TimeoutError, match="of its own"):
        await BoundedProvider(hanging).describe("name")
