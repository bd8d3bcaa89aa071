"""Replicas over several nodes of a Ray cluster: offers, which nodes are planned, and what the job is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.engines.base import OverNodes
from orchestration.service.providers.base import CapacityError, InstanceRejectedError, InstanceSpec
from tests.support.provider_processes import ask, engine_command, gone
from tests.support.ray.fake import FakeRay
from tests.support.ray.harness import RayHarness, ray_harness, running
from tests.support.ray.nodes import FakeNode

WIDE = "H100x4n2@eu"


def node(letter: str, gpus: float = 2, labels: dict[str, str] | None = None) -> FakeNode:
    typed = {"ray.io/accelerator-type": "H100", "ray.io/region": "eu"}
    return FakeNode(letter * 56, gpus=gpus, labels=typed if labels is None else labels)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RayHarness]:
    """Three nodes alike, and others that do not go with them."""
    async with ray_harness(tmp_path, {"price_per_gpu_hour": "2.5"}) as harness:
        harness.cluster.nodes = [node("a"), node("b"), node("c"), node("d", labels={}), node("e", gpus=0)]
        yield harness


def spec(harness: RayHarness, name: str, **changes: Any) -> InstanceSpec:
    command = (*engine_command("--lines", "1"), "{nodes}", "{gpus_per_node}", "{port}")
    fields: dict[str, Any] = {"gpu_count": 4, "resource_id": WIDE, "over_nodes": OverNodes(ray=command)}
    return harness.spec(name, **(fields | changes))


async def offers(harness: RayHarness) -> dict[str, tuple[int, int, float, int]]:
    """Of several nodes: GPUs, nodes, price and how many can be had, by id."""
    return {
        item.provider_resource_id: (item.gpu_count, item.nodes, item.price_per_hour, item.available_count)
        for item in await harness.provider.list_resources()
        if item.nodes > 1
    }


async def test_nodes_of_one_kind_are_offered_together(harness: RayHarness) -> None:
    assert await offers(harness) == {
        "H100x3n3@eu": (3, 3, 7.5, 1),
        WIDE: (4, 2, 10.0, 1),
        "H100x6n3@eu": (6, 3, 15.0, 1),
    }
    (wide,) = [item for item in await harness.provider.list_resources() if item.provider_resource_id == WIDE]
    assert (wide.way, wide.gpu_type, wide.region, wide.metadata["slug"]) == ("ray", "H100", "eu", "default")
    assert (wide.metadata["machines"], wide.metadata["gpus_per_machine"]) == ("2", "2")


async def test_the_job_reserves_no_gpu_and_is_told_the_sizes(harness: RayHarness) -> None:
    created = await harness.provider.create(spec(harness, "wide"))
    assert created.price_per_hour == 10.0
    body = harness.cluster.jobs["wide"].body
    assert body["entrypoint_num_gpus"] == 0
    found = await running(harness, "wide")
    told = await ask(found, "/env")
    assert (told["ORCHESTRATION_NODES"], told["ORCHESTRATION_GPUS_PER_NODE"]) == ("2", "2")
    assert told.get("CUDA_VISIBLE_DEVICES") != "", "what its workers get is Ray's to say"
    assert (await ask(found, "/argv"))[2:4] == ["2", "2"]
    again = await harness.provider.create(spec(harness, "wide"))
    assert again.provider_instance_id == created.provider_instance_id
    assert len(harness.cluster.jobs) == 1


async def test_workers_on_other_nodes_have_the_deployments_environment(harness: RayHarness) -> None:
    given = {"HF_TOKEN": "t$HOME", "NAMED": "{model}!", "AT": "{host}:{port}", "RAY_JOB_STOP_WAIT_TIME_S": "900"}
    await harness.provider.create(spec(harness, "wide", env=given, model="org/m", stop_grace_s=1.0))
    told = harness.cluster.jobs["wide"].body["runtime_env"]["env_vars"]
    assert (told["HF_TOKEN"], told["NAMED"]) == ("t$HOME", "org/m!")
    assert "AT" not in told, "which is known where the engine runs"
    assert told["RAY_JOB_STOP_WAIT_TIME_S"] == "1", "which is how the job is stopped"
    assert (await ask(await running(harness, "wide"), "/env"))["HF_TOKEN"] == "t$HOME"
    await harness.provider.create(harness.spec("one", env=given))
    assert "HF_TOKEN" not in harness.cluster.jobs["one"].body["runtime_env"]["env_vars"], "it has no workers"


async def test_an_environment_that_counts_twice_is_too_long_sooner(harness: RayHarness) -> None:
    given = {"LONG": "x" * 50_000}
    with pytest.raises(InstanceRejectedError, match="env counts twice") as caught:
        await harness.provider.create(spec(harness, "wide", env=given))
    assert caught.value.reason == "TOO_LONG"
    await harness.provider.create(harness.spec("one", env=given))


async def test_what_it_is_planned_on_is_taken_until_it_ends(harness: RayHarness) -> None:
    await harness.provider.create(spec(harness, "wide"))
    left = await offers(harness)
    assert {key: item[3] for key, item in left.items()} == {"H100x3n3@eu": 0, WIDE: 0, "H100x6n3@eu": 0}
    provider = await harness.restart()
    with pytest.raises(CapacityError, match="has not 2 nodes with 2 GPUs free each"):
        await provider.create(spec(harness, "wider"))
    await provider.create(harness.spec("small", gpu_count=2, resource_id="c" * 12))
    with pytest.raises(CapacityError):
        await provider.create(harness.spec("smaller", gpu_count=1, resource_id="b" * 12))
    for name in ("wide", "small"):
        await provider.delete(name)
        await gone(provider, name)
    assert (await offers(harness))["H100x6n3@eu"][3] == 1


async def test_the_job_goes_where_it_has_a_cpu(harness: RayHarness) -> None:
    for item in harness.cluster.nodes[:2]:
        item.reported = {"CPU": 8.0}
    await harness.provider.create(spec(harness, "wide"))
    assert harness.cluster.jobs["wide"].selector["ray.io/node-id"] == "c" * 56
    harness.cluster.nodes[2].reported = {"CPU": 8.0}
    with pytest.raises(CapacityError, match="a node with free CPUs"):
        await harness.provider.create(spec(harness, "six", gpu_count=3, resource_id="H100x3n3@eu"))


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"over_nodes": OverNodes(leader=("x",), worker=("x",))},
        "GPU_COUNT_EXCEEDED",
        "engine custom as it is configured",
    ),
    ({"gpu_count": 6}, "GPU_COUNT_NOT_ALLOWED", "6 is not the 4 of the offer"),
]


@pytest.mark.parametrize(("changes", "reason", "words"), REFUSED)
async def test_what_cannot_be_is_refused_for_good(
    harness: RayHarness, changes: dict[str, Any], reason: str, words: str
) -> None:
    with pytest.raises(InstanceRejectedError, match=words) as caught:
        await harness.provider.create(spec(harness, "wide", **changes))
    assert caught.value.reason == reason
    assert harness.cluster.jobs == {}


async def test_an_offer_of_nodes_that_are_gone_is_none(harness: RayHarness) -> None:
    harness.cluster.nodes[0].state = harness.cluster.nodes[1].state = "DEAD"
    assert await offers(harness) == {}
    with pytest.raises(CapacityError):
        await harness.provider.create(spec(harness, "wide"))


async def test_each_cluster_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "east").mkdir()
    async with FakeRay(tmp_path / "east").serving() as east:
        east.nodes = [
            node("a", labels={"ray.io/accelerator-type": "A/1"}),
            node("b", labels={"ray.io/accelerator-type": "A/1"}),
        ]
        async with ray_harness(tmp_path, {"credential.east.address": east.url}) as harness:
            assert list(await offers(harness)) == ["east/A%2F1x4n2@"]
            await harness.provider.create(spec(harness, "wide", resource_id="east/A%2F1x4n2@"))
            assert list(east.jobs) == ["wide"]
