"""Each command sends the request that its flags describe."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from orchestration.v1 import compute_pools_pb2 as pools
from orchestration.v1 import model_deployments_pb2 as deployments
from orchestration.v1 import model_registry_pb2 as models
from tests.support.command_line import Run
from tests.support.fake_api import FakeApi

CASES: list[tuple[str, str, Message, Message]] = [
    (
        (
            "pool create p --provider local --owner me --owner-type org --gpu-type a100 --gpu-type h100 --region eu "
            "--max-cost 2.5 --gpu-count 8 --max-nodes 3 --dedicated --request-id k"
        ),
        "RegisterPool",
        pools.RegisterPoolRequest(
            pool_name="p",
            provider="local",
            owner_id="me",
            owner_type="org",
            allowed_gpu_types=["a100", "h100"],
            region_constraint=["eu"],
            max_cost_per_hour=2.5,
            gpu_count=8,
            max_nodes=3,
            is_dedicated=True,
            request_id="k",
        ),
        pools.RegisterPoolResponse(),
    ),
    ("pool get p1", "GetPool", pools.GetPoolRequest(pool_id="p1"), pools.Pool()),
    (
        "pool update p1 --no-active --max-cost 0 --clear region_constraint --etag e",
        "UpdatePool",
        ParseDict(
            {
                "pool_id": "p1",
                "is_active": False,
                "max_cost_per_hour": 0,
                "etag": "e",
                "update_mask": "maxCostPerHour,isActive,regionConstraint",
            },
            pools.UpdatePoolRequest(),
        ),
        pools.Pool(),
    ),
    (
        "pool delete p1 --force",
        "DeletePool",
        pools.DeletePoolRequest(pool_id="p1", force=True),
        pools.DeletePoolResponse(),
    ),
    (
        "pool inventory p1 --all",
        "ListPoolInventory",
        pools.ListPoolInventoryRequest(pool_id="p1", show_terminated=True, page_size=100),
        pools.ListPoolInventoryResponse(),
    ),
    (
        "model register org/m 2 --backend vllm --artifact org/m --label a=b=c --set dtype=half --set max_model_len=512",
        "RegisterModel",
        ParseDict(
            {
                "model_name": "org/m",
                "model_version": "2",
                "backend": "vllm",
                "artifact_uri": "org/m",
                "labels": {"a": "b=c"},
                "config_json": {"dtype": "half", "max_model_len": 512},
            },
            models.RegisterModelRequest(),
        ),
        models.RegisterModelResponse(),
    ),
    ("model get m", "GetModel", models.GetModelRequest(model_name="m", model_version="latest"), models.Model()),
    (
        "model delete m 1",
        "DeleteModel",
        models.DeleteModelRequest(model_name="m", model_version="1"),
        models.DeleteModelResponse(),
    ),
    (
        (
            "deploy m --pool p1 --replicas 0 --gpus 0 --fallback-pool p2 --fallback-pool p3 --env A=1 --label t=x "
            '--configuration {"port":80} --set args=["-v"] --max-unavailable 0'
        ),
        "DeployModel",
        ParseDict(
            {
                "model_name": "m",
                "pool_id": "p1",
                "replicas": 0,
                "gpu_per_replica": 0,
                "fallback_pool_ids": ["p2", "p3"],
                "env": {"A": "1"},
                "labels": {"t": "x"},
                "configuration": {"port": 80, "args": ["-v"]},
                "update_strategy": {"max_unavailable": 0},
            },
            deployments.DeployModelRequest(),
        ),
        deployments.DeployModelResponse(),
    ),
    (
        "deployments list --status running --pool p1",
        "ListDeployments",
        deployments.ListDeploymentsRequest(pool_id="p1", status=deployments.Deployment.Status.RUNNING, page_size=100),
        deployments.ListDeploymentsResponse(),
    ),
    (
        "deployments update d1 --version 2 --clear env",
        "UpdateDeployment",
        ParseDict(
            {"deployment_id": "d1", "model_version": "2", "update_mask": "modelVersion,env"},
            deployments.UpdateDeploymentRequest(),
        ),
        deployments.Deployment(),
    ),
    (
        "deployments scale d1 0",
        "ScaleDeployment",
        deployments.ScaleDeploymentRequest(deployment_id="d1", replicas=0),
        deployments.ScaleDeploymentResponse(),
    ),
    (
        "deployments start d1",
        "StartDeployment",
        deployments.StartDeploymentRequest(deployment_id="d1"),
        deployments.StartDeploymentResponse(),
    ),
    (
        "deployments terminate d1 --etag e",
        "DeleteDeployment",
        deployments.DeleteDeploymentRequest(deployment_id="d1", etag="e"),
        deployments.DeleteDeploymentResponse(),
    ),
    (
        "deployments purge d1",
        "PurgeDeployment",
        deployments.PurgeDeploymentRequest(deployment_id="d1"),
        deployments.PurgeDeploymentResponse(),
    ),
    (
        "deployments events d1 --limit 5",
        "ListDeploymentEvents",
        deployments.ListDeploymentEventsRequest(deployment_id="d1", page_size=5),
        deployments.ListDeploymentEventsResponse(),
    ),
    (
        "logs d1 --tail 0 --replica r1",
        "GetDeploymentLogs",
        deployments.GetDeploymentLogsRequest(deployment_id="d1", tail=0, replica_id="r1"),
        deployments.GetDeploymentLogsResponse(),
    ),
    (
        "nodes register --provider local --instance i --pool p1 --gpus 2 --vcpu 1.5",
        "RegisterNode",
        pools.RegisterNodeRequest(
            provider="local", provider_instance_id="i", pool_id="p1", gpu_total=2, vcpu_total=1.5
        ),
        pools.RegisterNodeResponse(),
    ),
    (
        "nodes heartbeat --provider local --instance i --health 0 --telemetry temp=60.5",
        "Heartbeat",
        pools.HeartbeatRequest(provider="local", provider_instance_id="i", health_score=0, telemetry={"temp": 60.5}),
        pools.HeartbeatResponse(),
    ),
    ("providers", "ListProviders", pools.ListProvidersRequest(), pools.ListProvidersResponse()),
    (
        "resources",
        "ListProviderResources",
        pools.ListProviderResourcesRequest(provider="*", page_size=100),
        pools.ListProviderResourcesResponse(),
    ),
]


@pytest.mark.parametrize(("line", "method", "request_", "reply"), CASES, ids=[case[1] for case in CASES])
async def test_a_command_sends_what_its_flags_say(
    line: str, method: str, request_: Message, reply: Message, api: FakeApi, cli: Run
) -> None:
    api.answers[method] = reply
    result = await cli(*line.split())
    assert (result.code, result.err if method != "GetDeploymentLogs" else "") == (0, "")
    assert api.asked(method) == [request_]


async def test_a_configuration_can_be_in_a_file(tmp_path: Path, api: FakeApi, cli: Run) -> None:
    (tmp_path / "c.json").write_text('{"ctx_size": 512}')
    api.answers["DeployModel"] = deployments.DeployModelResponse()
    result = await cli("deploy", "m", "--pool", "p", "--configuration", f"@{tmp_path}/c.json", "--set", "ctx_size=9")
    assert result.code == 0
    assert dict(api.asked("DeployModel")[0].configuration) == {"ctx_size": 9}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("deploy m --pool p --env A", '--env: expected KEY=VALUE, got "A"'),
        ("deploy m --pool p --label =x", "--label: expected KEY=VALUE"),
        ("deploy m --pool p --configuration [1]", "--configuration: expected a JSON object"),
        ("deploy m --pool p --configuration {", "--configuration: not JSON"),
        ("deploy m --pool p --configuration @/no/such", "--configuration: cannot read /no/such"),
        ("deploy m", "Missing option '--pool'"),
        ("pool update p1", "nothing to change"),
        ("pool update p1 --clear colour", '--clear: no field "colour"; there are pool_name'),
        ("pool update p1 --region eu --clear region_constraint", "region_constraint is also given a value"),
        ("deployments list --status lost", "--status: expected one of DEPLOYING, RUNNING"),
        ("deployments scale d1 -1", "-1"),
        ("nodes heartbeat --provider a --instance b --telemetry x=hot", "--telemetry: expected KEY=NUMBER"),
        ("logs d1 --tail 5001", "less than or equal to 5000"),
        ("pool list --limit 0", "--limit"),
        ("pol list", "pol"),
    ],
)
async def test_wrong_usage_is_told_before_anything_is_sent(line: str, why: str, api: FakeApi, cli: Run) -> None:
    result = await cli(*line.split())
    assert result.code == 2
    assert why in result.err
    assert api.requests == []
