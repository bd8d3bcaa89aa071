"""Whole command lines of every engine, as a user would type them."""

import shlex
from typing import Any

import pytest

from orchestration.service.engines.base import EngineConfigurationError, EnginePlan, EngineRequest
from orchestration.service.engines.table import ENGINE_NAMES, ENGINES, UnknownEngineError, get_engine, plan


def planned(engine: str, model: str, **given: Any) -> EnginePlan:
    request: dict[str, Any] = {
        "model_name": "demo",
        "workload_type": get_engine(engine).workload_types[0],
        "gpu_per_replica": 1,
        "configuration": {},
        "env": {},
        **given,
    }
    return plan(EngineRequest(engine=engine, model=model, **request))


COMMANDS = [
    (
        planned("vllm", "meta-llama/Llama-3.1-8B"),
        "vllm serve meta-llama/Llama-3.1-8B --host {host} --port {port} --served-model-name demo",
    ),
    (
        planned(
            "vllm",
            "hf://org/name",
            gpu_per_replica=4,
            configuration={
                "max_model_len": 8192.0,
                "gpu_memory_utilization": 0.9,
                "enforce_eager": True,
                "trust_remote_code": False,
                "served_model_name": "other",
                "args": ["--enable-prefix-caching"],
            },
        ),
        (
            "vllm serve org/name --host {host} --port {port} --served-model-name other --tensor-parallel-size 4"
            " --max-model-len 8192 --gpu-memory-utilization 0.9 --enforce-eager --enable-prefix-caching"
        ),
    ),
    (
        planned(
            "vllm", "s3://bucket/llama", workload_type="embedding", configuration={"command": ["/opt/vllm", "serve"]}
        ),
        (
            "/opt/vllm serve s3://bucket/llama --host {host} --port {port} --runner pooling --served-model-name demo"
            " --load-format runai_streamer"
        ),
    ),
    (
        planned("sglang", "file:///models/my%20llama", gpu_per_replica=2, configuration={"context_length": 4096.0}),
        (
            "python3 -m sglang.launch_server --model-path '/models/my llama' --host {host} --port {port}"
            " --enable-metrics --served-model-name demo --tp-size 2 --context-length 4096"
        ),
    ),
    (
        planned("sglang", "org/name", workload_type="embedding"),
        (
            "python3 -m sglang.launch_server --model-path org/name --host {host} --port {port} --enable-metrics"
            " --is-embedding --served-model-name demo"
        ),
    ),
    (
        planned("llamacpp", "file:///models/a.gguf", gpu_per_replica=0, configuration={"ctx_size": 2048.0}),
        (
            "llama-server --model /models/a.gguf --host {host} --port {port} --metrics --alias demo --ctx-size 2048"
            " --n-gpu-layers 0"
        ),
    ),
    (
        planned("llamacpp", "org/name-GGUF:Q4_K_M", workload_type="embedding", configuration={"pooling": "mean"}),
        (
            "llama-server --hf-repo org/name-GGUF:Q4_K_M --host {host} --port {port} --metrics --alias demo"
            " --embeddings --pooling mean"
        ),
    ),
    (
        planned("llamacpp", "https://host/a.gguf", configuration={"n_gpu_layers": 99.0, "parallel": 4.0, "seed": 1.0}),
        (
            "llama-server --model-url https://host/a.gguf --host {host} --port {port} --metrics --alias demo"
            " --n-gpu-layers 99 --parallel 4 --seed 1"
        ),
    ),
    (
        planned("tei", "BAAI/bge-small-en", configuration={"pooling": "cls", "max_batch_tokens": 16384.0}),
        (
            "text-embeddings-router --model-id BAAI/bge-small-en --hostname {host} --port {port}"
            " --served-model-name demo --pooling cls --max-batch-tokens 16384"
        ),
    ),
    (
        planned("infinity", "BAAI/bge-small-en", gpu_per_replica=0, configuration={"trust_remote_code": False}),
        (
            "infinity_emb v2 --model-id BAAI/bge-small-en --host {host} --port {port} --url-prefix /v1"
            " --served-model-name demo --device cpu --no-trust-remote-code"
        ),
    ),
    (
        planned("triton", "/models/repository"),
        (
            "tritonserver --model-repository /models/repository --http-address {host} --http-port {port}"
            " --allow-grpc false --allow-metrics false"
        ),
    ),
    (
        planned("triton", "s3://bucket/repository", configuration={"load_model": ["a", "b"], "metrics_port": 8002.0}),
        (
            "tritonserver --model-repository s3://bucket/repository --http-address {host} --http-port {port}"
            " --allow-grpc false --metrics-port 8002 --model-control-mode explicit --load-model a --load-model b"
        ),
    ),
    (
        planned("tgi", "org/name", gpu_per_replica=2, configuration={"quantize": "awq"}),
        "text-generation-launcher --model-id org/name --hostname {host} --port {port} --num-shard 2 --quantize awq",
    ),
    (
        planned(
            "custom", "", configuration={"command": ["./serve", "--listen={host}:{port}", "{model}"], "args": ["-v"]}
        ),
        "./serve --listen={host}:{port} {model} -v",
    ),
]


