"""A watch saves requests, and is never believed beyond what it can know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web

from orchestration.service.providers.base import InstanceState
from tests.support.kubernetes.harness import KubernetesHarness
from tests.support.kubernetes.objects import StatusError
from tests.support.kubernetes.server import too_old
from tests.support.provider_processes import gone, until, until_async


async def _runs(harness: KubernetesHarness, name: str) -> None:
    async def running() -> bool:
        found = await harness.provider.describe(name)
        return found is not None and found.state is InstanceState.RUNNING

    await until_async(running, 30)


async def test_looking_at_a_pod_that_is_watched_is_no_request(harness: KubernetesHarness) -> None:
    await until(lambda: harness.kube.watching, 30)
    await harness.provider.create(harness.serving("one"))
    await _runs(harness, "one")
    asked = harness.kube.calls["get", "pods"]
    for _ in range(20):
        assert await harness.provider.describe("one") is not None
    assert harness.kube.calls["get", "pods"] == asked


async def test_what_a_watch_does_not_know_is_asked_for(harness: KubernetesHarness) -> None:
    await until(lambda: harness.kube.watching, 30)
    asked = harness.kube.calls["get", "pods"]
    assert await harness.provider.describe("one") is None
    assert harness.kube.calls["get", "pods"] == asked + 1


async def test_a_watch_is_taken_up_where_it_was(harness: KubernetesHarness) -> None:
    await until(lambda: harness.kube.watching, 30)
    listed = harness.kube.calls["list", "pods"]
    harness.kube.cut_watches = True
    await until(lambda: not harness.kube.watching, 30)
    await harness.provider.create(harness.serving("one"))
    harness.kube.cut_watches = False
    await until(lambda: harness.kube.watching, 30)
    await _runs(harness, "one")
    assert harness.kube.calls["list", "pods"] == listed


async def test_a_watch_that_is_too_far_behind_begins_with_a_new_list(harness: KubernetesHarness) -> None:
    await until(lambda: harness.kube.watching, 30)
    await harness.provider.create(harness.serving("one"))
    await _runs(harness, "one")
    harness.kube.cut_watches = True
    await until(lambda: not harness.kube.watching, 30)
    await harness.provider.delete("one")
    await gone(harness.provider, "one")
    listed = harness.kube.calls["list", "pods"]
    harness.kube.objects.compacted = harness.kube.objects.version + 1
    harness.kube.cut_watches = False
    await until(lambda: harness.kube.calls["list", "pods"] > listed, 30)
    harness.kube.objects.compacted = 0
    await until(lambda: harness.kube.watching, 30)
    assert await harness.provider.describe("one") is None


async def test_without_the_right_to_watch_pods_are_asked_for(harness: KubernetesHarness) -> None:
    everything = {("watch", "pods")}
    await until(lambda: harness.kube.watching, 30)
    harness.kube.granted = {
        (verb, resource)
        for resource in ("pods", "pods/log", "secrets", "services", "nodes")
        for verb in ("create", "delete", "get", "list", "patch")
    } - everything
    harness.kube.cut_watches = True
    await until(lambda: not harness.kube.watching, 30)
    await harness.provider.create(harness.serving("one"))
    await _runs(harness, "one")
    await harness.provider.delete("one")
    await gone(harness.provider, "one")


def _too_old() -> web.Response:
    return web.json_response(StatusError(410, "Expired", "too old resource version").body, status=410)


def _same_again() -> web.Response:
    return too_old(1)


@pytest.mark.parametrize("answer", [_too_old, _same_again, web.Response], ids=["410", "error-event", "ends-at-once"])
async def test_a_server_that_ends_every_watch_is_left_in_peace(
    harness: KubernetesHarness, answer: Callable[[], web.Response]
) -> None:
    asked = 0

    def fault(request: web.Request) -> web.Response | None:
        nonlocal asked
        if request.query.get("watch") != "true":
            return None
        asked += 1
        return answer()

    await until(lambda: harness.kube.watching, 30)
    harness.kube.faults += [fault] * 10_000
    harness.kube.cut_watches = True
    await until(lambda: asked >= 2, 30)  # once more at once, then after a pause
    await asyncio.sleep(1.0)
    assert asked < 50
    harness.kube.faults.clear()
    harness.kube.cut_watches = False
    await until(lambda: harness.kube.watching, 60)
