"""What goes wrong between the provider and a cluster, and what is made of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import (
    CapacityError,
    InstanceConflictError,
    InstanceRejectedError,
    InstanceState,
    ProviderError,
    ProviderUnavailableError,
)
from orchestration.service.providers.kubernetes.names import object_name
from tests.support.kubernetes.harness import NAMESPACE, KubernetesHarness, kubernetes_harness
from tests.support.kubernetes.server import TOKEN, Fault, refuse
from tests.support.provider_processes import gone, until_async

# What API servers say.
_NO = 'pods "og-one" is forbidden: '
_LIMITED = "maximum memory usage per Container is 1Mi, but limit is 2Mi"
_DENIED = 'admission webhook "pods.example.com" denied the request: not in this house'
_QUOTA_NAMED = 'pods is forbidden: User "us" cannot create resource "pods" in API group "" in the namespace "quota: a"'
_COUNTED = 'Operation cannot be fulfilled on resourcequotas "few": please apply your changes and try again'
_ENDS = f"{_NO}unable to create new content in namespace llm because it is being terminated"
_MANAGED = 'Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.PORT'


async def test_a_lost_answer_to_a_creation_makes_no_second_pod(harness: KubernetesHarness) -> None:
    harness.kube.after.append(lambda request: request.method == "POST")
    created = await harness.provider.create(harness.serving("one"))
    assert not harness.kube.after, "the answer was not lost"
    assert harness.kube.calls["create", "pods"] == 2
    assert created.deployment_id
    assert harness.running("one") == 1


async def test_a_creation_that_broke_off_is_found_completed_and_deleted(harness: KubernetesHarness) -> None:
    for name in ("half", "half-deleted"):
        harness.kube.faults.append(refuse("PATCH", "secrets", 500, "InternalError", "etcd has no leader"))
        with pytest.raises(ProviderUnavailableError, match="etcd has no leader"):
            await harness.provider.create(harness.serving(name))
    assert [item.name for item in await harness.provider.list_owned()] == ["half", "half-deleted"]
    await harness.provider.create(harness.serving("half"))

    async def runs() -> bool:
        found = await harness.provider.describe("half")
        return found is not None and found.state is InstanceState.RUNNING

    await until_async(runs, 30)
    await harness.provider.delete("half-deleted")
    await gone(harness.provider, "half-deleted")


async def test_a_cluster_that_is_away_is_never_taken_for_an_instance_that_is_gone(harness: KubernetesHarness) -> None:
    provider = harness.provider
    await provider.create(harness.serving("one"))
    await harness.kube.stop()
    for call in (provider.describe("one"), provider.describe("two"), provider.list_owned(), provider.delete("one")):
        with pytest.raises(ProviderUnavailableError):
            await call
    with pytest.raises(ProviderUnavailableError):
        await provider.create(harness.serving("two"))
    with pytest.raises(ProviderUnavailableError):
        await provider.list_resources()
    with pytest.raises(ProviderUnavailableError):
        _ = [record async for record in provider.logs("one", follow=True)]
    await harness.kube.start()

    async def answers() -> bool:
        try:
            return await provider.describe("one") is not None
        except ProviderUnavailableError:
            return False

    await until_async(answers, 30)


@pytest.mark.parametrize(
    ("fault", "kind", "reason", "words"),
    [
        (
            refuse("POST", "pods", 403, "Forbidden", f"{_NO}exceeded quota: few, "),
            CapacityError,
            "QUOTA_EXCEEDED",
            "few",
        ),
        (
            refuse("POST", "pods", 403, "Forbidden", f"{_NO}status unknown for quota: few"),
            CapacityError,
            "QUOTA_",
            "few",
        ),
        (
            refuse("POST", "pods", 403, "Forbidden", f"{_NO}failed quota: few: must"),
            InstanceRejectedError,
            "REJ",
            "must",
        ),
        (refuse("POST", "pods", 403, "Forbidden", f"{_NO}violates PodSecurity "), InstanceRejectedError, "REJ", "Sec"),
        (refuse("POST", "pods", 403, "Forbidden", f"{_NO}[{_LIMITED}, b]"), InstanceRejectedError, "REJ", "maximum"),
        (refuse("POST", "pods", 403, "", _DENIED), InstanceRejectedError, "REJECTED_BY_CLUSTER", "not in this house"),
        (
            refuse("POST", "pods", 403, "Forbidden", f"{_NO}pod rejected: Runt"),
            InstanceRejectedError,
            "REJ",
            "rejected",
        ),
        (refuse("POST", "pods", 403, "Forbidden", _ENDS), InstanceRejectedError, "NAMESPACE_NOT_FOUND", "terminated"),
        (refuse("POST", "pods", 403, "Forbidden", f"{_NO}not yet"), ProviderUnavailableError, "FORBIDDEN", "not yet"),
        (refuse("POST", "pods", 403, "Forbidden", _QUOTA_NAMED), ProviderUnavailableError, "FORBIDDEN", "see the role"),
        (refuse("POST", "pods", 409, "Conflict", _COUNTED), ProviderUnavailableError, "PROVIDER_", "try again"),
        (refuse("POST", "pods", 422, "Invalid", "bad cpu"), InstanceRejectedError, "REJECTED_BY_CLUSTER", "bad cpu"),
        (refuse("PATCH", "secrets", 409, "Conflict", _MANAGED), InstanceConflictError, "OBJECT_MANAGED_", "kubectl"),
        (
            refuse("PATCH", "secrets", 403, "Forbidden", 'secrets "a" is forbidden: '),
            ProviderUnavailableError,
            "F",
            "en; ",
        ),
        (refuse("POST", "pods", 429, "Busy", "later", **{"Retry-After": "60"}), ProviderUnavailableError, "RATE_", ""),
        (refuse("POST", "pods", 500, "InternalError", TOKEN), ProviderUnavailableError, "PROVIDER_UNAVAILABLE", ""),
    ],
)
async def test_a_refusal_tells_what_kind_it_is(
    harness: KubernetesHarness, fault: Fault, kind: type[ProviderError], reason: str, words: str
) -> None:
    harness.kube.faults.append(fault)
    with pytest.raises(ProviderError) as caught:
        await harness.provider.create(harness.serving("one"))
    assert type(caught.value) is kind
    assert caught.value.reason.startswith(reason)
    assert words in caught.value.message
    assert ("see the role" in caught.value.message) is (words in {"see the role", "en; "})
    assert TOKEN not in caught.value.message


async def test_of_two_who_make_an_object_at_once_the_second_changes_it(harness: KubernetesHarness) -> None:
    for resource in ("secrets", "services"):
        harness.kube.faults += [refuse("PATCH", resource, 409, "AlreadyExists", f'{resource} "a" already exists')] * 3
    created = await harness.provider.create(harness.serving("one"))
    assert not harness.kube.faults
    assert created.state in {InstanceState.PENDING, InstanceState.RUNNING}


async def test_whoever_is_always_quicker_is_told_of(harness: KubernetesHarness) -> None:
    harness.kube.faults += [refuse("PATCH", "secrets", 409, "AlreadyExists", "it already exists")] * 100
    with pytest.raises(ProviderUnavailableError, match="already exists"):
        await harness.provider.create(harness.serving("one"))


async def test_objects_hold_every_character(harness: KubernetesHarness) -> None:
    name = "Größe \U0001f642 \x7f \x85 \x9f \u2028 \ufeff"
    await harness.provider.create(harness.serving(name))
    assert [found.name for found in await harness.provider.list_owned()] == [name]
    assert len(list(harness.kube.objects.find("secrets"))) == 1


async def test_a_busy_server_is_asked_when_it_said(harness: KubernetesHarness) -> None:
    harness.kube.faults.append(refuse("GET", "nodes", 429, "Busy", "later", **{"Retry-After": "60"}))
    with pytest.raises(ProviderUnavailableError) as caught:
        await harness.provider.list_resources()
    assert caught.value.retry_after_s == 60.0


async def test_a_namespace_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"namespaces": "elsewhere"}) as harness:
        with pytest.raises(InstanceRejectedError, match='here/elsewhere: namespaces "elsewhere" not found'):
            await harness.provider.create(harness.serving("one"))


async def test_a_strangers_pod_is_left_alone(harness: KubernetesHarness) -> None:
    name = object_name(harness.owner, "one")
    body: dict[str, Any] = {"metadata": {"name": name}, "spec": {"containers": []}}
    harness.kube.objects.create("pods", NAMESPACE, body, "kubectl")
    with pytest.raises(InstanceConflictError) as caught:
        await harness.provider.create(harness.serving("one"))
    assert caught.value.reason == "NAME_TAKEN"
    assert await harness.provider.describe("one") is None
    await harness.provider.delete("one")
    assert "deletionTimestamp" not in harness.kube.objects.get("pods", NAMESPACE, name)["metadata"]


async def test_a_pod_that_no_node_takes_is_taken_back(harness: KubernetesHarness) -> None:
    with pytest.raises(CapacityError, match=r"Insufficient nvidia\.com/gpu"):
        await harness.provider.create(harness.spec("big", gpu_count=5))
    assert harness.kube.pod("big") is None
    assert list(await harness.provider.list_owned()) == []


async def test_where_nodes_come_a_pod_waits_and_is_given_up_in_the_end(tmp_path: Path) -> None:
    late = [0.0]
    settings = {"autoscaling": "true", "start_timeout_s": "300"}
    async with kubernetes_harness(tmp_path, settings, lambda: time.time() + late[0]) as harness:
        await harness.provider.create(harness.spec("big", gpu_count=5))

        async def told() -> bool:
            found = await harness.provider.describe("big")
            return found is not None and found.reason == "UNSCHEDULABLE"

        await until_async(told, 30)
        found = await harness.provider.describe("big")
        assert found is not None
        assert found.state is InstanceState.PENDING
        assert "Insufficient nvidia.com/gpu" in found.message
        late[0] = 400.0
        found = await harness.provider.describe("big")
        assert found is not None
        assert (found.state, found.reason) == (InstanceState.FAILED, "UNSCHEDULABLE")


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"image": ""}, "IMAGE_REQUIRED", "configuration.image"),
        ({"env": {"PORT": "1"}}, "RESERVED_VARIABLE", "PORT"),
        ({"provider_credential_name": "theirs"}, "UNKNOWN_CREDENTIAL", "'theirs'"),
        ({"provider_pool_id": "here/other"}, "UNKNOWN_PROVIDER_POOL", "here/llm"),
    ],
)
async def test_what_can_never_run_is_refused(
    harness: KubernetesHarness, changes: dict[str, Any], reason: str, words: str
) -> None:
    with pytest.raises(InstanceRejectedError, match=words) as caught:
        await harness.provider.create(harness.spec("one", **changes))
    assert caught.value.reason == reason
    assert not list(harness.kube.objects.find("pods"))


async def test_a_command_that_is_not_in_the_image_is_told(harness: KubernetesHarness) -> None:
    await harness.provider.create(harness.spec("one", ("no-such-engine", "--x")))

    async def failed() -> bool:
        found = await harness.provider.describe("one")
        return found is not None and found.state is InstanceState.FAILED

    await until_async(failed, 30)
    found = await harness.provider.describe("one")
    assert found is not None
    assert found.reason == "ENGINE_NOT_STARTED"
    assert "no-such-engine" in found.message
