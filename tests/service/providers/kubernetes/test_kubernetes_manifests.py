"""The manifests fit the code: roles grant what is asked for and no more, and the gateway starts as the image says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.providers.base import CapacityError, ProviderUnavailableError
from orchestration.service.providers.inventory import NodeLister, NodeScope
from orchestration.service.providers.kubernetes.settings import parse
from orchestration.service.settings import load_settings
from tests.support.kubernetes.harness import KubernetesHarness, group_spec, kubernetes_harness
from tests.support.kubernetes.manifests import FOLDER, ROOT, grants, load
from tests.support.provider_conformance import read
from tests.support.provider_processes import ended, gone, until, until_async

_ROLES = ("Role", "ClusterRole")


async def _whole_life(harness: KubernetesHarness) -> None:
    """Everything that the provider does, whatever its settings."""
    provider, kube = harness.provider, harness.kube
    await until(lambda: kube.watching, 30)
    await provider.list_resources()
    await provider.create(harness.exiting("one", lines=1))
    await ended(provider, "one")
    assert await read(provider, "one")
    assert len(await provider.list_owned()) == 1
    assert isinstance(provider, NodeLister)
    assert [one.error for one in await provider.list_nodes(NodeScope())] == [""]
    with pytest.raises(CapacityError):
        await provider.create(harness.spec("big", gpu_count=9))
    await provider.delete("one")
    await gone(provider, "one")
    await provider.create(harness.serving("lost"))
    await until(lambda: harness.running("lost"), 30)
    kube.kubelet.paused = True
    kube.objects.get("nodes", "", "cpu-1")["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    await provider.delete("lost")

    async def is_gone() -> bool:
        await provider.delete("lost")
        return await provider.describe("lost") is None

    await until_async(is_gone, 30)


async def _life_of_a_group(harness: KubernetesHarness) -> None:
    """And on several nodes."""
    harness.kube.serves_groups = True
    for number in (1, 2):
        harness.kube.add_node(f"gpu-{number}", gpus=2, gpu_type="NVIDIA-L4")
    await harness.provider.create(group_spec(harness, "wide"))
    assert len(await harness.provider.list_owned()) == 1
    await harness.provider.delete("wide")
    await gone(harness.provider, "wide")


async def test_the_roles_grant_what_the_provider_asks_for_and_no_more(tmp_path: Path) -> None:
    settings = {"endpoint": "node_port", "lost_node_s": "1"}
    async with kubernetes_harness(tmp_path, settings) as harness:
        harness.kube.granted = grants(*_ROLES)
        await _life_of_a_group(harness)
        await _whole_life(harness)
        assert set(harness.kube.calls) == harness.kube.granted


async def test_counting_all_pods_takes_the_other_role(tmp_path: Path) -> None:
    async with kubernetes_harness(tmp_path, {"count_all_pods": "true"}) as harness:
        harness.kube.granted = grants("ClusterRole")
        with pytest.raises(ProviderUnavailableError, match="see the role"):
            await harness.provider.list_resources()
        harness.kube.granted |= grants("ClusterRole", name="count-all-pods.yaml")
        assert await harness.provider.list_resources()


@pytest.mark.parametrize("name", ["rbac.yaml", "count-all-pods.yaml"])
def test_every_role_is_bound_to_the_gateways_account(name: str) -> None:
    items = load(name)
    account = {"kind": "ServiceAccount", "name": "orchestration-gateway", "namespace": "orchestration"}
    bindings = {
        (item["roleRef"]["kind"], item["roleRef"]["name"]): item["subjects"]
        for item in items
        if item["kind"].endswith("Binding")
    }
    roles = [(item["kind"], item["metadata"]["name"]) for item in items if item["kind"] in _ROLES]
    assert roles
    assert all(bindings[role] == [account] for role in roles)
    (ours,) = [item for item in load("rbac.yaml") if item["kind"] == "ServiceAccount"]
    assert ours["metadata"] == {"name": account["name"], "namespace": account["namespace"]}


def test_the_base_holds_every_file_that_it_names() -> None:
    (base,) = load("kustomization.yaml")
    assert all((FOLDER / name).is_file() for name in base["resources"])
    named = {item["metadata"]["name"] for item in load("namespaces.yaml")}
    objects = [item for name in base["resources"] for item in load(name)]
    assert {item["metadata"]["namespace"] for item in objects if "namespace" in item["metadata"]} == named


@pytest.fixture
def gateway() -> dict[str, Any]:
    """The Pod of the gateway."""
    (found,) = [item for item in load("gateway.yaml") if item["kind"] == "StatefulSet"]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def test_the_gateway_is_started_as_the_image_starts_it(gateway: dict[str, Any]) -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    said = dict(line.split(" ", 1) for line in lines if re.match(r"(CMD|ENTRYPOINT|EXPOSE|USER|VOLUME) ", line))
    (container,) = gateway["containers"]
    assert container["args"] == json.loads(said["CMD"])
    assert "command" not in container
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == dict(zip(("grpc", "http"), map(int, said["EXPOSE"].split()), strict=True))
    assert gateway["securityContext"]["runAsUser"] == int(said["USER"])
    assert container["volumeMounts"][0]["mountPath"] in json.loads(said["VOLUME"])
    (service,) = [item for item in load("gateway.yaml") if item["kind"] == "Service"]
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == ports
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)


def test_the_gateways_environment_configures_the_provider(
    gateway: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in gateway["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    settings = parse(load_settings().providers["kubernetes"])
    assert settings is not None
    (access,) = settings.accesses
    (role,) = [item for item in load("rbac.yaml") if item["kind"] == "Role"]
    assert access.in_cluster
    assert access.namespaces == (role["metadata"]["namespace"],)
