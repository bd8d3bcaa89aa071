"""A real API server takes every object that the provider makes, and those of docs/kubernetes (dry runs of both)."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.table import plan
from orchestration.service.providers.base import InstanceSpec
from orchestration.service.providers.kubernetes import manifests
from orchestration.service.providers.kubernetes.names import is_json
from orchestration.service.providers.kubernetes.provider import CAPABILITIES
from orchestration.service.providers.kubernetes.settings import parse
from tests.support.kubernetes.admin import APPLY, path_of
from tests.support.kubernetes.manifests import load
from tests.support.kubernetes.objects import Json
from tests.support.kubernetes.real_cluster import RealCluster
from tests.support.provider_processes import make_spec

pytestmark = pytest.mark.slow

_UID = "0b2a7cbe-5d8c-4a0e-9d0c-000000000001"
_CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "custom": {"command": ["serve", "--port", "{port}", "$(HOME)", "é", "", " "], "image": "mine:1"},
    "triton": {"image": "nvcr.io/nvidia/tritonserver:25.01-py3"},
}
_ODD = {
    "long": "x" * 300,
    "upper": "Team_A.Replica 1/2",
    "empty": "",
    "signs": "--..__",
    "unicode": "Größe-模型-🙂",
    "control": "a\nb\tc\x7f",
}
_SETTINGS: dict[str, dict[str, str]] = {
    "defaults": {},
    "everything": {
        "endpoint": "load_balancer",
        "gpu_resource": "amd.com/gpu",
        "cpu": "1500m",
        "memory": "1536Mi",
        "shm_size": "16Gi",
        "weights_claim": "models",
        "node_selector": "a=b,example.com/pool=gpu,empty=",
        "tolerations": "amd.com/gpu,spot=true:NoSchedule,gone:NoExecute,pool=x",
        "image_pull_secrets": "one,two",
        "runtime_class": "",
    },
    "ports": {"endpoint": "node_port", "weights_size": "200Gi", "memory": "1G", "tolerations": ""},
}


def _spec(engine: str, gpus: int, **changes: Any) -> InstanceSpec:
    planned = plan(
        EngineRequest(
            engine=engine,
            model="/models" if engine == "triton" else "org/model",
            model_name="model",
            workload_type="embedding" if engine in {"infinity", "tei"} else "inference",
            gpu_per_replica=gpus,
            configuration=_CONFIGURATIONS.get(engine, {}),
            env={"HF_TOKEN": "hidden", "_": "$(PATH) $$ \n", "empty": "", "A1": "é🙂"},
        )
    )
    fields: dict[str, Any] = {
        "owner": "us",
        "engine": engine,
        "command": planned.command,
        "env": planned.env,
        "image": planned.image,
        "container_port": planned.container_port,
        "health_path": planned.health_path,
        "startup_timeout_s": planned.startup_timeout_s,
        "stop_grace_s": planned.stop_grace_s,
        "gpu_count": gpus,
    }
    return make_spec(changes.pop("name", "r-1"), **(fields | changes))


async def _takes(real: RealCluster, spec: InstanceSpec, **values: str) -> None:
    """All three objects; unknown fields would be dropped in silence, so that what was taken is compared."""
    settings = parse({"kubeconfig": "unread", **values})
    assert settings is not None
    selector = {"nvidia.com/gpu.product": "NVIDIA-L4"}
    pod = manifests.pod(spec, settings, selector=selector, price=1e-9, now=1.0)
    taken = await real.admin.call("POST", f"{path_of('pods', real.namespace)}?dryRun=All", pod)
    assert _lacks(pod, taken) == []
    for resource, body in (
        ("secrets", manifests.secret(spec, _UID)),
        ("services", manifests.service(spec, settings, _UID)),
    ):
        path = path_of(resource, real.namespace, body["metadata"]["name"])
        taken = await real.admin.call("PATCH", f"{path}?dryRun=All&fieldManager=test", body, APPLY)
        assert _lacks(body, taken) == []


def _lacks(asked: Any, given: Any, where: str = "") -> list[str]:
    """Where the one is not in the other; what was added to it does not count."""
    wanted, has = _parts(asked), _parts(given)
    if wanted and has:
        return [text for key, value in wanted.items() for text in _lacks(value, has.get(key), f"{where}.{key}")]
    if asked in ({}, []) or (asked == "" and given is None):
        return []
    return [] if asked == given else [f"{where}: {asked!r} became {given!r}"]


def _parts(item: object) -> Json:
    """By key, or by index, what is in it."""
    if isinstance(item, list):
        return {str(index): value for index, value in enumerate(cast("list[object]", item))}
    return item if is_json(item) else {}


@pytest.mark.parametrize("settings", sorted(_SETTINGS))
@pytest.mark.parametrize("gpus", [0, 1, 8])
async def test_it_takes_replicas_of_all_engines(real: RealCluster, settings: str, gpus: int) -> None:
    for engine in CAPABILITIES.engines:
        await _takes(real, _spec(engine, gpus), **_SETTINGS[settings])


async def test_it_takes_whatever_a_caller_may_say(real: RealCluster) -> None:
    for text in _ODD.values():
        changes: dict[str, Any] = {"name": text, "owner": text, "deployment_id": text, "replica_id": text}
        await _takes(real, _spec("custom", 0, **changes, labels={text: text}))
    for changes in (
        {"stop_grace_s": 0.0},
        {"stop_grace_s": 0.2, "startup_timeout_s": 0.0},
        {"stop_grace_s": 86400.0, "startup_timeout_s": 86400.0},
        {"port": 1},
        {"port": 65535},
        {"health_path": "/health?deep=true&x=é"},
        {"health_path": ""},
        {"command": ("x" * 20_000,)},
        {"env": {f"KEY_{number}": "x" * 100 for number in range(500)}},
        {"model": "hf://org/name@" + "x" * 300},
        {"labels": {f"label-{number}": "x" * 60 for number in range(200)}},
    ):
        await _takes(real, _spec("custom", 1, **changes))


@pytest.mark.parametrize("name", ["namespaces.yaml", "rbac.yaml", "count-all-pods.yaml", "gateway.yaml"])
async def test_it_takes_the_manifests_of_the_documentation(real: RealCluster, name: str) -> None:
    for body in load(name):
        taken = await real.try_to_create(body)
        assert _lacks({key: body[key] for key in body if key != "metadata"}, taken) == [], json.dumps(taken)
