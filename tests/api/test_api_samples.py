"""A sample request for every REST endpoint, as it is sent with curl, and what must come back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from tests.support.caller import Caller
from tests.support.faces import face_of
from tests.support.gateway import Api, eventually, running_gateway
from tests.support.protos import bindings, methods

GIVEN = "<something>"
"""Stands for any value that is not empty."""
MODEL = "meta-llama%2FLlama-3-8B"
LLAMA = {
    "model_name": "meta-llama/Llama-3-8B",
    "model_version": "v2",
    "backend": "vllm",
    "artifact_uri": "meta-llama/Llama-3-8B-Instruct",
    "config_json": {"max_model_len": 8192},
}
POOL = {
    "pool_name": "my-pool",
    "owner_type": "user",
    "owner_id": "ann",
    "provider": "nosana",
    "allowed_gpu_types": ["RTX 4090"],
    "max_cost_per_hour": 5.0,
    "scheduling_policy_json": "{}",
}
DEPLOY = {
    "model_name": "meta-llama/Llama-3-8B",
    "model_version": "v1",
    "replicas": 1,
    "gpu_per_replica": 1,
    "pool_id": "{market}",
    "workload_type": "inference",
    "engine": "vllm",
    "configuration": {"max_model_len": 4096},
    "owner_id": "ann",
    "org_id": "acme",
    "inference_model": "meta-llama/Llama-3-8B-Instruct",
}
NODE = {"provider": "nosana", "provider_instance_id": "job-2", "pool_id": "{market}", "gpu_type": "RTX 4090"}
BEAT = {
    "provider": "nosana",
    "provider_instance_id": "job-1",
    "gpu_allocated": 1,
    "vcpu_allocated": 4,
    "ram_gb_allocated": 16,
    "health_score": 100,
    "state": "READY",
    "expose_url": "https://job-1.example.org",
}
CREATED = {"pool_id": GIVEN, "status": "CREATED"}
DELETED_POOL = {"pool_id": "{spare}", "status": "DELETED"}
ALIVE = {"status": "ok", "node_id": "{node}", "interval_seconds": GIVEN}
REGISTERED = {"node_id": GIVEN, "status": "REGISTERED"}
THIS_MODEL = {"model_id": "{model}", "model_name": "meta-llama/Llama-3-8B", "model_version": "v1", "backend": "vllm"}
DELETED_MODEL = {"model_id": "{model}", "status": "DELETED"}
DEPLOYING = {"deployment_id": GIVEN, "status": "DEPLOYING"}
STATUS = {"deployment_id": "{live}", "status": "RUNNING", "conditions": GIVEN, "error_message": ""}
UPDATED = {"deployment_id": "{live}", "labels": {"team": "search"}}
SCALED = {"deployment_id": "{live}", "status": "RUNNING", "replicas": 0}
STARTED = {"deployment_id": "{stopped}", "status": "DEPLOYING"}
TERMINATED = {"deployment_id": "{live}", "status": "STOPPED"}
PURGED = {"deployment_id": "{stopped}", "status": "DELETED"}
LOGS: dict[str, Any] = {"deployment_id": "{live}", "logs": [], "next_page_token": ""}
STREAM = {
    "ws_url": "ws://{address}/deployment/logs/{live}/tail",
    "sse_url": "http://{address}/deployment/logs/{live}/tail",
    "supported": True,
    "provider": "local",
    "subscription": {"deployment_id": "{live}", "cursor": ""},
}
THIS = {"deployment_id": "{live}"}
ONE = {"total_size": 1, "next_page_token": ""}


class Sample(NamedTuple):
    """A request and its answer; ``{name}`` is an id of what the gateway holds."""

    method: str
    path: str
    body: Any
    expected: dict[str, Any]
    status: int = 200


SAMPLES = [
    Sample("POST", "/deployment/createpool", POOL, CREATED),
    Sample("GET", "/deployment/pool/{pool}", None, {"pool_id": "{pool}", "pool_name": "gpus", "state": "ACTIVE"}),
    Sample("GET", "/deployment/listPools/ann", None, {"pools": GIVEN, "total_size": 3}),
    Sample("PATCH", "/deployment/updatepool/{pool}", {"max_nodes": 4}, {"pool_id": "{pool}", "max_nodes": 4}),
    Sample("POST", "/deployment/deletepool/{spare}", None, DELETED_POOL),
    Sample("POST", "/deployment/deletepool/{spare}", {}, DELETED_POOL),
    Sample("POST", "/deployment/deletepool/{spare}", {"force": True}, DELETED_POOL),
    Sample("GET", "/deployment/list/pool/{market}/inventory", None, {"pool_id": "{market}", "nodes": GIVEN, **ONE}),
    Sample("POST", "/inventory/register", NODE, REGISTERED),
    Sample("POST", "/inventory/heartbeat", BEAT, ALIVE),
    Sample("GET", "/inventory/nodes/nosana", None, {"nodes": GIVEN, **ONE}),
    Sample("GET", "/inventory/providers", None, {"providers": GIVEN}),
    Sample("GET", "/deployment/provider/resources?provider=local", None, {"resources": GIVEN, "errors": []}),
    Sample("GET", "/deployment/provider/resources?provider=*", None, {"resources": GIVEN, "errors": GIVEN}),
    Sample("GET", "/deployment/provider/resources", None, {}, 503),
    Sample("POST", "/deployment/registerModel", LLAMA, {"model_id": GIVEN, "status": "REGISTERED"}),
    Sample("GET", f"/deployment/getModel/{MODEL}/v1", None, THIS_MODEL),
    Sample("GET", f"/deployment/getModel/{MODEL}/latest", None, THIS_MODEL),
    Sample("GET", f"/deployment/listModels/{MODEL}", None, {"models": GIVEN, **ONE}),
    Sample("DELETE", "/deployment/deleteModel?model_id={model}", None, DELETED_MODEL),
    Sample("DELETE", f"/deployment/deleteModel?model_name={MODEL}&model_version=v1", None, DELETED_MODEL),
    Sample("POST", "/deployment/deploy", DEPLOY, DEPLOYING),
    Sample("GET", "/deployment/status/{live}", None, STATUS),
    Sample("GET", "/deployment/deployments", None, {"deployments": GIVEN, "total_size": 2}),
    Sample("GET", "/deployment/deployments?org_id=acme&status=RUNNING", None, {"deployments": GIVEN, **ONE}),
    Sample("PATCH", "/deployment/update/{live}", {"labels": {"team": "search"}}, UPDATED),
    Sample("POST", "/deployment/scale", {"deployment_id": "{live}", "replicas": 0}, SCALED),
    Sample("POST", "/deployment/start", {"deployment_id": "{stopped}"}, STARTED),
    Sample("POST", "/deployment/terminate", {"deployment_id": "{live}"}, TERMINATED),
    Sample("DELETE", "/deployment/delete/{stopped}", None, PURGED),
    Sample("GET", "/deployment/logs/{live}?tail=50", None, LOGS),
    Sample("GET", "/deployment/logs/{live}/stream", None, STREAM),
    Sample("GET", "/deployment/events/{live}", None, {**THIS, "events": GIVEN}),
    # The same by the paths of resources.
    Sample("POST", "/v1/pools", POOL, CREATED),
    Sample("GET", "/v1/pools/{pool}", None, {"pool_id": "{pool}"}),
    Sample("GET", "/v1/pools", None, {"total_size": 3}),
    Sample("GET", "/v1/pools?owner_id=bob", None, {"pools": [], "total_size": 0}),
    Sample("PATCH", "/v1/pools/{pool}", {"max_nodes": 4}, {"max_nodes": 4}),
    Sample("DELETE", "/v1/pools/{spare}", None, DELETED_POOL),
    Sample("DELETE", "/v1/pools/{spare}?force=true", None, DELETED_POOL),
    Sample("GET", "/v1/pools/{market}/nodes", None, {"pool_id": "{market}", **ONE}),
    Sample("POST", "/v1/nodes", NODE, REGISTERED),
    Sample("POST", "/v1/nodes:heartbeat", BEAT, ALIVE),
    Sample("GET", "/v1/nodes?provider=nosana", None, {"nodes": GIVEN, **ONE}),
    Sample("GET", "/v1/providers", None, {"providers": GIVEN}),
    Sample("GET", "/v1/resources?provider=local", None, {"resources": GIVEN}),
    Sample("POST", "/v1/models", LLAMA, {"status": "REGISTERED"}),
    Sample("GET", f"/v1/models/{MODEL}/versions/v1", None, THIS_MODEL),
    Sample("GET", "/v1/models", None, {"models": GIVEN, **ONE}),
    Sample("DELETE", f"/v1/models/{MODEL}/versions/v1", None, DELETED_MODEL),
    Sample("POST", "/v1/deployments", DEPLOY, DEPLOYING),
    Sample("GET", "/v1/deployments/{live}", None, STATUS),
    Sample("GET", "/v1/deployments", None, {"total_size": 2}),
    Sample("PATCH", "/v1/deployments/{live}", {"labels": {"team": "search"}}, UPDATED),
    Sample("POST", "/v1/deployments/{live}:scale", {"replicas": 0}, SCALED),
    Sample("POST", "/v1/deployments/{stopped}:start", {}, STARTED),
    Sample("POST", "/v1/deployments/{live}:terminate", {}, TERMINATED),
    Sample("DELETE", "/v1/deployments/{stopped}", None, PURGED),
    Sample("GET", "/v1/deployments/{live}/logs", None, LOGS),
    Sample("GET", "/v1/deployments/{live}/events", None, {**THIS, "events": GIVEN}),
]
STREAMS = {
    "/deployment/logs/{live}/tail?follow=false",
    "/v1/deployments/{live}/logs:tail?follow=false",
    "/deployment/watch",
    "/v1/deployments:watch",
    "/inventory/heartbeats",
}
"""Paths of streams, which have tests of their own below."""


class World(NamedTuple):
    """A gateway and the ids of what it holds; nothing in it runs."""

    gateway: Api
    ids: dict[str, str]

    def fill(self, template: Any) -> Any:
        """The template with ids in place of their names."""
        if isinstance(template, str):
            return re.sub(r"\{(\w+)\}", lambda name: self.ids[name[1]], template)
        if isinstance(template, dict):
            fields = cast("dict[str, Any]", template)
            return {key: self.fill(value) for key, value in fields.items()}
        return template


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Pools, a node, a model and two deployments, one of them stopped."""
    async with running_gateway(tmp_path) as gateway:
        caller = Caller(face_of("rest", gateway), gateway)
        pool = await caller.make_pool("gpus")
        live, stopped = [await caller.deploy(pool, replicas=0, org_id="acme") for _ in range(2)]
        await caller.reach(live, "RUNNING")
        await caller.terminate(stopped)
        market = await caller.make_pool("market", provider="nosana")
        node = await caller.call("Heartbeat", **BEAT, pool_id=market)
        ids = {
            "address": gateway.rest.base.removeprefix("http://"),
            "pool": pool,
            "market": market,
            "spare": await caller.make_pool("spare"),
            "node": node["node_id"],
            "model": await caller.make_model("meta-llama/Llama-3-8B", "v1"),
            "live": live,
            "stopped": stopped,
        }
        yield World(gateway, ids)


