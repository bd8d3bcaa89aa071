"""Nodes of Ray clusters in the inventory: what the provider tells, and their life through the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from orchestration.service.providers.base import InstanceRejectedError, ProviderContext
from orchestration.service.providers.inventory import ClusterNode, ClusterNodeState, NodeLister, NodeScope
from orchestration.service.providers.ray.provider import CAPABILITIES, create_provider
from orchestration.v1 import compute_pools_pb2 as pb
from tests.support.gateway import Api, eventually, running_gateway
from tests.support.ray.fake import FakeRay
from tests.support.ray.harness import RayHarness, ray_harness
from tests.support.ray.nodes import FakeNode

A, B, HEAD = "a" * 56, "b" * 56, "c" * 56
LABELS = {"ray.io/accelerator-type": "A100", "ray.io/region": "eu"}
AWAY = 10_000


def fill(ray: FakeRay) -> None:
    """Two nodes with GPUs, and a head that is given no work."""
    ray.nodes = [FakeNode(name, gpus=2, labels=LABELS) for name in (A, B)] + [FakeNode(HEAD, cpus=0.0)]


@asynccontextmanager
async def cluster(folder: Path) -> AsyncGenerator[FakeRay]:
    """A cluster of these."""
    async with FakeRay(folder).serving() as ray:
        fill(ray)
        yield ray


async def told(harness: RayHarness, **scope: str) -> dict[str, dict[str, ClusterNode]]:
    """By cluster and node; an error as a node of that name."""
    found = await harness.provider.list_nodes(NodeScope(**scope))
    assert not [one.error for one in found if one.error]
    return {one.cluster: {node.node_id: node for node in one.nodes} for one in found}


async def test_the_provider_tells_its_nodes_with_what_they_have(tmp_path: Path) -> None:
    async with ray_harness(tmp_path, {"price_per_gpu_hour": "2.5", "region": "us"}) as harness:
        fill(harness.cluster)
        harness.cluster.nodes[0].reported = {"GPU": 1.0, "CPU": 3.0}
        harness.cluster.nodes[1].state = "DEAD"
        found = (await told(harness))["default"]
        one = found[A]
        assert (one.state, one.joins, one.hostname) == (ClusterNodeState.READY, True, "node-aaaa")
        assert (one.gpu_type, one.gpu_total, one.gpu_used, one.region) == ("A100", 2, 1, "eu")
        assert (one.vcpu_total, one.vcpu_used, one.ram_gb_total, one.price_per_hour) == (8.0, 3.0, 64.0, 2.5)
        assert found[B].state is ClusterNodeState.DEAD
        assert "missing heartbeats" in found[B].message
        assert (found[HEAD].state, found[HEAD].joins) == (ClusterNodeState.CLOSED, False)
        assert found[HEAD].region == "us"


async def test_a_pool_has_the_nodes_of_the_clusters_that_it_means(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with FakeRay(tmp_path / "other").serving() as other:
        other.nodes = [FakeNode("d" * 56)]
        async with ray_harness(tmp_path, {"credential.west.address": other.url}) as harness:
            assert {name: set(nodes) for name, nodes in (await told(harness)).items()} == {
                "default": {A, B},
                "west": {"d" * 56},
            }
            assert set(await told(harness, provider_pool_id="default")) == {"default"}
            assert set(await told(harness, provider_pool_id="west")) == {"west"}
            assert set(await told(harness, provider_credential_name="west")) == {"west"}
            assert await told(harness, provider_credential_name="west", provider_pool_id="default") == {}
            assert set((await told(harness, provider_pool_id="b" * 12))["default"]) == {B}
            assert set((await told(harness, provider_pool_id=f"west/{'d' * 12}"))["west"]) == {"d" * 56}
            spread = await told(harness, provider_pool_id="A100x4n2@eu")
            assert {name: set(nodes) for name, nodes in spread.items()} == {"default": {A, B}}
            for scope in ({"provider_pool_id": "elsewhere"}, {"provider_credential_name": "nobody"}):
                with pytest.raises(InstanceRejectedError, match="default, west"):
                    await told(harness, **scope)
            other.fail("GET", "/api/v0/nodes", "500", times=AWAY)
            found = await (await harness.restart()).list_nodes(NodeScope())
            assert {one.cluster: bool(one.error) for one in found} == {"default": False, "west": True}


async def test_pools_that_ask_at_once_are_answered_from_one_look(tmp_path: Path) -> None:
    async with ray_harness(tmp_path) as harness:
        await told(harness)
        await told(harness, provider_pool_id="a" * 12)
        assert harness.cluster.requests.count(("GET", "/api/v0/nodes")) == 1


def test_a_provider_without_a_cluster_keeps_no_nodes(tmp_path: Path) -> None:
    without = create_provider(ProviderContext(name="ray", data_dir=tmp_path, owner="o"))
    assert without.capabilities is CAPABILITIES
    assert not isinstance(without, NodeLister)


class Inventory:
    """The nodes of a pool, as callers see them."""

    def __init__(self, api: Api, pool: str) -> None:
        self.api = api
        self.pool = pool

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """By the first letter of what Ray calls them."""
        found = await self.api.rest.ok("GET", f"/deployment/list/pool/{self.pool}/inventory")
        return {node["provider_instance_id"].split("/")[1][0]: node for node in found["nodes"]}

    async def states(self) -> dict[str, str]:
        """The same."""
        return {name: node["state"] for name, node in (await self.nodes()).items()}

    async def become(self, **wanted: str) -> dict[str, dict[str, Any]]:
        """The nodes once they are in these states, and there are no others."""

        async def look() -> bool:
            return await self.states() == wanted

        await eventually(look, within_s=60, why=lambda: f"never {wanted}")
        return await self.nodes()


def _knobs(ray: FakeRay) -> dict[str, Any]:
    provider = {"address": ray.url, "price_per_gpu_hour": "1.5"}
    return {"providers": {"ray": provider}, "nodes_interval_s": 0.2, "offers_interval_s": 1.0}


async def test_nodes_of_a_cluster_live_in_the_inventory_of_its_pools(tmp_path: Path) -> None:
    async with cluster(tmp_path) as ray:
        async with running_gateway(tmp_path / "data", **_knobs(ray)) as api:
            inventory = Inventory(api, await api.make_pool("gpus", provider="ray"))
            before = await inventory.become(a="READY", b="READY")
            pool = await api.rest.ok("GET", f"/deployment/pool/{inventory.pool}")
            assert (pool["node_count"], pool["gpu_total"]) == (2, 4)
            await _is_listed_alike(api, before)
            await _agents_are_refused(api, inventory.pool, before["a"])
            deployment = await api.deploy(inventory.pool, gpu_per_replica=2)
            (replica,) = (await api.reach(deployment, "RUNNING"))["replica_statuses"]
            assert replica["node_id"] == "", "the node is chosen by the provider"
            await api.rest.ok("POST", "/deployment/terminate", {"deployment_id": deployment})
            await api.reach(deployment, "STOPPED")
            ray.nodes[1].gpus = 4.0
            ray.nodes[1].reported = {"GPU": 1.0}
            await _changed(inventory)
            ray.nodes[0].state = "DEAD"
            lost = await inventory.become(a="LOST", b="READY")
            assert lost["a"]["gpu_total"] == 2
            ray.nodes[0].state = "ALIVE"
            assert (await inventory.become(a="READY", b="READY"))["a"]["node_id"] == before["a"]["node_id"]
            gone = ray.nodes.pop(1)
            await inventory.become(a="READY", b="LOST")
            ray.nodes.append(gone)
            await inventory.become(a="READY", b="READY")
        async with running_gateway(tmp_path / "data", **_knobs(ray)) as api:
            after = await Inventory(api, inventory.pool).nodes()
            assert {name: node["node_id"] for name, node in after.items()} == {
                name: node["node_id"] for name, node in before.items()
            }
            await api.rest.ok("POST", f"/deployment/deletepool/{inventory.pool}", {"force": True})

            async def empty() -> bool:
                return not (await api.rest.ok("GET", "/inventory/nodes/ray"))["nodes"]

            await eventually(empty, within_s=60)


async def _is_listed_alike(api: Api, nodes: dict[str, dict[str, Any]]) -> None:
    listed = await api.rest.ok("GET", "/inventory/nodes/ray")
    assert {node["node_id"] for node in listed["nodes"]} == {node["node_id"] for node in nodes.values()}
    answer = await api.pools.ListNodes(pb.ListNodesRequest(provider="ray"))
    found = {node.provider_instance_id.split("/")[1][0]: node for node in answer.nodes}
    assert (found["a"].node_id, found["a"].state) == (nodes["a"]["node_id"], pb.Node.READY)
    assert (found["a"].gpu_type, found["a"].gpu_total, found["a"].region) == ("A100", 2, "eu")
    assert found["a"].price_per_hour == 1.5
    assert found["a"].last_heartbeat_at.seconds > 0


async def _changed(inventory: Inventory) -> None:
    async def look() -> bool:
        node = (await inventory.nodes())["b"]
        return (node["gpu_total"], node["gpu_allocated"]) == (4, 1)

    await eventually(look, within_s=60)


async def _agents_are_refused(api: Api, pool: str, node: dict[str, Any]) -> None:
    """Whatever an agent says of such a node, or of another one in such a pool."""
    known = {"provider": "ray", "provider_instance_id": node["provider_instance_id"]}
    for path, body in (
        ("/inventory/heartbeat", {**known, "state": "DRAINING"}),
        ("/inventory/heartbeat", {**known, "provider_instance_id": "mine", "pool_id": pool}),
        ("/inventory/register", {**known, "pool_id": pool}),
    ):
        status, answer = await api.rest.call("POST", path, body)
        assert status == 400, answer
        assert answer["error"]["status"] == "FAILED_PRECONDITION"
        assert answer["error"]["details"][0]["reason"] == "NODE_KEPT_BY_GATEWAY"
        assert "provider ray" in answer["error"]["message"]
    beat = pb.HeartbeatRequest(provider="ray", provider_instance_id=node["provider_instance_id"])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await api.pools.Heartbeat(beat)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    stream = api.pools.StreamHeartbeats(iter([beat]))
    assert [answer.status async for answer in stream] == ["NODE_KEPT_BY_GATEWAY"]


async def test_a_cluster_that_is_away_for_long_loses_no_node_and_tears_nothing_down(tmp_path: Path) -> None:
    async with cluster(tmp_path) as ray, running_gateway(tmp_path / "data", **_knobs(ray)) as api:
        inventory = Inventory(api, await api.make_pool("gpus", provider="ray"))
        await inventory.become(a="READY", b="READY")
        deployment = await api.deploy(inventory.pool, gpu_per_replica=1)
        running = await api.reach(deployment, "RUNNING")
        ray.fail("*", "/", "502", times=AWAY)
        (fault,) = ray.faults

        async def silent(for_s: float) -> bool:
            heard = [datetime.fromisoformat(node["last_heartbeat_at"]) for node in (await inventory.nodes()).values()]
            return fault.times < AWAY and datetime.now(UTC) - max(heard) > timedelta(seconds=for_s)

        await eventually(partial(silent, 3))  # fifteen rounds
        before = await inventory.nodes()
        await eventually(partial(silent, 6))
        assert await inventory.nodes() == before, "their last heartbeat tells how old this is"
        (job,) = ray.jobs.values()
        idle, busy = sorted(ray.nodes[:2], key=lambda node: node is job.node)
        idle.state = "DEAD"
        ray.faults.clear()
        after = await inventory.become(**{idle.node_id[0]: "LOST", busy.node_id[0]: "READY"})
        name = busy.node_id[0]
        assert after[name]["last_heartbeat_at"] > before[name]["last_heartbeat_at"]
        found = await api.reach(deployment, "RUNNING")
        assert found["replica_statuses"] == running["replica_statuses"]
