"""Updates to another registered version: what the caller chose stays, and the rest follows the version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.caller import Caller
from tests.support.gateway import tiny


async def _deploy(api: Caller, **fields: Any) -> str:
    """A deployment of the registered model, of which nothing runs."""
    request = {"model_name": "llama", "pool_id": await api.make_pool(), "replicas": 0, "gpu_per_replica": 0, **fields}
    return str((await api.call("DeployModel", **request))["deployment_id"])


async def _versions(api: Caller) -> None:
    await api.make_model("llama", "1", backend="vllm", artifact_uri="org/one", config_json={"max_model_len": 1024})
    await api.make_model("llama", "2", backend="sglang", artifact_uri="org/two", config_json={"context_length": 2048})


async def _update(api: Caller, deployment_id: str, **fields: Any) -> dict[str, Any]:
    return await api.call("UpdateDeployment", deployment_id=deployment_id, **fields)


@pytest.mark.parametrize("version", ["2", "latest"])
async def test_what_the_caller_did_not_choose_follows_the_new_version(api: Caller, version: str) -> None:
    await _versions(api)
    deployment_id = await _deploy(api, model_version="1", configuration={"startup_timeout_seconds": 99})
    after = await _update(api, deployment_id, model_version=version)
    assert (after["generation"], after["model_version"]) == (2, "2")
    assert (after["engine"], after["inference_model"]) == ("sglang", "org/two")
    assert after["configuration"] == {"context_length": 2048, "startup_timeout_seconds": 99}
    same = await _update(api, deployment_id, model_version=version)
    assert (same["generation"], same["etag"]) == (2, after["etag"]), "nothing changed"


async def test_what_the_caller_chose_survives_a_new_version_until_it_is_cleared(api: Caller) -> None:
    await _versions(api)
    deployment_id = await _deploy(api, model_version="1", engine="vllm", inference_model="org/mine")
    after = await _update(api, deployment_id, model_version="2")
    assert (after["model_version"], after["engine"], after["inference_model"]) == ("2", "vllm", "org/mine")
    assert after["configuration"] == {}, "defaults of a version belong to its own engine"
    cleared = await _update(api, deployment_id, update_mask="engine,inferenceModel")
    assert (cleared["engine"], cleared["inference_model"]) == ("sglang", "org/two")
    assert (cleared["generation"], cleared["configuration"]) == (3, {"context_length": 2048})
    chosen = await _update(api, deployment_id, engine="vllm", inference_model="org/other")
    back = await _update(api, deployment_id, model_version="1")
    assert (back["engine"], back["inference_model"]) == (chosen["engine"], "org/other")


async def test_keys_that_the_new_version_s_engine_does_not_know_are_refused(api: Caller) -> None:
    await _versions(api)
    deployment_id = await _deploy(api, model_version="1", configuration={"max_model_len": 512})
    wrong = {"deployment_id": deployment_id, "model_version": "2"}
    error = await api.refused("INVALID_ARGUMENT", "INVALID_CONFIGURATION", "UpdateDeployment", **wrong)
    assert "configuration.max_model_len" in error.violations
    assert (await api.status(deployment_id))["model_version"] == "1"


async def test_a_version_registered_again_is_picked_up_by_an_update_that_names_it(api: Caller) -> None:
    await _versions(api)
    deployment_id = await _deploy(api, model_version="1")
    await api.terminate(deployment_id)
    await api.call("DeleteModel", model_name="llama", model_version="1")
    await api.refused(
        "NOT_FOUND", "MODEL_NOT_FOUND", "UpdateDeployment", deployment_id=deployment_id, configuration={"port": 8000}
    )
    await api.make_model("llama", "1", backend="vllm", artifact_uri="org/one", config_json={"max_model_len": 4096})
    after = await _update(api, deployment_id, model_version="1")
    assert (after["generation"], after["configuration"]) == (2, {"max_model_len": 4096})


async def test_a_model_that_is_registered_later_is_used_only_when_an_update_names_it(api: Caller) -> None:
    deployment_id = await _deploy(api, engine="vllm", inference_model="org/mine")
    await _versions(api)
    after = await _update(api, deployment_id, configuration={"port": 8000})
    assert (after["model_version"], after["configuration"]) == ("", {"port": 8000})
    named = await _update(api, deployment_id, model_version="1")
    assert (named["model_version"], named["inference_model"]) == ("1", "org/mine")
    assert named["configuration"] == {"max_model_len": 1024, "port": 8000}


async def test_a_version_that_an_update_may_be_rolled_back_to_is_kept(api: Caller) -> None:
    for version in ("1", "2"):
        await api.make_model("tiny", version, backend="custom", artifact_uri=f"org/tiny-{version}")
    request = tiny(await api.make_pool(), model_version="1", update_strategy={"max_surge": 1, "max_unavailable": 0})
    del request["inference_model"]
    deployment_id = str((await api.call("DeployModel", **request))["deployment_id"])
    await api.reach(deployment_id, "RUNNING")
    command = tiny("", "--never-ready")["configuration"]
    await _update(api, deployment_id, model_version="2", configuration=command)
    named = {"model_name": "tiny", "model_version": "1"}
    await api.refused("FAILED_PRECONDITION", "MODEL_IN_USE", "DeleteModel", **named)
    await _update(api, deployment_id, configuration=request["configuration"])
    await api.reach(deployment_id, "RUNNING")
    assert (await api.call("DeleteModel", **named))["status"] == "DELETED"
    await api.terminate(deployment_id)
