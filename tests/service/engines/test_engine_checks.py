"""Everything wrong with a request is named, all at once, and nothing unknown is ever taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.service.engines.base import EngineConfigurationError, EngineRequest
from orchestration.service.engines.common_keys import COMMON_KEYS
from orchestration.service.engines.keys import Key, KeyValueError, Kind
from orchestration.service.engines.table import ENGINE_NAMES, get_engine, plan

MODELS = {"triton": "/models/x", "custom": ""}


def issues(engine: str, configuration: dict[str, object], **given: Any) -> dict[str, str]:
    request: dict[str, Any] = {
        "model": MODELS.get(engine, "org/name"),
        "model_name": "demo",
        "workload_type": get_engine(engine).workload_types[0],
        "gpu_per_replica": 1,
        "env": {},
        **given,
    }
    if engine == "custom":
        configuration = {"command": ["serve"], **configuration}
    try:
        plan(EngineRequest(engine=engine, configuration=configuration, **request))
    except EngineConfigurationError as error:
        return {issue.field.removeprefix("configuration."): issue.description for issue in error.issues}
    return {}


VALUES: list[tuple[str, str, object, str]] = [
    ("vllm", "port", 80.5, "got 80.5, wants a whole number from 1 to 65535"),
    ("vllm", "port", 0.0, "got 0, wants a whole number from 1 to 65535"),
    ("vllm", "port", True, "got true, wants a whole number from 1 to 65535"),
    ("vllm", "port", "8000", 'got "8000", wants a whole number from 1 to 65535'),
    ("vllm", "port", None, "got null, wants a whole number from 1 to 65535"),
    ("vllm", "port", float("nan"), "got NaN, wants a whole number from 1 to 65535"),
    ("vllm", "max_model_len", 1e300, "and nothing beyond 9007199254740992"),
    ("vllm", "gpu_memory_utilization", 0.0, "got 0, wants a number above 0, at most 1"),
    ("vllm", "gpu_memory_utilization", 1.5, "got 1.5, wants a number above 0, at most 1"),
    ("vllm", "enforce_eager", "yes", 'got "yes", wants true or false'),
    ("vllm", "enforce_eager", 1.0, "got 1, wants true or false"),
    ("vllm", "dtype", "int4", 'got "int4", wants one of auto, half, float16, bfloat16, float, float32'),
    ("vllm", "quantization", "", 'got "", wants a string that is not empty'),
    ("vllm", "tokenizer", "a\0b", "holds a NUL character, which no command line can"),
    ("vllm", "args", ["--seed", 1.0], 'got ["--seed", 1.0], wants a list of strings'),
    ("vllm", "args", "--seed 1", 'got "--seed 1", wants a list of strings'),
    ("vllm", "env", {"A": 1.0}, 'got {"A": 1.0}, wants an object whose values are strings'),
    ("vllm", "startup_timeout_seconds", 0.0, "got 0, wants a number above 0, at most 86400"),
    ("vllm", "startup_timeout_seconds", 86401.0, "got 86401, wants a number above 0, at most 86400"),
    ("vllm", "health_path", "health", 'got "health", wants a path that begins with "/", or an empty string'),
    ("vllm", "command", [], "is empty; its first word is the program to run, so leave it out or name one"),
    ("custom", "command", [" "], "is empty; its first word is the program to run, so leave it out or name one"),
    ("vllm", "tensor_parallel_size", 2.0, "got 2, but a replica has gpu_per_replica = 1; it can be no more"),
    ("tgi", "num_shard", 8.0, "got 8, but a replica has gpu_per_replica = 1; it can be no more"),
    (
        "triton",
        "model_repository",
        "models",
        "got 'models', wants s3://bucket/key, gs://bucket/key, file:///path or /path",
    ),
    (
        "triton",
        "model_repository",
        "./models",
        "'./models' is a relative path; give the absolute one, such as /models/models",
    ),
    ("ollama", "args", ["--debug"], "engine ollama takes no arguments; use its keys, or env"),
]


@pytest.mark.parametrize(
    ("engine", "key", "value", "wanted"), VALUES, ids=[f"{v[0]}-{v[1]}-{v[2]!r}"[:50] for v in VALUES]
)
def test_value_is_refused_with_what_was_got_and_what_would_be_right(
    engine: str, key: str, value: object, wanted: str
) -> None:
    found = issues(engine, {key: value})
    assert wanted in found.get(key, "")
    assert set(found) == {key}


def test_unknown_key_is_named_with_a_close_match_and_the_list() -> None:
    text = issues("vllm", {"max-model-length": 1.0})["max-model-length"]
    assert text.startswith("is no key of engine vllm; did you mean max_model_len? its keys are served_model_name, ")
    assert text.endswith("startup_timeout_seconds, stop_grace_seconds, env")


def test_every_issue_is_named_at_once() -> None:
    found = issues(
        "tei", {"port": 0.0, "nope": 1.0}, workload_type="inference", model="./x", env={"PORT": "1", "1A": ""}
    )
    assert set(found) == {"port", "nope", "workload_type", "inference_model", "env.PORT", "env.1A"}
    assert found["workload_type"] == "got 'inference', but engine tei serves embedding"


def test_flags_that_the_row_sets_are_refused_in_args() -> None:
    found = issues("vllm", {"args": ["--seed", "1", "--port=9", "--host", "::"]})
    assert found == {
        "args[2]": "--port is set from the deployment; leave it out, and use configuration.port",
        "args[3]": "--host is set from the deployment; leave it out",
    }


@pytest.mark.parametrize(
    ("engine", "model", "wanted"),
    [
        ("vllm", "", "is empty; give one of org/name, "),
        ("vllm", "ollama://llama3.2", "engine vllm cannot load 'ollama://llama3.2' (ollama); it loads org/name, hf://"),
        ("vllm", "org/name:Q4", "engine vllm knows no tags; leave out :Q4"),
        (
            "tei",
            "s3://bucket/key",
            "engine tei cannot load 's3://bucket/key' (s3); it loads org/name, hf://org/name, file",
        ),
        ("ollama", "/models/a.gguf", "engine ollama cannot load '/models/a.gguf' (path)"),
        ("triton", "org/name", "engine triton cannot load 'org/name' (hub id)"),
        ("llamacpp", "gpt2", "wants org/name or org/name:quant"),
    ],
)
def test_model_that_the_engine_cannot_load(engine: str, model: str, wanted: str) -> None:
    found = issues(engine, {}, model=model)
    assert set(found) == {"inference_model"}
    assert wanted in found["inference_model"]


def test_rules_of_single_engines() -> None:
    with pytest.raises(EngineConfigurationError, match=r"configuration\.command: is needed for engine custom"):
        plan(
            EngineRequest(
                engine="custom",
                model="",
                model_name="demo",
                workload_type="inference",
                gpu_per_replica=0,
                configuration={},
                env={},
            )
        )
    assert "embeddings" in issues("llamacpp", {"embeddings": False}, workload_type="embedding")
    assert "must differ" in issues("triton", {"port": 8001.0, "grpc_port": 8001.0})["configuration"]
    assert "OLLAMA_HOST" in str(issues("ollama", {"env": {"OLLAMA_HOST": "x"}}))
    assert "model_name" in issues("ollama", {}, model_name="two words")


KINDS: dict[Kind, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "string": str,
    "strings": tuple,
    "variables": dict,
}
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(engine=st.sampled_from(ENGINE_NAMES), name=st.text(max_size=25), value=json_values)
def test_no_unknown_key_is_ever_accepted(engine: str, name: str, value: object) -> None:
    known = {key.name for key in (*COMMON_KEYS, *get_engine(engine).keys)}
    if name not in known:
        assert name in issues(engine, {name: value})


@given(
    key=st.sampled_from([key for name in ENGINE_NAMES for key in (*get_engine(name).keys, *COMMON_KEYS)]),
    value=json_values,
)
def test_a_key_takes_a_value_of_its_kind_or_says_what_it_wants(key: Key, value: object) -> None:
    try:
        taken = key.check(value)
    except KeyValueError as error:
        refusal = str(error)
    else:
        assert isinstance(taken, KINDS[key.kind])
        assert all(isinstance(word, str) for word in key.to_arguments(taken))
        return
    assert "wants" in refusal or "NUL" in refusal
