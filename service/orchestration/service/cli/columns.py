"""Columns of tables that more than one command prints."""

from __future__ import annotations

from orchestration.service.cli.output import Column, age, price
from orchestration.v1.compute_pools_pb2 import Node
from orchestration.v1.model_deployments_pb2 import Deployment, ReplicaStatus

NODES: tuple[Column[Node], ...] = (
    ("NODE ID", lambda node: node.node_id),
    ("PROVIDER", lambda node: node.provider),
    ("INSTANCE", lambda node: node.provider_instance_id),
    ("STATE", lambda node: Node.State.Name(node.state)),
    ("GPU", lambda node: f"{node.gpu_allocated}/{node.gpu_total} {node.gpu_type}".rstrip()),
    ("VCPU", lambda node: f"{node.vcpu_allocated:g}/{node.vcpu_total:g}"),
    ("RAM GB", lambda node: f"{node.ram_gb_allocated:.3g}/{node.ram_gb_total:.3g}"),
    ("HEALTH", lambda node: f"{node.health_score:g}"),
    ("PRICE/H", lambda node: price(node.price_per_hour)),
    ("HEARTBEAT", lambda node: age(node.last_heartbeat_at)),
)

DEPLOYMENTS: tuple[Column[Deployment], ...] = (
    ("DEPLOYMENT ID", lambda item: item.deployment_id),
    ("MODEL", lambda item: f"{item.model_name}:{item.model_version}" if item.model_version else item.model_name),
    ("STATUS", lambda item: Deployment.Status.Name(item.status)),
    ("READY", lambda item: f"{item.ready_replicas}/{item.replicas}"),
    ("ENGINE", lambda item: item.engine),
    ("ENDPOINT", lambda item: item.endpoint or "-"),
    ("COST/H", lambda item: price(item.cost_per_hour)),
    ("AGE", lambda item: age(item.created_at)),
)

REPLICAS: tuple[Column[ReplicaStatus], ...] = (
    ("REPLICA", lambda item: item.ordinal),
    ("STATE", lambda item: ReplicaStatus.State.Name(item.state)),
    ("RESTARTS", lambda item: item.restarts),
    ("ENDPOINT", lambda item: item.endpoint or "-"),
    ("WHY", lambda item: ": ".join(part for part in (item.reason, item.message) if part)),
)
