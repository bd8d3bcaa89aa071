"""Watches of a real API server: taken up, too far behind, and with bookmarks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from orchestration.service.providers.kubernetes import api, watching
from orchestration.service.providers.kubernetes.kubeconfig import KubeConfig
from orchestration.service.providers.kubernetes.names import object_name
from orchestration.service.providers.kubernetes.watching import PodWatch
from tests.support.kubernetes.real_cluster import RealCluster, RealHarness
from tests.support.provider_processes import until

pytestmark = pytest.mark.slow
WITHIN_S = 60.0


class LookedInto(PodWatch):
    """Tells from where it would go on."""

    @property
    def version(self) -> str:
        return self._version


@asynccontextmanager
async def _watch(real: RealCluster, owner: str) -> AsyncGenerator[LookedInto]:
    """What is known by the watch alone."""
    client = api.KubeApi(KubeConfig(real.config).cluster("here"))
    await client.start()
    made = LookedInto(client, real.namespace, owner)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await client.close()


def _phase(watch: PodWatch, name: str) -> str:
    pod = watch.get(name)
    return "" if pod is None else str(pod["status"]["phase"])


async def test_a_watch_tells_of_every_change(real: RealCluster, harness: RealHarness) -> None:
    async with _watch(real, harness.owner) as watch:
        name = object_name(harness.owner, "one")
        await harness.provider.create(harness.exiting("one", lines=1))
        await until(lambda: _phase(watch, name) == "Failed", WITHIN_S)
        await harness.provider.delete("one")
        await until(lambda: watch.get(name) is None, WITHIN_S)


async def test_a_watch_that_is_too_far_behind_begins_with_a_new_list(real: RealCluster, harness: RealHarness) -> None:
    lasting, brief = (object_name(harness.owner, name) for name in ("lasting", "brief"))
    async with _watch(real, harness.owner) as watch:
        for name in ("lasting", "brief"):
            await harness.provider.create(harness.serving(name))
        await until(lambda: _phase(watch, lasting) == _phase(watch, brief) == "Running", WITHIN_S)
        version = watch.version
        real.plane.stop_server()
        await until(lambda: watch.get(lasting) is None, WITHIN_S)
        real.plane.start_server()
        await real.admin.delete("pods", real.namespace, brief)
        await until(lambda: _phase(watch, lasting) == "Running", WITHIN_S)
        await until(lambda: watch.get(brief) is None, WITHIN_S)
        # A server that was started anew knows no older event: it says so in the answer, and not by its status.
        events = [event async for event in real.admin.watch("pods", real.namespace, version)]
        assert [(event["type"], event["object"]["code"]) for event in events] == [("ERROR", 410)]


async def test_a_long_list_is_read_page_by_page(
    real: RealCluster, harness: RealHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_PAGE", 2)
    names = [f"one-{number}" for number in range(5)]
    for name in names:
        await harness.provider.create(harness.serving(name))
    assert [found.name for found in await harness.provider.list_owned()] == names
    async with _watch(real, harness.owner) as watch:
        await until(lambda: all(watch.get(object_name(harness.owner, name)) for name in names), WITHIN_S)


async def test_bookmarks_keep_a_quiet_watch_up_to_date(
    real: RealCluster, harness: RealHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_SERVED_S", 4)  # a server sends one just before the end
    async with _watch(real, harness.owner) as watch:
        await until(lambda: watch.version, WITHIN_S)
        before = int(watch.version)
        spec = {"containers": [{"name": "a", "image": "b"}], "nodeSelector": {"no": "node"}}
        await real.admin.create("pods", real.namespace, {"metadata": {"name": "of-somebody-else"}, "spec": spec})
        await until(lambda: int(watch.version) > before, WITHIN_S)