def check(answer: Any, expected: dict[str, Any]) -> None:
    """Every expected field is there and has its value."""
    for name, value in expected.items():
        if value == GIVEN:
            assert answer[name], f"{name} is empty in {answer}"
        else:
            assert answer[name] == value, name


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.method} {sample.path}")
async def test_a_sample(world: World, sample: Sample) -> None:
    body = world.fill(sample.body)
    status, answer = await world.gateway.rest.call(sample.method, world.fill(sample.path), body)
    assert status == sample.status, answer
    check(answer, world.fill(sample.expected))


def test_there_is_a_sample_for_every_path() -> None:
    sent = {(sample.method, sample.path) for sample in SAMPLES} | {("GET", path) for path in STREAMS}
    missing = [
        f"{binding.verb} {binding.path}"
        for method in methods()
        for binding in bindings(method)
        if not any(verb == binding.verb and _fits(binding.path, path) for verb, path in sent)
    ]
    assert missing == []


def _fits(template: str, path: str) -> bool:
    pattern = "".join(
        "[^/:]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", template)
    )
    return re.fullmatch(pattern, path.partition("?")[0]) is not None


@pytest.mark.parametrize("path", ["/deployment/watch", "/v1/deployments:watch"])
async def test_a_watch_as_lines(world: World, path: str) -> None:
    session = world.gateway.rest.session
    async with session.get(world.gateway.rest.base + path) as answer:
        assert answer.status == 200
        line = await answer.content.readline()
    assert b'"ADDED"' in line
    assert world.ids["live"].encode() in line


