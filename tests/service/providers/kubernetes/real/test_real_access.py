"""Without one of the rights of docs/kubernetes/rbac.yaml the provider says which; it needs no other."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestration.service.providers.base import InstanceState, ProviderUnavailableError
from orchestration.service.providers.kubernetes.api import KubeApi, path
from orchestration.service.providers.kubernetes.kubeconfig import in_cluster
from orchestration.service.providers.kubernetes.refusals import RefusedError
from tests.support.kubernetes.manifests import load
from tests.support.kubernetes.objects import Json
from tests.support.kubernetes.real_cluster import RealCluster, RealHarness, real_harness
from tests.support.provider_conformance import read
from tests.support.provider_processes import gone, until_async

pytestmark = pytest.mark.slow
WITHIN_S = 60.0


_ROLE: Json = next(item for item in load("rbac.yaml") if item["kind"] == "Role")
_RIGHTS = [
    (verb, resource)
    for rule in _ROLE["rules"]
    if rule["apiGroups"] == [""]  # the others are for what is not installed here
    for resource in rule["resources"]
    for verb in rule["verbs"]
]


async def _take_away(real: RealCluster, verb: str, resource: str) -> None:
    """Let the account have all rights but this one; returns when the API server has heard of it."""
    rules = [
        {**rule, "verbs": [one for one in rule["verbs"] if one != verb]} if resource in rule["resources"] else rule
        for rule in _ROLE["rules"]
    ]
    rules = [rule for rule in rules if rule["verbs"]]
    await real.admin.patch("roles", real.namespace, _ROLE["metadata"]["name"], {"rules": rules})

    async def heard() -> bool:
        return {right for right in _RIGHTS if await _may(real, *right)} == {*_RIGHTS} - {(verb, resource)}

    await until_async(heard, WITHIN_S)


async def _may(real: RealCluster, verb: str, resource: str) -> bool:
    resource, _, sub = resource.partition("/")
    meant = {"namespace": real.namespace, "verb": verb, "resource": resource, "subresource": sub}
    review: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": meant},
    }
    answer = await real.as_account("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


async def _is_forbidden(call: Callable[[], Awaitable[object]], words: str) -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        await call()
    assert words in caught.value.message
    assert "see the role in docs/kubernetes" in caught.value.message
    assert caught.value.reason == "FORBIDDEN"


async def _runs(harness: RealHarness, name: str) -> None:
    async def running() -> bool:
        found = await harness.provider.describe(name)
        return found is not None and found.state is InstanceState.RUNNING

    await until_async(running, WITHIN_S)


async def test_a_right_that_is_missing_is_named(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"autoscaling": "true", "endpoint": "node_port"}) as harness:
        provider = harness.provider
        await provider.create(harness.serving("first"))
        await _runs(harness, "first")
        names = (f"next-{number}" for number in itertools.count())
        calls: dict[tuple[str, str], Callable[[], Awaitable[object]]] = {
            ("get", "pods"): lambda: provider.describe("unknown"),
            ("list", "pods"): provider.list_owned,
            ("delete", "pods"): lambda: provider.delete("first"),
            ("get", "pods/log"): lambda: read(provider, "first"),
        }
        for right in _RIGHTS:
            if right == ("watch", "pods"):
                continue
            await _take_away(real, *right)
            verb, resource = right
            call = calls.get(right, lambda: provider.create(harness.serving(next(names))))
            # Of what is made by being applied the API server tells no more than that it is forbidden.
            applied = verb == "create" and resource != "pods"
            await _is_forbidden(call, f'{resource} "og-' if applied else f'cannot {verb} resource "{resource}"')


async def test_without_the_right_to_watch_pods_are_asked_for(real: RealCluster, tmp_path: Path) -> None:
    await _take_away(real, "watch", "pods")
    async with real_harness(real, tmp_path) as harness:
        await harness.provider.create(harness.serving("one"))
        await _runs(harness, "one")
        await harness.provider.delete("one")
        await gone(harness.provider, "one")


async def test_counting_all_pods_takes_the_other_role(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"count_all_pods": "true"}) as harness:
        await _is_forbidden(harness.provider.list_resources, 'cannot list resource "pods"')
        for body in load("count-all-pods.yaml"):
            await real.apply(body)
        try:

            async def answers() -> bool:
                try:
                    return bool(await harness.provider.list_resources())
                except ProviderUnavailableError:
                    return False

            await until_async(answers, WITHIN_S)
        finally:
            await real.admin.delete("clusterrolebindings", "", "orchestration-gateway-pods")


async def test_another_namespace_is_not_reached(real: RealCluster, tmp_path: Path) -> None:
    async with real_harness(real, tmp_path, {"namespaces": "kube-system"}) as harness:
        await _is_forbidden(lambda: harness.provider.create(harness.serving("one")), 'in the namespace "kube-system"')
        with pytest.raises(ProviderUnavailableError):
            await harness.provider.list_owned()


async def test_a_token_that_is_no_more_is_told(real: RealCluster, harness: RealHarness) -> None:
    real.config.write_text(real.config.read_text().replace(real.token, "of-yesterday"))
    await harness.restart()
    with pytest.raises(ProviderUnavailableError, match="Unauthorized") as caught:
        await harness.provider.describe("one")
    assert caught.value.reason == "UNAUTHORIZED"
    assert "of-yesterday" not in caught.value.message


async def test_a_pod_gets_in_by_what_is_mounted_in_it(real: RealCluster, tmp_path: Path) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(real.plane.authority.file.read_bytes())
    (folder / "namespace").write_text(real.namespace)
    (folder / "token").write_text("of yesterday")
    host, _, port = real.plane.url.removeprefix("https://").partition(":")
    found = in_cluster(folder, {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port})
    api = KubeApi(found)
    await api.start()
    with pytest.raises(RefusedError, match="Unauthorized"):
        await api.find_all(path("pods", found.namespace))
    (folder / "token").write_text(real.token)  # the kubelet has renewed it
    assert await api.find_all(path("pods", found.namespace)) == []
    await api.close()


async def test_a_client_certificate_tells_who_it_is(real: RealCluster, tmp_path: Path) -> None:
    certificate, key = real.plane.authority.issue("gateway-by-certificate")
    text = real.config.read_text().replace(
        f"token: {real.token}", f"client-certificate: {certificate}, client-key: {key}"
    )
    real.config.write_text(text)
    async with real_harness(real, tmp_path) as harness:
        await _is_forbidden(harness.provider.list_owned, 'User "gateway-by-certificate" cannot list resource "pods"')
