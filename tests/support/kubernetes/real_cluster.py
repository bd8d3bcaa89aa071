"""A namespace of a real control plane, with the roles of docs/kubernetes, nodes, and a token of the service account."""

from __future__ import annotations

import json
import ssl
import urllib.request
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from tests.support.kubernetes.admin import Admin, RefusalError, path_of
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.harness import ProviderHolder
from tests.support.kubernetes.kubelet import GPU
from tests.support.kubernetes.manifests import load
from tests.support.kubernetes.node_agent import Mirror, NodeAgent
from tests.support.kubernetes.objects import Json, stamp
from tests.support.provider_processes import until_async

_ACCOUNT = "orchestration-gateway"
_HOME = "orchestration"
_WITHIN_S = 60.0
_RESOURCES = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "StatefulSet": "statefulsets",
    "Service": "services",
}


class RealCluster:
    """One namespace, and nodes that nobody else has."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.namespace = f"llm-{uuid.uuid4().hex[:8]}"
        self.admin = Admin(plane.url, plane.token, plane.tls)
        self.objects = Mirror(self.admin, self.namespace)
        self.kubelet = NodeAgent(self.objects)
        self.token = ""
        self.config = folder / "kubeconfig"

    async def start(self) -> None:
        """Namespace, roles, token; no node yet."""
        namespace: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        for body in (*load("namespaces.yaml"), namespace, *load("rbac.yaml")):
            await self.apply(body)
        path = path_of("serviceaccounts", _HOME, _ACCOUNT, "token")
        answer = await self.admin.call("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"})
        self.token = answer["status"]["token"]
        self.plane.kubeconfig(self.config, self.token, self.namespace)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*self.plane.certificate)
        await self.kubelet.serve(tls)
        await self.objects.start()
        await until_async(self._has_account, _WITHIN_S)

    async def close(self) -> None:
        """Take all of it back."""
        await self.kubelet.close()
        await self.objects.close()
        for pod in await self.admin.find("pods", self.namespace):
            await self.admin.delete("pods", self.namespace, pod["metadata"]["name"])
        for name in self.kubelet.nodes:
            await self.admin.delete("nodes", "", name)
        await self.admin.delete("namespaces", "", self.namespace)
        await self.admin.close()
        assert self.objects.refused == []

    async def as_account(self, method: str, path: str, body: Json) -> Json:
        """A call with the token of the service account."""
        account = Admin(self.plane.url, self.token, self.plane.tls)
        try:
            return await account.call(method, path, body)
        finally:
            await account.close()

    @asynccontextmanager
    async def role_everywhere(self) -> AsyncGenerator[None]:
        """Let the account do in every namespace what it may do in this one."""
        (role,) = [item for item in load("rbac.yaml") if item["kind"] == "Role"]
        name = f"everywhere-{self.namespace}"
        subject = {"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": _HOME}
        bound = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        await self.admin.create("clusterroles", "", {"metadata": {"name": name}, "rules": role["rules"]})
        binding: Json = {"metadata": {"name": name}, "roleRef": bound, "subjects": [subject]}
        await self.admin.create("clusterrolebindings", "", binding)
        try:
            yield
        finally:
            await self.admin.delete("clusterrolebindings", "", name)
            await self.admin.delete("clusterroles", "", name)

    async def apply(self, body: Json) -> None:
        """An object of docs/kubernetes; what is for namespace ``llm`` there, in this one."""
        await self.admin.apply(*self._here(body))

    async def try_to_create(self, body: Json) -> Json:
        """Such an object as it would be if it were made under another name."""
        resource, namespace, body = self._here(body)
        body["metadata"]["name"] += "-tried"
        return await self.admin.call("POST", f"{path_of(resource, namespace)}?dryRun=All", body)

    def _here(self, body: Json) -> tuple[str, str, Json]:
        body = deepcopy(body)
        namespace = body["metadata"].get("namespace", "")
        if namespace == "llm":
            namespace = body["metadata"]["namespace"] = self.namespace
        return _RESOURCES[body["kind"]], namespace, body

    async def add_node(self, name: str, gpus: int = 0, gpu_type: str = "") -> str:
        """A node that is ready and takes Pods; its whole name."""
        name = f"{self.namespace}-{name}"
        labels = {"nvidia.com/gpu.product": gpu_type, "nvidia.com/gpu.memory": "81920"} if gpu_type else {}
        self.kubelet.nodes.add(name)
        await self.admin.create("nodes", "", {"metadata": {"name": name, "labels": {**labels, "test": self.namespace}}})
        room = {"cpu": "32", "memory": "256Gi", "pods": "110", **({GPU: str(gpus)} if gpus else {})}
        status: Json = {
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.kubelet.port}},
        }
        await self.admin.status("nodes", "", name, status)
        await self.set_ready(name, ready=True)
        return name

    async def set_ready(self, name: str, *, ready: bool) -> None:
        """Say whether the node is ready; returns when the controllers have heard it."""
        now = stamp()
        condition = {"type": "Ready", "status": str(ready), "lastHeartbeatTime": now, "lastTransitionTime": now}
        await self.admin.status("nodes", "", name, {"conditions": [condition]})

        async def heard() -> bool:
            node = await self.admin.call("GET", path_of("nodes", "", name))
            return bool(node["spec"].get("taints")) is not ready

        await until_async(heard, _WITHIN_S)

    async def left(self) -> list[str]:
        """Names of all Pods, Services and Secrets that somebody owns."""
        found = [
            item for kind in ("pods", "services", "secrets") for item in await self.admin.find(kind, self.namespace)
        ]
        return [item["metadata"]["name"] for item in found if item["metadata"]["name"].startswith("og-")]

    def pods(self) -> list[Json]:
        """All Pods as they are at this moment."""
        request = urllib.request.Request(
            self.plane.url + path_of("pods", self.namespace), headers={"Authorization": f"Bearer {self.plane.token}"}
        )
        with urllib.request.urlopen(request, timeout=30, context=self.plane.tls) as answer:
            items: list[Json] = json.load(answer)["items"]
            return items

    async def _has_account(self) -> bool:
        try:
            await self.admin.call("GET", path_of("serviceaccounts", self.namespace, "default"))
        except RefusalError:
            return False
        return True


class RealHarness(ProviderHolder):
    """The provider with the service account's token."""

    def __init__(self, folder: Path, cluster: RealCluster, settings: Mapping[str, str], **options: Any) -> None:
        super().__init__(folder, {"kubeconfig": str(cluster.config), **settings}, **options)
        self.cluster = cluster

    def running(self, name: str) -> int:
        pods = [pod for pod in self.cluster.pods() if pod["status"]["phase"] not in {"Failed", "Succeeded"}]
        return sum(pod["metadata"]["annotations"]["orchestration-gateway/instance"] == name for pod in pods)


@asynccontextmanager
async def real_cluster(plane: ControlPlane, folder: Path, *, gpus: int = 0) -> AsyncGenerator[RealCluster]:
    """A node without GPUs, and one with so many if any."""
    cluster = RealCluster(plane, folder)
    try:
        await cluster.start()
        await cluster.add_node("cpu-1")
        if gpus:
            await cluster.add_node("gpu-1", gpus, "NVIDIA-L4")
        yield cluster
    finally:
        await cluster.close()


@asynccontextmanager
async def real_harness(
    cluster: RealCluster,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncGenerator[RealHarness]:
    """A started provider."""
    harness = RealHarness(folder, cluster, settings or {}, **({"clock": clock} if clock else {}))
    await harness.provider.start()
    try:
        yield harness
    finally:
        await harness.provider.close()
