"""The quick check of requests says yes only where the validator finds nothing."""

from __future__ import annotations

from typing import Any, cast

import protovalidate
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.service.rpc.acceptance import accepts
from orchestration.service.rpc.texts import nul_violations
from orchestration.v1 import compute_pools_pb2 as pools
from orchestration.v1 import model_deployments_pb2 as deployments
from orchestration.v1 import model_registry_pb2 as models
from tests.support.proto_strategies import messages
from tests.support.protos import methods

_validator = protovalidate.Validator()
_ID = "0198f000-0000-7000-8000-000000000000"
_LEFT = {"DeployModelRequest", "UpdateDeploymentRequest", "RegisterPoolRequest", "RegisterModelRequest"} | {
    "DeleteModelRequest"
}
"""Requests with a rule of a kind that is left to the validator: patterns, durations, CEL."""
REQUESTS = list({method.input_type.full_name: method.input_type for method in methods()}.values())


def keeps_all(message: Any) -> bool:
    return not _validator.collect_violations(message) and not nul_violations(message)


@pytest.mark.parametrize("descriptor", REQUESTS, ids=lambda found: found.name)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(data=st.data())
def test_what_is_accepted_keeps_its_rules(descriptor: Any, data: st.DataObject) -> None:
    message = data.draw(messages(descriptor))
    assert not accepts(message) or keeps_all(message)


_HEARTBEAT: dict[str, Any] = {"provider": "agents", "provider_instance_id": "node-1"}
GOOD = [
    pools.HeartbeatRequest(**_HEARTBEAT),
    pools.HeartbeatRequest(**_HEARTBEAT, gpu_allocated=1024, health_score=100, vcpu_allocated=0, sequence=0),
    pools.HeartbeatRequest(**_HEARTBEAT, state="x" * 32, telemetry={"k" * 128: -1e308, "load": 0}),
    pools.ListNodesRequest(provider="agents"),
    deployments.GetDeploymentRequest(deployment_id="x" * 128),
    deployments.ScaleDeploymentRequest(deployment_id=_ID, replicas=0),
    deployments.ListDeploymentsRequest(status=deployments.Deployment.Status.RUNNING, page_size=50),
    models.GetModelRequest(model_name="llama", model_version="v1"),
]


@pytest.mark.parametrize("message", GOOD, ids=lambda found: f"{found.DESCRIPTOR.name}-{len(str(found))}")
def test_what_callers_send_all_day_is_accepted(message: Any) -> None:
    assert keeps_all(message)
    assert accepts(message)


BAD = [
    pools.HeartbeatRequest(),
    pools.HeartbeatRequest(provider="agents"),
    pools.HeartbeatRequest(provider="p" * 64, provider_instance_id="n"),
    pools.HeartbeatRequest(**_HEARTBEAT, gpu_allocated=-1),
    pools.HeartbeatRequest(**_HEARTBEAT, gpu_allocated=1025),
    pools.HeartbeatRequest(**_HEARTBEAT, health_score=100.5),
    pools.HeartbeatRequest(**_HEARTBEAT, health_score=float("nan")),
    pools.HeartbeatRequest(**_HEARTBEAT, vcpu_allocated=float("inf")),
    pools.HeartbeatRequest(**_HEARTBEAT, vcpu_allocated=float("nan")),
    pools.HeartbeatRequest(**_HEARTBEAT, state="x" * 33),
    pools.HeartbeatRequest(**_HEARTBEAT, state="a\0b"),
    pools.HeartbeatRequest(**_HEARTBEAT, telemetry={"": 1.0}),
    pools.HeartbeatRequest(**_HEARTBEAT, telemetry={"k" * 129: 1.0}),
    pools.HeartbeatRequest(**_HEARTBEAT, telemetry={"k\0": 1.0}),
    pools.HeartbeatRequest(**_HEARTBEAT, telemetry={"k": float("-inf")}),
    pools.HeartbeatRequest(**_HEARTBEAT, telemetry={str(number): 0.0 for number in range(257)}),
    deployments.GetDeploymentRequest(),
    deployments.GetDeploymentRequest(deployment_id="x" * 129),
    deployments.ScaleDeploymentRequest(deployment_id=_ID),
    deployments.ScaleDeploymentRequest(deployment_id=_ID, replicas=-1),
    deployments.ListDeploymentsRequest(status=cast("Any", 999)),
]


@pytest.mark.parametrize("message", BAD, ids=lambda found: f"{found.DESCRIPTOR.name}-{len(str(found))}")
def test_what_breaks_a_rule_is_not_accepted(message: Any) -> None:
    assert not keeps_all(message)
    assert not accepts(message)


@pytest.mark.parametrize("descriptor", REQUESTS, ids=lambda found: found.name)
def test_a_request_with_a_rule_that_is_not_understood_is_left_to_the_validator(descriptor: Any) -> None:
    """Which those are is written down, so that a new rule that makes a busy request slow is noticed."""
    good = {
        "deployment_id": _ID,
        "pool_id": _ID,
        "node_id": _ID,
        "replicas": 1,
        "provider": "agents",
        "provider_instance_id": "node-1",
        "model_name": "llama",
        "model_version": "v1",
    }
    fields = descriptor.fields_by_name
    message = GetMessageClass(descriptor)(**{name: value for name, value in good.items() if name in fields})
    assert accepts(message) is (descriptor.name not in _LEFT)
