"""The model registry."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.gateway import tiny

MODEL = {
    "model_name": "llama",
    "model_version": "1",
    "backend": "vllm",
    "artifact_uri": "meta-llama/Llama-3-8B-Instruct",
}


async def test_a_version_is_given_back_as_it_was_registered(api: Caller) -> None:
    given = {
        **MODEL,
        "config_json": {"max_model_len": 4096, "nested": {"on": True, "list": [1, "a", None]}},
        "artifact_digest": "sha256:0123",
        "labels": {"team": "search"},
    }
    answer = await api.call("RegisterModel", **given)
    assert answer["status"] == "REGISTERED"
    model = answer["model"]
    assert {name: model[name] for name in given} == given
    assert model["model_id"] == answer["model_id"]
    assert await api.call("GetModel", model_name="llama", model_version="1") == model
    assert (await api.call("ListModels", model_name="llama"))["models"] == [model]


async def test_a_name_may_hold_slashes(api: Caller) -> None:
    name = "meta-llama/Llama 3/é?#%"
    model_id = await api.make_model(name, "v1/rc 2")
    assert (await api.call("GetModel", model_name=name, model_version="v1/rc 2"))["model_id"] == model_id
    assert (await api.call("ListModels", model_name=name))["total_size"] == 1


async def test_latest_is_the_newest_registered(api: Caller) -> None:
    for version in ("2", "10", "1"):
        await api.make_model("llama", version)
    assert (await api.call("GetModel", model_name="llama", model_version="latest"))["model_version"] == "1"
    listed = (await api.call("ListModels", model_name="llama"))["models"]
    assert [model["model_version"] for model in listed] == ["1", "10", "2"]


async def test_the_same_again_gives_the_same(api: Caller) -> None:
    first = await api.call("RegisterModel", **MODEL, labels={"a": "1", "b": "2"})
    assert await api.call("RegisterModel", **MODEL, labels={"b": "2", "a": "1"}) == first
    assert (await api.call("ListModels", model_name="llama"))["total_size"] == 1


CHANGES: list[dict[str, Any]] = [
    {"backend": "sglang"},
    {"artifact_uri": "meta-llama/Other"},
    {"config_json": {"max_model_len": 1}},
    {"artifact_digest": "sha256:1"},
    {"labels": {"a": "1"}},
]


async def test_a_registered_version_never_changes(api: Caller) -> None:
    before = (await api.call("RegisterModel", **MODEL))["model"]
    for change in CHANGES:
        error = await api.refused("ALREADY_EXISTS", "MODEL_VERSION_EXISTS", "RegisterModel", **{**MODEL, **change})
        assert next(iter(change)) in error.message
    assert await api.call("GetModel", model_name="llama", model_version="1") == before


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"model_name": ""}, "model_name", "1 character"),
    ({"model_version": ""}, "model_version", "1 character"),
    ({"model_version": "latest"}, "model_version", "latest"),
    ({"backend": ""}, "backend", "1 character"),
    ({"artifact_uri": ""}, "artifact_uri", "1 character"),
    ({"artifact_uri": "ftp://host/model"}, "artifact_uri", "s3://"),
    ({"artifact_uri": "not a model"}, "artifact_uri", "not a model"),
]


async def test_a_wrong_field_is_named(api: Caller) -> None:
    for change, field, says in WRONG:
        assert says in await api.invalid(field, "RegisterModel", **{**MODEL, **change})


ARTIFACTS = (
    "meta-llama/Llama-3-8B-Instruct",
    "hf://meta-llama/Llama-3-8B-Instruct",
    "s3://bucket/model",
    "gs://bucket/model",
    "https://example.org/model.gguf",
    "oci://registry.example.org/model:1",
    "ollama://llama3:8b",
    "file:///models/llama.gguf",
)


async def test_every_kind_of_artifact_can_be_registered(api: Caller) -> None:
    for number, uri in enumerate(ARTIFACTS):
        given = {**MODEL, "model_version": str(number), "backend": "custom", "artifact_uri": uri}
        assert (await api.call("RegisterModel", **given))["model"]["artifact_uri"] == uri


async def test_an_unknown_engine_is_told_which_there_are(api: Caller) -> None:
    error = await api.refused("INVALID_ARGUMENT", "UNKNOWN_ENGINE", "RegisterModel", **{**MODEL, "backend": "vlm"})
    for name in ("custom", "infinity", "llamacpp", "ollama", "sglang", "tei", "tgi", "triton", "vllm"):
        assert name in error.violations["backend"]


@pytest.mark.parametrize("version", ["2", "latest"])
async def test_an_unknown_model_is_not_found(api: Caller, version: str) -> None:
    await api.make_model("other", "1")
    error = await api.refused("NOT_FOUND", "MODEL_NOT_FOUND", "GetModel", model_name="llama", model_version=version)
    assert "'llama'" in error.message
    assert error.detail("ResourceInfo") is not None


async def test_a_model_is_deleted_by_id_or_by_name(api: Caller) -> None:
    first, second = await api.make_model("a", "1"), await api.make_model("a", "2")
    assert await api.call("DeleteModel", model_id=first) == {"model_id": first, "status": "DELETED"}
    answer = await api.call("DeleteModel", model_name="a", model_version="2")
    assert answer == {"model_id": second, "status": "DELETED"}
    assert (await api.call("ListModels", model_name="a"))["total_size"] == 0
    for named in ({"model_id": first}, {"model_name": "a", "model_version": "2"}):
        await api.refused("NOT_FOUND", "MODEL_NOT_FOUND", "DeleteModel", **named)


AMBIGUOUS: list[dict[str, str]] = [
    {},
    {"model_name": "a"},
    {"model_version": "1"},
    {"model_id": "x", "model_name": "a", "model_version": "1"},
    {"model_id": "x", "model_name": "a"},
]


async def test_a_model_to_delete_is_named_in_one_way(api: Caller) -> None:
    for named in AMBIGUOUS:
        error = await api.refused("INVALID_ARGUMENT", "INVALID_FIELD", "DeleteModel", **named)
        assert "give model_id, or model_name and model_version, but not both" in error.message


async def test_latest_cannot_be_deleted(api: Caller) -> None:
    await api.make_model("a", "1")
    await api.invalid("model_version", "DeleteModel", model_name="a", model_version="latest")


async def test_a_version_in_use_is_kept(api: Caller) -> None:
    model_id = await api.make_model("tiny", "1", backend="custom", artifact_uri="org/tiny")
    request = tiny(await api.make_pool(), model_version="1")
    del request["inference_model"]
    deployment_id = (await api.call("DeployModel", **request))["deployment_id"]
    error = await api.refused("FAILED_PRECONDITION", "MODEL_IN_USE", "DeleteModel", model_id=model_id)
    assert deployment_id in error.message
    await api.terminate(deployment_id)
    assert (await api.call("DeleteModel", model_id=model_id))["status"] == "DELETED"