@pytest.mark.parametrize("path", ["/deployment/logs/{live}/tail", "/v1/deployments/{live}/logs:tail"])
async def test_a_tail_of_nothing_ends_when_it_is_not_followed(world: World, path: str) -> None:
    session = world.gateway.rest.session
    async with session.get(world.gateway.rest.base + world.fill(path) + "?follow=false") as answer:
        assert (answer.status, (await answer.read()).strip()) == (200, b"")


async def test_heartbeats_over_a_websocket(world: World) -> None:
    async with world.gateway.rest.session.ws_connect(world.gateway.rest.base + "/inventory/heartbeats") as socket:
        await socket.send_json(BEAT)
        check((await socket.receive_json(timeout=30))["result"], world.fill(ALIVE))


async def test_the_samples_as_one_session(gateway: Api) -> None:
    """A pool at a marketplace that is not configured: everything is accepted, and the status says what is missing."""
    rest = gateway.rest
    pool_id = (await rest.ok("POST", "/deployment/createpool", POOL))["pool_id"]
    await rest.ok("POST", "/deployment/registerModel", LLAMA)
    request = {**DEPLOY, "pool_id": pool_id, "model_version": "v2"}
    accepted = await rest.ok("POST", "/deployment/deploy", request)
    deployment_id = accepted["deployment_id"]

    async def explained() -> dict[str, Any] | None:
        found = await gateway.status(deployment_id)
        return found if found["error_message"] else None

    found = await eventually(explained, within_s=30)
    assert "provider nosana is not configured on this gateway" in found["error_message"]
    assert "provider nosana is not configured" in " ".join(item["message"] for item in found["conditions"])
    this = {"deployment_id": deployment_id}
    assert (await rest.ok("POST", "/deployment/terminate", this))["status"] in {"TERMINATING", "STOPPED"}
    await gateway.reach(deployment_id, "STOPPED")
    assert await rest.ok("POST", "/deployment/start", this) == {**this, "status": "DEPLOYING"}
    await rest.ok("POST", "/deployment/terminate", this)
    await gateway.reach(deployment_id, "STOPPED")
    assert await rest.ok("DELETE", f"/deployment/delete/{deployment_id}") == {**this, "status": "DELETED"}
    assert (await rest.ok("POST", f"/deployment/deletepool/{pool_id}", {}))["status"] == "DELETED"
