"""Text that no request may hold, wherever in it."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from orchestration.service.errors import InvalidArgumentError
from orchestration.service.rpc.validation import check
from orchestration.v1 import compute_pools_pb2 as pools
from orchestration.v1 import model_deployments_pb2 as deployments

NUL = "a\0b"


def deploy(**fields: object) -> Message:
    plain: dict[str, object] = {"pool_id": "p", "model_name": "m", "inference_model": "i", "org_id": "o", "replicas": 1}
    return ParseDict(plain | fields, deployments.DeployModelRequest())


def refused(message: Message) -> list[str]:
    try:
        check(message)
    except InvalidArgumentError as error:
        return [violation.field for violation in error.violations if "NUL" in violation.description]
    return []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"request_id": NUL}, "request_id"),
        ({"inference_model": NUL}, "inference_model"),
        ({"org_id": "\0"}, "org_id"),
        ({"fallback_pool_ids": ["x", NUL]}, "fallback_pool_ids[1]"),
        ({"labels": {"team": NUL}}, "labels['team']"),
        ({"labels": {NUL: "x"}}, "labels['a\\x00b']"),
        ({"configuration": {"port": NUL}}, "configuration['port']"),
        ({"configuration": {"deep": {"list": [1, {"x": NUL}]}}}, "configuration['deep']['list'][1]['x']"),
    ],
)
def test_a_nul_is_refused_by_the_name_of_its_field(fields: dict[str, object], path: str) -> None:
    assert refused(deploy(**fields)) == [path]


def test_other_text_is_not() -> None:
    fields = {"labels": {"team": "é\t\n"}, "configuration": {"a": None, "b": [1.5, True, "x"]}}
    assert refused(deploy(**fields)) == []
    assert refused(pools.HeartbeatRequest(provider="local", telemetry={"load": 0.0}, sequence=0)) == []
