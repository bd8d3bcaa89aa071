"""The REST routes, written out: a path, verb or body that changes breaks callers and must change here too.

`buf breaking` does not look at google.api.http, so nothing else holds them.
"""

from __future__ import annotations

from tests.support.protos import Binding, bindings, methods

# verb, path, RPC, body
ROUTES = """
POST   /deployment/createpool                                  RegisterPool *
POST   /v1/pools                                               RegisterPool *
GET    /deployment/pool/{pool_id}                              GetPool
GET    /v1/pools/{pool_id}                                     GetPool
GET    /deployment/listPools/{owner_id}                        ListPools
GET    /v1/pools                                               ListPools
PATCH  /deployment/updatepool/{pool_id}                        UpdatePool *
PATCH  /v1/pools/{pool_id}                                     UpdatePool *
POST   /deployment/deletepool/{pool_id}                        DeletePool *
DELETE /v1/pools/{pool_id}                                     DeletePool
GET    /deployment/list/pool/{pool_id}/inventory               ListPoolInventory
GET    /v1/pools/{pool_id}/nodes                               ListPoolInventory
POST   /inventory/register                                     RegisterNode *
POST   /v1/nodes                                               RegisterNode *
POST   /inventory/heartbeat                                    Heartbeat *
POST   /v1/nodes:heartbeat                                     Heartbeat *
GET    /inventory/heartbeats                                   StreamHeartbeats
GET    /inventory/nodes/{provider}                             ListNodes
GET    /v1/nodes                                               ListNodes
GET    /inventory/providers                                    ListProviders
GET    /v1/providers                                           ListProviders
GET    /deployment/provider/resources                          ListProviderResources
GET    /v1/resources                                           ListProviderResources

POST   /deployment/registerModel                               RegisterModel *
POST   /v1/models                                              RegisterModel *
GET    /deployment/getModel/{model_name}/{model_version}       GetModel
GET    /v1/models/{model_name}/versions/{model_version}        GetModel
GET    /deployment/listModels/{model_name}                     ListModels
GET    /v1/models                                              ListModels
DELETE /deployment/deleteModel                                 DeleteModel
DELETE /v1/models/{model_name}/versions/{model_version}        DeleteModel

POST   /deployment/deploy                                      DeployModel *
POST   /v1/deployments                                         DeployModel *
GET    /deployment/status/{deployment_id}                      GetDeployment
GET    /v1/deployments/{deployment_id}                         GetDeployment
GET    /deployment/deployments                                 ListDeployments
GET    /v1/deployments                                         ListDeployments
PATCH  /deployment/update/{deployment_id}                      UpdateDeployment *
PATCH  /v1/deployments/{deployment_id}                         UpdateDeployment *
POST   /deployment/scale                                       ScaleDeployment *
POST   /v1/deployments/{deployment_id}:scale                   ScaleDeployment *
POST   /deployment/start                                       StartDeployment *
POST   /v1/deployments/{deployment_id}:start                   StartDeployment *
POST   /deployment/terminate                                   DeleteDeployment *
POST   /v1/deployments/{deployment_id}:terminate               DeleteDeployment *
DELETE /deployment/delete/{deployment_id}                      PurgeDeployment
DELETE /v1/deployments/{deployment_id}                         PurgeDeployment
GET    /deployment/logs/{deployment_id}                        GetDeploymentLogs
GET    /v1/deployments/{deployment_id}/logs                    GetDeploymentLogs
GET    /deployment/logs/{deployment_id}/stream                 GetLogStreamInfo
GET    /deployment/logs/{deployment_id}/tail                   TailDeploymentLogs
GET    /v1/deployments/{deployment_id}/logs:tail               TailDeploymentLogs
GET    /deployment/events/{deployment_id}                      ListDeploymentEvents
GET    /v1/deployments/{deployment_id}/events                  ListDeploymentEvents
GET    /deployment/watch                                       WatchDeployments
GET    /v1/deployments:watch                                   WatchDeployments
"""

STREAMING = {
    "StreamHeartbeats": (True, True),
    "TailDeploymentLogs": (False, True),
    "WatchDeployments": (False, True),
}


def test_every_route_is_the_published_one() -> None:
    expected = [Binding(*line.split()) for line in ROUTES.splitlines() if line]
    declared = [binding for method in methods() for binding in bindings(method)]
    assert declared == expected


def test_streams_are_those_of_the_contract() -> None:
    shapes = {method.name: (method.client_streaming, method.server_streaming) for method in methods()}
    assert {name: shape for name, shape in shapes.items() if any(shape)} == STREAMING


def test_every_rpc_has_a_route() -> None:
    assert [method.full_name for method in methods() if not list(bindings(method))] == []
