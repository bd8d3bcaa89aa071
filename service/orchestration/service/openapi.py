"""What the OpenAPI document tells of this service beside its protos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from orchestration.gateway import OpenApiConfig
from orchestration.service.engines.table import ENGINE_NAMES
from orchestration.service.usecases.nodes import AGENT_STATES
from orchestration.v1 import compute_pools_pb2 as pools
from orchestration.v1 import model_deployments_pb2 as deployments

_DISTRIBUTION: Final = "orchestration-gateway"
_DESCRIPTION: Final = """\
A control plane for LLM inference on whatever GPUs you can get: models are registered, pools made, and
deployments kept true.

Every method has a path of its own below `/deployment` and `/inventory`, and one in the manner of resources below
`/v1`.
"""
_NO_NUL: Final = r"^[^\u0000]*$"
_NOT_UPDATED: Final = ("deployment_id", "pool_id", "update_mask", "etag", "request_id")
_SPACE: Final = r"[ \t\r\n]*"
_POLICY_KEYS: Final = (
    rf'"strategy"{_SPACE}:{_SPACE}"(?:cheapest|pack|spread)"',
    rf'"spot"{_SPACE}:{_SPACE}"(?:never|prefer)"',
    rf'"fallback_to_on_demand"{_SPACE}:{_SPACE}(?:true|false)',
    rf'"max_replicas_per_node"{_SPACE}:{_SPACE}(?:0|[1-9][0-9]{{0,3}}|10000)',
)
_V1: Final = "orchestration.v1."


def openapi_config(providers: Sequence[str], *, keys: bool = False) -> OpenApiConfig:
    """Title, version, comments and what is known of fields.

    Args:
        providers: Names of the providers that requests may name.
        keys: Whether callers must show one.
    """
    comments = FileDescriptorSet.FromString(files("orchestration.v1").joinpath("descriptors.binpb").read_bytes())
    return OpenApiConfig(
        title="Orchestration Gateway",
        version=version(_DISTRIBUTION),
        description=_DESCRIPTION,
        comments=[comments],
        authentication="required" if keys else "optional",
        idempotency_field="request_id",
        text_pattern=_NO_NUL,
        refinements={**_names(providers), **_texts()},
    )


def _names(providers: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    provider: dict[str, Any] = {"enum": list(providers)}
    if "local" in providers:
        provider["example"] = "local"
    return {
        f"{_V1}RegisterPoolRequest.provider": provider,
        f"{_V1}RegisterNodeRequest.provider": provider,
        f"{_V1}HeartbeatRequest.provider": provider,
        f"{_V1}ListNodesRequest.provider": {"enum": ["", *providers]},
        f"{_V1}ListProviderResourcesRequest.provider": {"enum": ["", *providers, "*"]},
        f"{_V1}RegisterModelRequest.backend": {"enum": list(ENGINE_NAMES)},
        f"{_V1}DeployModelRequest.engine": {"enum": ["", *ENGINE_NAMES]},
        f"{_V1}UpdateDeploymentRequest.engine": {"enum": list(ENGINE_NAMES)},
    }


def _texts() -> Mapping[str, Mapping[str, Any]]:
    member = f"(?:{'|'.join(_POLICY_KEYS)})"
    policy = {"pattern": rf"^(?:\{{{_SPACE}(?:{member}(?:{_SPACE},{_SPACE}{member})*)?{_SPACE}\}})?$"}
    requests = (deployments.UpdateDeploymentRequest.DESCRIPTOR, pools.UpdatePoolRequest.DESCRIPTOR)
    return {
        f"{_V1}RegisterPoolRequest.scheduling_policy_json": policy,
        f"{_V1}UpdatePoolRequest.scheduling_policy_json": policy,
        f"{_V1}HeartbeatRequest.state": {"pattern": f"^(?:{'|'.join(map(_any_case, AGENT_STATES))})$"},
        **{f"{request.full_name}.update_mask": {"pattern": _mask(request)} for request in requests},
    }


def _mask(request: Any) -> str:
    """What matches a mask of fields that can be updated, each in its JSON spelling or its own."""
    fields = [field for field in request.fields if field.name not in _NOT_UPDATED]
    names = dict.fromkeys(name for field in fields for name in (field.json_name, field.name))
    name = f"(?:{'|'.join(names)})"
    return f"^(?:{name}(?:,{name})*)?$"


def _any_case(name: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else letter for letter in name)