@pytest.mark.parametrize(
    ("made", "wanted"), COMMANDS, ids=[f"{number}-{c[0].engine}" for number, c in enumerate(COMMANDS)]
)
def test_command_line(made: EnginePlan, wanted: str) -> None:
    assert list(made.command) == shlex.split(wanted)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("ollama://llama3.2:1b", ["llama3.2:1b", "load", "demo", "--", "ollama"]),
        ("llama3.2", ["llama3.2", "load", "demo", "--", "ollama"]),
        ("hf://org/name:Q4_K_M", ["hf.co/org/name:Q4_K_M", "load", "demo", "--", "ollama"]),
    ],
)
def test_ollama_is_told_the_model_and_its_name(model: str, words: list[str]) -> None:
    made = planned("ollama", model)
    assert made.command[:2] == ("sh", "-c")
    assert list(made.command[4:]) == words
    assert made.env == {"OLLAMA_HOST": "{host}:{port}", "OLLAMA_KEEP_ALIVE": "-1"}
    assert (made.health_path, made.readiness) == ("/v1/models/demo", "ollama")


def test_ollama_keys_become_variables_and_a_slash_leaves_the_health_path() -> None:
    keys = {"context_length": 8192.0, "flash_attention": True, "keep_alive": "30m"}
    made = planned("ollama", "llama3.2", model_name="org/llama", configuration=keys)
    assert made.env["OLLAMA_CONTEXT_LENGTH"] == "8192"
    assert made.env["OLLAMA_FLASH_ATTENTION"] == "1"
    assert made.env["OLLAMA_KEEP_ALIVE"] == "30m"
    assert made.health_path == "/v1/models/org-llama"


def test_defaults_of_every_engine_are_usable() -> None:
    assert tuple(engine.name for engine in ENGINES) == ENGINE_NAMES
    for engine in ENGINES:
        configuration = {"command": ["serve"]} if engine.name == "custom" else {}
        made = planned(engine.name, "/models/x" if engine.name == "triton" else "org/name", configuration=configuration)
        assert made.command
        assert (made.port, made.container_port) == (0, engine.container_port)
        assert made.image or engine.name == "custom"
        assert made.health_path.startswith("/")
        assert 0 < made.startup_timeout_s <= 86400
        assert made.stop_grace_s > 0
        assert made.install_hint


@pytest.mark.parametrize(
    ("engine", "model", "configuration", "name"),
    [
        ("vllm", "org/name", {}, "demo"),
        ("vllm", "org/name", {"served_model_name": "other, and a comma"}, ""),
        ("vllm", "org/name", {"served_model_name": "other"}, "other"),
        ("vllm", "org/name", {"args": ["--served-model-name=third"]}, ""),
        ("sglang", "org/name", {}, "demo"),
        ("llamacpp", "/m.gguf", {"alias": "other"}, "other"),
        ("llamacpp", "/m.gguf", {"args": ["-a", "third"]}, ""),
        ("infinity", "org/name", {}, "demo"),
        ("tei", "org/name", {}, ""),
        ("tgi", "org/name", {}, ""),
        ("ollama", "name", {}, ""),
        ("triton", "/models", {}, ""),
        ("custom", "org/name", {"command": ["serve"]}, ""),
    ],
)
def test_the_model_that_must_be_listed_is_the_one_that_the_engine_is_told(
    engine: str, model: str, configuration: dict[str, object], name: str
) -> None:
    made = planned(engine, model, configuration=configuration)
    assert (made.served_model, made.models_path) == (name, "/v1/models" if name else "")
    assert not name or name in made.command


def test_keys_of_every_engine_override_the_row() -> None:
    keys = {
        "image": "registry/image:1",
        "port": 9000.0,
        "health_path": "",
        "startup_timeout_seconds": 12.5,
        "stop_grace_seconds": 0.0,
        "env": {"A": "1", "B": "1"},
    }
    made = planned("vllm", "org/name", configuration=keys, env={"B": "2"})
    assert (made.image, made.port, made.container_port) == ("registry/image:1", 9000, 9000)
    assert (made.health_path, made.startup_timeout_s, made.stop_grace_s) == ("", 12.5, 0.0)
    assert made.env == {"A": "1", "B": "2"}


