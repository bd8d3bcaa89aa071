"""Clusters of many large objects: one page of them is in memory at a time, and reading it holds up nobody."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

from orchestration.service.providers.http_client import Answer
from orchestration.service.providers.kubernetes.api import KubeApi, path
from orchestration.service.providers.kubernetes.inventory import look
from orchestration.service.providers.kubernetes.names import Json
from orchestration.service.providers.kubernetes.places import Places
from orchestration.service.providers.kubernetes.settings import KubernetesSettings, parse
from tests.support.kubernetes.harness import kubeconfig
from tests.support.kubernetes.server import FakeKube

PAGES, ON_PAGE = 40, 50


def _page(kind: str, number: int) -> bytes:
    """As an API server has it, with what nobody wants to know."""
    ballast = [{"names": [f"registry/{part}:{number}"], "sizeBytes": part} for part in range(60)]
    items = [
        {
            "metadata": {"name": f"{kind}-{number}-{at}", "labels": {"has": "labels"}},
            "spec": {"nodeName": f"nodes-{number}-{at}", "containers": [{"resources": {"requests": {"cpu": "2"}}}]},
            "status": {"phase": "Running", "allocatable": {"cpu": "64"}, "images": ballast},
        }
        for at in range(ON_PAGE)
    ]
    following = str(number + 1) if number + 1 < PAGES else ""
    return json.dumps({"kind": "List", "metadata": {"continue": following}, "items": items}).encode()


class _Large(KubeApi):
    """Makes up each page when it is asked for, so that nobody else holds it."""

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return Answer(200, {}, _page(path.rpartition("/")[2], int((params or {}).get("continue", "0"))))


def _large(folder: Path) -> tuple[_Large, Places, KubernetesSettings]:
    kube = FakeKube()
    kube.url = "http://127.0.0.1:9"
    settings = parse({"kubeconfig": str(kubeconfig(folder / "one", {"here": kube}))})
    assert settings is not None
    places = Places(settings.accesses)
    return _Large(places.cluster(places.all[0])), places, settings


async def test_no_more_than_a_page_of_a_cluster_s_objects_is_held(tmp_path: Path) -> None:
    api, places, settings = _large(tmp_path)
    tracemalloc.start()
    try:
        one_page = json.loads(_page("nodes", 0))
        size, _ = tracemalloc.get_traced_memory()
        del one_page
        tracemalloc.reset_peak()
        seen = await look(api, places.all, settings, limit_s=200)  # the tracing makes it several times as slow
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen.nodes) == len(seen.pods) == PAGES * ON_PAGE
    assert {(pod.cpus, pod.ram) for pod in seen.pods} == {(2.0, 0.0)}
    assert {node.node.cpus for node in seen.nodes} == {64.0}
    assert most < PAGES / 4 * size, "all pages of both lists were 80 times as much"


async def test_a_large_page_is_read_beside_the_event_loop(tmp_path: Path) -> None:
    api, _, _ = _large(tmp_path)
    readers: set[threading.Thread] = set()

    def note(item: Json) -> str:
        readers.add(threading.current_thread())
        return str(item["metadata"]["name"])

    assert len(await api.project(path("nodes"), note)) == PAGES * ON_PAGE
    assert threading.current_thread() not in readers
