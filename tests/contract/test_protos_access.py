"""Who may call what is declared in the protos. The roles are written out: a change of one is a change of security."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import MethodDescriptor

from orchestration.v1 import common_pb2
from tests.support.protos import methods, option

ROLES = {
    "VIEWER": """GetPool ListPools ListPoolInventory ListNodes ListProviders ListProviderResources GetModel ListModels
        GetDeployment ListDeployments GetDeploymentLogs GetLogStreamInfo TailDeploymentLogs ListDeploymentEvents
        WatchDeployments""",
    "OPERATOR": """RegisterModel DeleteModel DeployModel UpdateDeployment ScaleDeployment StartDeployment
        DeleteDeployment PurgeDeployment""",
    "ADMIN": "RegisterPool UpdatePool DeletePool",
    "AGENT": "RegisterNode Heartbeat StreamHeartbeats",
}

each_rpc = pytest.mark.parametrize("method", methods(), ids=lambda method: method.name)


def test_roles_are_the_agreed_ones() -> None:
    expected = {name: role for role, names in ROLES.items() for name in names.split()}
    declared = {method.name: option(method, "orchestration.v1.access") for method in methods()}
    assert {name: access and common_pb2.Access.Role.Name(access.role) for name, access in declared.items()} == expected


@each_rpc
def test_the_tenant_is_named_by_a_field_of_the_request(method: MethodDescriptor) -> None:
    access = option(method, "orchestration.v1.access")
    named = [name for name in (access.tenant_field, access.resource_field) if name]
    assert len(named) <= 1, "a tenant comes from the request or from a resource, not from both"
    for name in named:
        field = method.input_type.fields_by_name.get(name)
        assert field is not None, f"{method.input_type.name} has no field {name}"
        assert field.type == field.TYPE_STRING
        assert not field.is_repeated


@each_rpc
def test_a_request_that_names_a_deployment_or_pool_is_bound_to_its_tenant(method: MethodDescriptor) -> None:
    """Forgetting resource_field would open one tenant's resource to every other."""
    access = option(method, "orchestration.v1.access")
    owned = [name for name in ("deployment_id", "pool_id") if name in method.input_type.fields_by_name]
    if owned:
        assert access.tenant_field or access.resource_field in owned
