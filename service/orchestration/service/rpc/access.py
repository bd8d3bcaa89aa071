"""What the protos ask of callers: the role for each method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.descriptor import ServiceDescriptor

from orchestration.service.keys import Role
from orchestration.v1 import common_pb2, compute_pools_pb2, model_deployments_pb2, model_registry_pb2


def _roles_of(service: ServiceDescriptor) -> dict[str, Role]:
    access: Any = common_pb2.access
    return {
        f"/{service.full_name}/{method.name}": Role(
            common_pb2.Access.Role.Name(method.GetOptions().Extensions[access].role).lower()
        )
        for method in service.methods
    }


NEEDED: Final[Mapping[str, Role]] = {
    path: role
    for module in (compute_pools_pb2, model_registry_pb2, model_deployments_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for path, role in _roles_of(service).items()
}
"""The role that each method asks for, by ``/package.Service/Method``."""
OPEN: Final = ("/grpc.health.v1.", "/grpc.reflection.")
"""Methods that anybody may call: they tell nothing that is not public, and probes have no keys."""
