"""Against any real cluster: that of TEST_KUBECONFIG and TEST_KUBE_NAMESPACE (default: the context's), or one made here.

Pods are of an image that is not there, and wait for GPUs that are not there.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestration.service.providers.base import (
    CapacityError,
    InstanceRejectedError,
    InstanceSpec,
    InstanceState,
    Provider,
    ProviderContext,
)
from orchestration.service.providers.kubernetes import create
from tests.support.kubernetes.real_cluster import real_cluster
from tests.support.provider_conformance import read
from tests.support.provider_processes import gone, make_spec, until_async

pytestmark = pytest.mark.slow

OWNER = f"test-{uuid.uuid4().hex}"


@pytest.fixture
async def access(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Settings that name the cluster."""
    given = os.environ.get("TEST_KUBECONFIG", "")
    if given:
        yield {"kubeconfig": given, "namespaces": os.environ.get("TEST_KUBE_NAMESPACE", "")}
        # aiohttp does not wait for the end of TLS on what was left early, and asks for this before the loop ends.
        await asyncio.sleep(0.25)
        return
    async with real_cluster(request.getfixturevalue("plane"), tmp_path) as cluster:
        yield {"kubeconfig": str(cluster.config)}


async def _provider(folder: Path, given: dict[str, str]) -> Provider:
    made = create(ProviderContext(name="kubernetes", data_dir=folder, owner=OWNER, settings=given))
    await made.start()
    return made


@pytest.fixture
async def provider(tmp_path: Path, access: dict[str, str]) -> AsyncIterator[Provider]:
    """Pods wait for a node that does not come."""
    made = await _provider(tmp_path, access | {"autoscaling": "true", "endpoint": "node_port"})
    try:
        yield made
    finally:
        for instance in await made.list_owned():
            await made.delete(instance.name)
        await made.close()


def spec(name: str, **changes: object) -> InstanceSpec:
    fields: dict[str, object] = {"gpu_count": 4096, "image": "registry.invalid/none:1", "env": {"KEY": "a$(b)"}}
    return make_spec(name, owner=OWNER, command=("none", "$(HOME)"), **(fields | changes))


async def test_a_real_server_keeps_one_pod_of_a_name_and_forgets_it(provider: Provider) -> None:
    made = await asyncio.gather(*(provider.create(spec("one")) for _ in range(8)))
    assert len({instance.provider_instance_id for instance in made}) == 1
    again = await provider.create(spec("one"))
    assert again.state is InstanceState.PENDING
    assert [instance.name for instance in await provider.list_owned()] == ["one"]
    assert await read(provider, "one") == []
    assert await provider.describe("two") is None
    await asyncio.gather(provider.delete("one"), provider.delete("one"))
    await gone(provider, "one")
    await provider.create(spec("one"))
    await provider.delete("one")
    await gone(provider, "one")
    assert list(await provider.list_owned()) == []


async def test_a_real_server_lists_its_nodes(provider: Provider) -> None:
    for resource in await provider.list_resources():
        assert resource.provider_resource_id


async def test_a_real_server_refuses_what_is_wrong(provider: Provider) -> None:
    with pytest.raises(InstanceRejectedError, match="env"):
        await provider.create(spec("wrong", env={"NOT A NAME": "x"}))
    assert await provider.describe("wrong") is None


async def test_a_real_servers_watch_tells_of_a_pod(provider: Provider) -> None:
    await provider.create(spec("seen"))

    async def pending() -> bool:
        found = await provider.describe("seen")
        return found is not None and found.state is InstanceState.PENDING

    deadline = time.monotonic() + 12  # longer than what was just touched is asked for
    while time.monotonic() < deadline:
        await until_async(pending, 30)
        await asyncio.sleep(1)


async def test_what_has_no_room_is_taken_back_where_a_scheduler_runs(tmp_path: Path, access: dict[str, str]) -> None:
    provider = await _provider(tmp_path, access)
    with suppress(CapacityError):
        made = await provider.create(spec("big"))
        assert made.state is InstanceState.PENDING  # no scheduler has said a word
        await provider.delete("big")
    await gone(provider, "big")
    await provider.close()