def test_a_replica_without_a_gpu_gets_the_image_for_cpus() -> None:
    assert planned("llamacpp", "/m.gguf", gpu_per_replica=0).image == "ghcr.io/ggml-org/llama.cpp:server"
    assert planned("llamacpp", "/m.gguf", gpu_per_replica=1).image == "ghcr.io/ggml-org/llama.cpp:server-cuda"


def test_unknown_engine_names_those_there_are() -> None:
    with pytest.raises(
        UnknownEngineError, match=r"'vlm' is no engine; did you mean 'vllm'\? there are vllm, sglang, .*custom"
    ):
        get_engine("vlm")


VLLM_BEGINS = "vllm serve org/name --host {host} --port {port} --served-model-name demo"
GROUP_ENDS = "--nnodes {nodes} --node-rank {node_rank} --master-addr {leader}"
OVER_NODES = [
    (
        planned("vllm", "org/name", gpu_per_replica=16, configuration={"args": ["--seed=1"]}),
        f"{VLLM_BEGINS} --tensor-parallel-size {{gpus_per_node}} --pipeline-parallel-size {{nodes}}",
        GROUP_ENDS,
        "--headless",
        "--distributed-executor-backend ray",
        "--seed=1",
    ),
    (
        planned("vllm", "org/name", gpu_per_replica=16, configuration={"tensor_parallel_size": 16.0}),
        f"{VLLM_BEGINS} --tensor-parallel-size 16 --pipeline-parallel-size 1",
        GROUP_ENDS,
        "--headless",
        "--distributed-executor-backend ray",
        "",
    ),
    (
        planned("vllm", "org/name", gpu_per_replica=16, configuration={"pipeline_parallel_size": 4.0}),
        f"{VLLM_BEGINS} --tensor-parallel-size 4 --pipeline-parallel-size 4",
        GROUP_ENDS,
        "--headless",
        "--distributed-executor-backend ray",
        "",
    ),
    (
        planned("sglang", "org/name", gpu_per_replica=16),
        (
            "python3 -m sglang.launch_server --model-path org/name --host {host} --port {port} --enable-metrics"
            " --served-model-name demo --tp-size {gpus_per_node} --pp-size {nodes}"
        ),
        "--nnodes {nodes} --node-rank {node_rank} --dist-init-addr {leader}:20000",
        "",
        None,
        "",
    ),
]


def words(*parts: str) -> tuple[str, ...]:
    return tuple(word for part in parts for word in shlex.split(part))


@pytest.mark.parametrize(("made", "begins", "group", "worker", "ray", "ends"), OVER_NODES)
def test_commands_over_several_nodes(
    made: EnginePlan, begins: str, group: str, worker: str, ray: str | None, ends: str
) -> None:
    assert made.over_nodes.leader == words(begins, group, ends)
    assert made.over_nodes.worker == words(begins, group, worker, ends)
    assert made.over_nodes.ray == (() if ray is None else words(begins, ray, ends))


@pytest.mark.parametrize(("way", "ray", "group"), [("ray", True, False), ("group", False, True), (None, False, False)])
def test_a_server_of_ones_own_runs_over_nodes_as_it_says(way: str | None, ray: bool, group: bool) -> None:
    command = ["./serve", "--of", "{nodes}x{gpus_per_node}", "--rank", "{node_rank}", "--at", "{leader}"]
    configuration = {"command": command, **({"multi_node": way} if way else {})}
    made = planned("custom", "", gpu_per_replica=4, configuration=configuration)
    assert made.over_nodes.ray == (tuple(command) if ray else ())
    assert made.over_nodes.leader == made.over_nodes.worker == (tuple(command) if group else ())
    alone = ("./serve", "--of", "1x4", "--rank", "0", "--at", "{host}")
    assert made.command == (alone if way else tuple(command))


@pytest.mark.parametrize("engine", [name for name in ENGINE_NAMES if name not in {"vllm", "sglang", "custom"}])
def test_other_engines_run_on_one_node(engine: str) -> None:
    model = {"llamacpp": "/m.gguf", "ollama": "llama3", "triton": "/models"}.get(engine, "org/name")
    made = planned(engine, model, gpu_per_replica=8)
    assert (made.over_nodes.ray, made.over_nodes.leader, made.over_nodes.worker) == ((), (), ())


def test_a_model_is_split_over_no_more_gpus_than_there_are() -> None:
    configuration = {"tensor_parallel_size": 4.0, "pipeline_parallel_size": 4.0}
    with pytest.raises(EngineConfigurationError, match="more GPUs than gpu_per_replica = 8"):
        planned("vllm", "org/name", gpu_per_replica=8, configuration=configuration)
    made = planned("vllm", "org/name", gpu_per_replica=8, configuration={"pipeline_parallel_size": 2.0})
    assert made.command[-4:] == ("--tensor-parallel-size", "4", "--pipeline-parallel-size", "2")
