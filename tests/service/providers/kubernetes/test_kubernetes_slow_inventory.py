"""Clusters that take their time to tell their nodes: they keep no other one's from being told."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from orchestration.service.providers.bounded import CallLimits
from orchestration.service.providers.inventory import NodeScope
from orchestration.service.providers.kubernetes.api import KubeApi
from orchestration.service.providers.kubernetes.clusters import Clusters
from orchestration.service.providers.kubernetes.inventory import LOOK_S, Inventory, look
from orchestration.service.providers.kubernetes.places import Places
from orchestration.service.providers.kubernetes.settings import parse
from tests.support.kubernetes.harness import NAMESPACE, cluster, kubeconfig
from tests.support.kubernetes.server import FakeKube


async def _never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        writer.close()


async def test_a_cluster_that_hangs_leaves_the_word_of_the_others_to_be_heard(tmp_path: Path) -> None:
    silent = await asyncio.start_server(_never, "127.0.0.1", 0)
    hangs = FakeKube(NAMESPACE)
    hangs.url = "http://{}:{}".format(*silent.sockets[0].getsockname())
    async with cluster(gpus=1) as here:
        config = kubeconfig(tmp_path / "two", {"here": here, "there": hangs})
        settings = parse({"kubeconfig": str(config), "namespaces": f"{NAMESPACE},there/{NAMESPACE},there/other"})
        assert settings is not None
        clusters = Clusters(Places(settings.accesses), "test")
        await clusters.start()
        try:
            inventory = Inventory(clusters, settings, lambda: 0.0, limit_s=3.0)
            found = {one.cluster: one for one in await inventory.nodes(NodeScope())}
        finally:
            await clusters.close()
            silent.close()
    assert {node.node_id for node in found["here"].nodes} == {"cpu-1", "gpu-1"}
    assert (found["here"].error, found["there"].nodes) == ("", ())
    assert found["there"].error == "context there did not tell its nodes and Pods within 3 s"
    assert CallLimits().list_s > LOOK_S


class _Together(FakeKube):
    """Answers lists of Pods once four are asked for, all at the same time."""

    def __init__(self, *namespaces: str) -> None:
        super().__init__(*namespaces)
        self.under_way = self.most = 0
        self.four = asyncio.Barrier(4)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if "/pods" not in request.path:
            return await super()._list(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.four.wait()
            return await super()._list(request)
        finally:
            self.under_way -= 1


async def test_namespaces_are_asked_at_the_same_time_and_a_few_at_once(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(8)]
    kube = _Together(*names)
    kube.add_node("cpu-1")
    await kube.start()
    config = kubeconfig(tmp_path / "one", {"here": kube})
    settings = parse({"kubeconfig": str(config), "namespaces": ",".join(names)})
    assert settings is not None
    places = Places(settings.accesses)
    api = KubeApi(places.cluster(places.all[0]))
    await api.start()
    try:
        seen = await look(api, places.all, settings)
    finally:
        await api.close()
        await kube.close()
    assert len(seen.nodes) == 1
    assert (kube.calls["list", "pods"], kube.most) == (8, 4)
