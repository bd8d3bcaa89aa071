"""Lines to copy: how to go on with what quickstart deployed."""

from __future__ import annotations

import json

from orchestration.service.cli.quickstart_deployment import QUESTION
from orchestration.v1.model_deployments_pb2 import Deployment

_TEMPLATE = """\
  # the model, by its OpenAI API
  curl -s {endpoint}/v1/completions -H 'Content-Type: application/json' -d '{question}'

  # the gateway, by REST
  curl -s {http_url}/deployment/status/{deployment_id}
  curl -sN {http_url}/deployment/logs/{deployment_id}/tail

  # the gateway, by gRPC
  grpcurl -plaintext -d '{{"deployment_id": "{deployment_id}"}}' \\
    {grpc_address} orchestration.v1.ModelDeploymentService/GetDeployment
  orchestration deployments get {deployment_id} --server {grpc_address}
  orchestration logs -f {deployment_id} --server {grpc_address}

  # the gateway, from Python
  import grpc
  from orchestration.v1 import model_deployments_pb2 as pb, model_deployments_pb2_grpc as rpc
  with grpc.insecure_channel("{grpc_address}") as channel:
      deployments = rpc.ModelDeploymentServiceStub(channel)
      print(deployments.GetDeployment(pb.GetDeploymentRequest(deployment_id="{deployment_id}")))"""


def hints(grpc_address: str, http_url: str, deployment: Deployment) -> str:
    """curl, grpcurl and Python lines with the real addresses and ids."""
    return _TEMPLATE.format(
        endpoint=deployment.endpoint.rstrip("/").removesuffix("/v1"),
        question=json.dumps(QUESTION),
        http_url=http_url,
        grpc_address=grpc_address,
        deployment_id=deployment.deployment_id,
    )
