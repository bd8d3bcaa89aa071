"""Job definitions of every engine, held against Nosana's own validator where its package is installed."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from orchestration.service.engines.artifacts import plain
from orchestration.service.engines.base import EngineRequest
from orchestration.service.engines.table import ENGINE_NAMES, plan
from orchestration.service.providers.base import InstanceSpec
from orchestration.service.providers.nosana.definition import build
from tests.support.node_packages import missing_nosana, nosana_modules
from tests.support.provider_processes import make_spec

MODELS = {"llamacpp": "org/model:Q4_K_M", "triton": "s3://bucket/models", "ollama": "ollama://llama3:8b"}


def spec_for(engine: str, model: str = "", **changes: Any) -> InstanceSpec:
    """The spec that the controllers make of a deployment of this engine."""
    model = model or MODELS.get(engine, "org/model")
    configuration: dict[str, object] = {}
    if engine == "custom":
        configuration = {"command": ["serve", "--model", "{model}", "--port", "{port}"], "image": "org/image:1"}
    workload = "embedding" if engine in {"tei", "infinity"} else "inference"
    made = plan(
        EngineRequest(
            engine=engine,
            model=model,
            model_name="llama3" if engine == "ollama" else "org/model",
            workload_type=workload,
            gpu_per_replica=1,
            configuration=configuration,
            env={},
        )
    )
    given = {
        "owner": "o",
        "engine": engine,
        "command": made.command,
        "env": dict(made.env),
        "image": made.image,
        "model": plain(model),
        "gpu_count": 1,
        "container_port": made.container_port,
        "health_path": made.health_path,
    }
    return make_spec("r-1", **(given | changes))


def arguments(spec: InstanceSpec, *, with_resources: bool = True) -> dict[str, Any]:
    """The arguments of the only operation."""
    return dict(build(spec, with_resources=with_resources)["ops"][0]["args"])


def test_a_model_of_the_hub_is_fetched_by_the_host() -> None:
    found = arguments(spec_for("vllm", "meta-llama/Llama-3.1-8B", env={"HF_TOKEN": "hf_x", "A": "{port}:{model}"}))
    assert found["image"] == "vllm/vllm-openai:latest"
    assert (found["entrypoint"], found["cmd"][:2]) == (["vllm"], ["serve", "/models/meta-llama/Llama-3.1-8B"])
    assert found["cmd"][2:6] == ["--host", "0.0.0.0", "--port", "8000"]
    assert found["cmd"][found["cmd"].index("--served-model-name") + 1] == "org/model"
    assert found["resources"] == [
        {
            "type": "HF",
            "repo": "meta-llama/Llama-3.1-8B",
            "target": "/models/meta-llama/Llama-3.1-8B",
            "accessToken": "hf_x",
        }
    ]
    assert found["env"]["A"] == "8000:/models/meta-llama/Llama-3.1-8B"
    assert found["env"]["PORT"] == "8000"
    assert found["gpu"] is True
    (expose,) = found["expose"]
    assert expose["port"] == 8000
    assert expose["health_checks"] == [
        {"type": "http", "path": "/health", "method": "GET", "expected_status": 200, "continuous": True}
    ]


def test_a_name_that_clients_use_is_no_model() -> None:
    spec = spec_for("vllm", "gpt2", command=("vllm", "serve", "gpt2", "--served-model-name", "gpt2", "--revision", "r"))
    found = arguments(spec)
    assert found["cmd"] == ["serve", "/models/gpt2", "--served-model-name", "gpt2", "--revision", "r"]
    assert found["resources"][0]["revision"] == "r"


@pytest.mark.parametrize(
    ("engine", "model", "kind", "told"),
    [
        ("sglang", "org/model", "HF", "/models/org/model"),
        ("tgi", "hf://org/model", "HF", "/models/org/model"),
        ("tei", "org/model", "HF", "/models/org/model"),
        ("infinity", "org/model", "HF", "/models/org/model"),
        ("custom", "org/model", "HF", "/models/org/model"),
        ("custom", "s3://bucket/a/b", "S3", "/models/bucket/a/b"),
        ("triton", "s3://bucket/models", "S3", "/models/bucket/models"),
        ("ollama", "ollama://llama3:8b", "Ollama", "llama3:8b"),
        ("ollama", "llama3", "Ollama", "llama3"),
        ("ollama", "hf://org/model", "", "hf.co/org/model"),
        ("vllm", "s3://bucket/model", "", "s3://bucket/model"),
        ("llamacpp", "org/model:Q4", "", "org/model:Q4"),
        ("vllm", "/data/model", "", "/data/model"),
    ],
)
def test_who_fetches_the_model(engine: str, model: str, kind: str, told: str) -> None:
    found = arguments(spec_for(engine, model))
    assert [item["type"] for item in found.get("resources", [])] == ([kind] if kind else [])
    assert told in found["cmd"]
    plainly = arguments(spec_for(engine, model), with_resources=False)
    assert "resources" not in plainly


def test_keys_to_a_bucket_go_with_it() -> None:
    env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}
    (resource,) = arguments(spec_for("triton", env=env))["resources"]
    assert resource["IAM"] == {"REGION": "eu-west-1", "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}


def test_an_image_may_start_by_itself() -> None:
    found = arguments(spec_for("custom", command=(), health_path="", gpu_count=0))
    assert "entrypoint" not in found
    assert "cmd" not in found
    assert found["gpu"] is False
    assert "health_checks" not in found["expose"][0]


_VALIDATE = """
import { validateJobDefinition } from '@nosana/types';
let text = '';
for await (const chunk of process.stdin) text += chunk;
console.log(JSON.stringify(JSON.parse(text).map((item) => validateJobDefinition(item))));
"""


@pytest.mark.skipif(bool(missing_nosana()), reason=missing_nosana() or "it is there")
def test_nosanas_own_validator_takes_every_engines_definition() -> None:
    definitions = [
        build(spec_for(engine), with_resources=resources) for engine in ENGINE_NAMES for resources in (True, False)
    ]
    env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "HF_TOKEN": "t"}
    definitions += [build(spec_for(engine, env=env), with_resources=True) for engine in ENGINE_NAMES]
    wrong = json.loads(json.dumps(definitions[0]))
    del wrong["ops"][0]["args"]["expose"][0]["health_checks"][0]["continuous"]
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", _VALIDATE],
        input=json.dumps([*definitions, wrong]),
        capture_output=True,
        text=True,
        cwd=nosana_modules().parent,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    *answers, refused = json.loads(ran.stdout)
    assert [answer.get("errors") for answer in answers if not answer["success"]] == []
    assert refused["success"] is False, "the validator must be one that can refuse"
