"""Nodes as offers, and which of them a replica gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import CapacityError, InstanceRejectedError, Resource
from tests.support.provider_processes import ask
from tests.support.ray.fake import FakeRay
from tests.support.ray.harness import RayHarness, ray_harness, running
from tests.support.ray.nodes import FakeNode

BIG, SMALL, BARE, HEAD = ("c" * 56, "d" * 56, "e" * 56, "f" * 56)
SETTINGS = {"price_per_gpu_hour": "2.5", "region": "home", "cpus_per_replica": "2"}


def nodes() -> list[FakeNode]:
    big = FakeNode(BIG, cpus=16, gpus=4, labels={"ray.io/accelerator-type": "H100", "ray.io/region": "eu"})
    return [
        big,
        FakeNode(SMALL, cpus=8, gpus=2, resources={"accelerator_type:A100": 1.0}),
        FakeNode(BARE, cpus=7, labels={"market": "second"}),
        FakeNode(HEAD, cpus=0),
    ]


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RayHarness]:
    async with ray_harness(tmp_path, SETTINGS) as harness:
        harness.cluster.nodes = nodes()
        yield harness


async def offers(harness: RayHarness) -> dict[str, Resource]:
    return {item.metadata["node_id"]: item for item in await harness.provider.list_resources()}


async def test_each_node_that_takes_work_is_an_offer(harness: RayHarness) -> None:
    found = await offers(harness)
    assert set(found) == {BIG, SMALL, BARE}
    big, small, bare = found[BIG], found[SMALL], found[BARE]
    assert (big.gpu_type, big.gpu_count, big.vcpu, big.ram_gb, big.region) == ("H100", 4, 16, 64.0, "eu")
    assert (big.provider_resource_id, big.metadata["slug"], big.available_count) == ("c" * 12, "default", 4)
    assert (small.gpu_type, small.gpu_count, small.region, small.available_count) == ("A100", 2, "home", 2)
    assert (bare.gpu_type, bare.gpu_count, bare.available_count) == ("", 0, 3)
    assert [item.price_per_hour for item in (big, small, bare)] == [2.5, 2.5, 0.0]
    assert bare.metadata["label.market"] == "second"


async def test_what_is_taken_is_counted_before_ray_tells_it_and_after(harness: RayHarness) -> None:
    await harness.provider.create(harness.spec("two", gpu_count=2, resource_id="c" * 12))
    assert (await offers(harness))[BIG].available_count == 2, "by our own job"
    harness.cluster.nodes[0].reported = {"GPU": 3.0, "CPU": 3.0}
    assert (await offers(harness))[BIG].available_count == 1, "by what Ray says others hold"
    harness.cluster.nodes[0].state = "DEAD"
    assert BIG not in await offers(harness)


async def test_a_replica_runs_on_the_node_that_was_chosen(harness: RayHarness) -> None:
    created = await harness.provider.create(harness.spec("chosen", gpu_count=2, resource_id="d" * 12))
    body = harness.cluster.jobs["chosen"].body
    assert body["entrypoint_label_selector"]["ray.io/node-id"] == SMALL
    assert (body["entrypoint_num_gpus"], body["entrypoint_num_cpus"]) == (2, 2.0)
    assert created.price_per_hour == 5.0


@pytest.mark.parametrize("types", [("h100",), ("nvidia", "h100")])
async def test_a_replica_gets_gpus_of_a_type_that_is_allowed(harness: RayHarness, types: tuple[str, ...]) -> None:
    await harness.provider.create(harness.spec("typed", gpu_count=1, gpu_types=types))
    selector = harness.cluster.jobs["typed"].selector
    assert selector == {"ray.io/node-id": BIG, "ray.io/accelerator-type": "H100"}


async def test_more_gpus_than_a_node_has_are_refused_for_good(harness: RayHarness) -> None:
    with pytest.raises(InstanceRejectedError, match=r"5 is more than the 4 GPUs .* runs on one node") as caught:
        await harness.provider.create(harness.spec("wide", gpu_count=5))
    assert caught.value.reason == "MULTI_NODE_NOT_SUPPORTED"
    assert harness.cluster.jobs == {}


async def test_a_full_node_a_dead_one_and_a_type_that_is_not_there_are_told_before_ray_is_asked(
    harness: RayHarness,
) -> None:
    harness.cluster.nodes[1].reported = {"GPU": 1.0}
    with pytest.raises(CapacityError, match="1 of 2 GPU free, 2 needed"):
        await harness.provider.create(harness.spec("full", gpu_count=2, resource_id="d" * 12))
    with pytest.raises(CapacityError, match="no node with GPUs b200 that is alive"):
        await harness.provider.create(harness.spec("other", gpu_count=1, gpu_types=("b200",)))
    harness.cluster.nodes[0].state = "DEAD"
    with pytest.raises(CapacityError, match="no node 'cccccccccccc' that is alive"):
        await harness.provider.create(harness.spec("dead", gpu_count=1, resource_id="c" * 12))
    assert harness.cluster.jobs == {}


async def test_creations_at_once_do_not_take_the_same_gpu(harness: RayHarness) -> None:
    specs = [harness.spec(f"one-{n}", gpu_count=1, resource_id="d" * 12) for n in range(5)]
    answers = await asyncio.gather(*(harness.provider.create(spec) for spec in specs), return_exceptions=True)
    assert sum(isinstance(answer, CapacityError) for answer in answers) == 3
    assert len(harness.cluster.jobs) == 2


async def test_memory_is_reserved_where_it_is_asked_for(tmp_path: Path) -> None:
    async with ray_harness(tmp_path, {"memory_gb_per_replica": "30"}) as harness:
        assert [item.available_count for item in await harness.provider.list_resources()] == [2, 2]
        await harness.provider.create(harness.spec("heavy", resource_id="a" * 12))
        assert harness.cluster.jobs["heavy"].body["entrypoint_memory"] == 30 * 1024**3
        assert [item.available_count for item in await harness.provider.list_resources()] == [1, 2]


async def test_each_pools_credential_means_a_cluster_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "east").mkdir()
    async with FakeRay(tmp_path / "east", token="east-token").serving() as east:
        settings = {"credential.east.address": east.url, "credential.east.token": "east-token"}
        async with ray_harness(tmp_path, settings) as harness:
            provider = harness.provider
            found = await provider.list_resources()
            assert [item.provider_resource_id for item in found][1:3] == ["b" * 12, f"east/{'a' * 12}"]
            assert [item.metadata["slug"] for item in found] == ["default", "default", "east", "east"]
            await provider.create(harness.spec("here"))
            await provider.create(harness.spec("there", provider_credential_name="east"))
            await provider.create(harness.spec("by-node", resource_id=f"east/{'b' * 12}"))
            assert (set(harness.cluster.jobs), set(east.jobs)) == ({"here"}, {"there", "by-node"})
            await provider.create(harness.spec("by-pool", provider_pool_id="east"))
            assert "by-pool" in east.jobs
            provider = await harness.restart()
            assert {item.name for item in await provider.list_owned()} == {"here", "there", "by-node", "by-pool"}
            instance = await provider.describe("there")
            assert instance is not None
            east.fail("*", "/api/jobs", "500", times=1000)
            assert await provider.describe("here") is not None
            await provider.delete("here")


ELSEWHERE: list[dict[str, Any]] = [
    {"provider_credential_name": "east"},
    {"provider_pool_id": "east"},
    {"provider_pool_id": "b" * 12},
]


async def test_a_pool_gets_no_place_but_its_own(tmp_path: Path) -> None:
    async with ray_harness(tmp_path, {"credential.east.address": "http://127.0.0.1:9"}) as harness:
        for pool in ELSEWHERE:
            with pytest.raises(CapacityError, match="node 'aaaaaaaaaaaa' is not for the pool") as caught:
                await harness.provider.create(harness.spec("x", resource_id="a" * 12, **pool))
            assert caught.value.reason == "OTHER_PROVIDER_POOL"
        with pytest.raises(InstanceRejectedError, match=r"'west' is none of the Ray .* which are default, east"):
            await harness.provider.create(harness.spec("x", provider_credential_name="west"))
        with pytest.raises(InstanceRejectedError, match="provider_pool_id 'gpus' is no node, and none of the Ray"):
            await harness.provider.create(harness.spec("x", provider_pool_id="gpus"))
        assert harness.cluster.jobs == {}


@pytest.mark.parametrize(
    ("env", "words"),
    [({"PORT": "80"}, "env: PORT is set by the ray provider"), ({"ORCHESTRATION_X": ""}, "env: ORCHESTRATION_X")],
)
async def test_variables_of_the_provider_are_refused(harness: RayHarness, env: dict[str, str], words: str) -> None:
    with pytest.raises(InstanceRejectedError, match=words):
        await harness.provider.create(harness.spec("env", env=env))


async def test_what_is_too_long_for_a_job_is_refused(harness: RayHarness) -> None:
    with pytest.raises(InstanceRejectedError, match="longer than the 73728 bytes"):
        await harness.provider.create(harness.spec("long", env={"LONG": "x" * 100_000}))
    await harness.provider.create(harness.spec("long", env={"LONG": "x" * 70_000}))
    instance = await running(harness, "long")
    assert len((await ask(instance, "/env"))["LONG"]) == 70_000
