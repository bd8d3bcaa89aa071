"""What is asked of a cluster for one replica."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.table import plan
from orchestration.service.providers.base import InstanceSpec
from orchestration.service.providers.kubernetes import manifests
from orchestration.service.providers.kubernetes.settings import KubernetesSettings, parse
from tests.support.provider_processes import make_spec


def settings(**values: str) -> KubernetesSettings:
    found = parse({"kubeconfig": "unread", **values})
    assert found is not None
    return found


def spec(engine: str = "vllm", gpus: int = 2, **configuration: Any) -> InstanceSpec:
    """As the controllers make one of the engine's row."""
    request = EngineRequest(
        engine=engine,
        model="org/model",
        model_name="model",
        workload_type="inference",
        gpu_per_replica=gpus,
        configuration=configuration,
        env={"HF_TOKEN": "secret-token"},
    )
    planned = plan(request)
    return make_spec(
        "r-1",
        owner="us",
        engine=engine,
        command=planned.command,
        env=planned.env,
        image=planned.image,
        container_port=planned.container_port,
        health_path=planned.health_path,
        startup_timeout_s=planned.startup_timeout_s,
        stop_grace_s=planned.stop_grace_s,
        gpu_count=gpus,
        labels={"team": "search and rank"},
    )


def pod(given: InstanceSpec, **values: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Pod's spec, and its container."""
    made = manifests.pod(
        given, settings(**values), selector={"nvidia.com/gpu.product": "NVIDIA-L4"}, price=1.5, now=1.0
    )
    (container,) = made["spec"]["containers"]
    return made["spec"], container


def test_a_pod_is_never_restarted_in_place_and_holds_what_the_engines_row_says() -> None:
    body, container = pod(spec(), runtime_class="nvidia", image_pull_secrets="mine", memory="64Gi", cpu="8")
    assert body["restartPolicy"] == "Never"
    assert body["terminationGracePeriodSeconds"] == 30
    assert body["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert body["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert (body["runtimeClassName"], body["imagePullSecrets"]) == ("nvidia", [{"name": "mine"}])
    assert body["automountServiceAccountToken"] is False
    assert container["command"][:3] == ["vllm", "serve", "org/model"]
    assert {"0.0.0.0", "8000"} <= set(container["command"])
    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "2"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "2"},
    }
    assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]


def test_a_pod_always_has_a_moment_to_end() -> None:
    graces = [pod(make_spec("r", owner="us", command=("x",), image="i", stop_grace_s=given))[0] for given in (0.0, 1.2)]
    assert [body["terminationGracePeriodSeconds"] for body in graces] == [1, 2]


def test_shared_memory_is_there_for_more_than_one_gpu() -> None:
    body, container = pod(spec(gpus=2), shm_size="16Gi")
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in body["volumes"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]
    body, container = pod(spec(gpus=1))
    assert [volume["name"] for volume in body["volumes"]] == ["weights"]
    assert [mount["name"] for mount in container["volumeMounts"]] == ["weights"]


def test_probes_are_those_of_the_engine_and_leave_the_first_word_to_the_gateway() -> None:
    _, container = pod(spec())
    asked = {"path": "/health", "port": 8000}
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert all(container[name]["httpGet"] == asked for name in ("startupProbe", "readinessProbe", "livenessProbe"))
    assert startup["periodSeconds"] * startup["failureThreshold"] == 1800 + 60
    assert liveness["periodSeconds"] * liveness["failureThreshold"] == 180


def test_an_engine_without_a_health_path_is_asked_at_its_port() -> None:
    _, container = pod(make_spec("r-1", owner="us", command=("serve",), image="mine:1", port=9000))
    assert container["readinessProbe"]["tcpSocket"] == {"port": 9000}
    assert "httpGet" not in container["readinessProbe"]


def test_weights_are_on_a_claim_or_go_with_the_replica() -> None:
    body, _ = pod(spec(), weights_claim="models")
    assert body["volumes"][0] == {"name": "weights", "persistentVolumeClaim": {"claimName": "models"}}
    body, _ = pod(spec(), weights_size="200Gi")
    assert body["volumes"][0] == {"name": "weights", "emptyDir": {"sizeLimit": "200Gi"}}


def test_the_environment_is_in_the_secret_alone() -> None:
    given = spec()
    made = manifests.pod(given, settings(), selector={}, price=0, now=0)
    assert "secret-token" not in str(made)
    secret = manifests.secret(given, "uid-1")
    data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert data["HF_TOKEN"] == "secret-token"
    assert (data["PORT"], data["HOST"], data["MODEL"]) == ("8000", "0.0.0.0", "org/model")
    assert data["HF_HOME"].startswith("/weights/")
    (container,) = made["spec"]["containers"]
    assert {item["name"] for item in container["env"]} == set(data)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


def test_a_replica_without_a_gpu_sees_none() -> None:
    data = manifests.secret(spec(gpus=0), "uid")["data"]
    assert base64.b64decode(data["NVIDIA_VISIBLE_DEVICES"]) == b"void"
    assert "NVIDIA_VISIBLE_DEVICES" not in manifests.secret(spec(gpus=1), "uid")["data"]


def test_llamacpp_is_started_by_its_images_entry_point_unless_a_command_is_given() -> None:
    _, container = pod(spec("llamacpp", gpus=1))
    assert "command" not in container
    assert container["args"][0] != "llama-server"
    _, container = pod(spec("llamacpp", gpus=1, command=["/opt/llama-server"]))
    assert container["command"][0] == "/opt/llama-server"


def test_the_kubelet_replaces_nothing_in_a_command() -> None:
    _, container = pod(make_spec("r", owner="us", command=("sh", "-c", "echo $(MODEL) $$ {model}"), image="i"))
    assert container["command"][2] == "echo $$(MODEL) $$$$ org/model"


def test_labels_and_notes_say_whose_it_is() -> None:
    metadata = manifests.pod(spec(), settings(), selector={}, price=1.5, now=1.0)["metadata"]
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "orchestration-gateway"
    assert metadata["labels"]["orchestration-gateway/owner"] == "us"
    assert metadata["annotations"]["orchestration-gateway/labels"] == '{"team": "search and rank"}'
    assert metadata["annotations"]["orchestration-gateway/instance"] == "r-1"
    assert len(metadata["name"]) <= 63


def test_an_owners_tag_that_is_no_label_is_stood_for_by_another() -> None:
    given = make_spec("r", owner="us @ home " * 20, command=("x",), image="i")
    label = manifests.service(given, settings(), "uid")["metadata"]["labels"]["orchestration-gateway/owner"]
    assert len(label) <= 63
    assert label.isalnum()


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [("service", "ClusterIP"), ("pod_ip", "ClusterIP"), ("node_port", "NodePort"), ("load_balancer", "LoadBalancer")],
)
def test_the_service_is_of_the_kind_that_is_needed(tmp_path: Path, endpoint: str, kind: str) -> None:
    body = manifests.service(spec(), settings(endpoint=endpoint), "uid")["spec"]
    assert (body["type"], body["ports"][0]["port"]) == (kind, 8000)
    assert list(body["selector"]) == ["orchestration-gateway/instance"]
