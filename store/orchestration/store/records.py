"""The records that the store keeps, one frozen class per table; an instance is one row as it was read.

Times are Unix seconds (UTC, float; 0.0: never). Prices are US dollars an hour. Ids are UUIDv7 strings, so that ids of
one kind sort by creation. JSON-valued fields hold plain Python values and are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

Json = object
"""A JSON value: None, bool, float, int, str, list or dict of these."""


class PoolState(StrEnum):
    """Where a pool is in its life."""

    ACTIVE = "ACTIVE"
    DELETING = "DELETING"


class NodeState(StrEnum):
    """What is known of a node; the meaning of each is told in compute_pools.proto."""

    PROVISIONING = "PROVISIONING"
    READY = "READY"
    BUSY = "BUSY"
    DRAINING = "DRAINING"
    UNHEALTHY = "UNHEALTHY"
    LOST = "LOST"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"


class DesiredState(StrEnum):
    """What a caller last asked of a deployment."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class ReplicaState(StrEnum):
    """Where a replica is in its life; the meaning of each is told in model_deployments.proto."""

    PENDING = "PENDING"
    PROVISIONING = "PROVISIONING"
    STARTING = "STARTING"
    READY = "READY"
    UNHEALTHY = "UNHEALTHY"
    FAILED = "FAILED"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record has."""

    kind: ClassVar[str] = ""
    """The name under which changes of this kind stand in the change feed."""

    id: str
    revision: int = 0
    """Revision of the change that wrote this row; 0 before it is first written."""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Record):
    """A compute pool."""

    kind: ClassVar[str] = "pool"

    name: str
    owner_type: str
    owner_id: str
    provider: str
    allowed_gpu_types: tuple[str, ...] = ()
    max_cost_per_hour: float = 0.0
    is_dedicated: bool = False
    provider_pool_id: str = ""
    scheduling_policy_json: str = ""
    provider_credential_name: str = ""
    gpu_count: int = 0
    region_constraint: tuple[str, ...] = ()
    max_nodes: int = 0
    state: PoolState = PoolState.ACTIVE
    enabled: bool = True
    """False: switched off by its owner; takes no new placements."""
    version: int = 1
    """Grows with every change that a caller makes; the etag is made of it."""
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Record):
    """A node of a pool. What changes with every heartbeat alone is flushed in batches."""

    kind: ClassVar[str] = "node"

    pool_id: str
    provider: str
    provider_instance_id: str
    state: NodeState = NodeState.READY
    reported_state: str = ""
    """The state that the agent last reported; the node controller returns to it when a late node is heard of again."""
    managed: bool = False
    """Kept by the gateway from the provider's own inventory, not by an agent's heartbeats."""
    gpu_type: str = ""
    gpu_total: int = 0
    gpu_reported: int = 0
    """GPUs in use as the agent sees it; what placement gave away is counted from the replicas."""
    vcpu_total: float = 0.0
    vcpu_allocated: float = 0.0
    ram_gb_total: float = 0.0
    ram_gb_allocated: float = 0.0
    health_score: float = 100.0
    expose_url: str = ""
    price_per_hour: float = 0.0
    hostname: str = ""
    region: str = ""
    """Where it stands; empty: not known."""
    incarnation: int = 0
    sequence: int = 0
    last_heartbeat_at: float = 0.0
    telemetry: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Record):
    """One registered version of a model; it never changes."""

    kind: ClassVar[str] = "model"

    name: str
    model_version: str
    backend: str
    artifact_uri: str
    config: Mapping[str, Json] = field(default_factory=dict[str, Json])
    artifact_digest: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(Record):
    """What a caller wants to be kept running."""

    kind: ClassVar[str] = "deployment"

    org_id: str
    owner_id: str
    pool_id: str
    """May name a pool that was deleted since, once the deployment is stopped: no foreign key."""
    fallback_pool_ids: tuple[str, ...] = ()
    model_id: str = ""
    """The registered version; empty when the model is not registered."""
    model_name: str
    model_version: str = ""
    created_revision: int = 0
    """Revision of the change that made it; who follows the feed from a later one knows it already."""
    desired: DesiredState = DesiredState.RUNNING
    replicas: int = 1
    gpu_per_replica: int = 1
    workload_type: str = "inference"
    engine: str
    requested_engine: str = ""
    """The engine that the caller chose; empty: `engine` follows the registered model's backend."""
    inference_model: str
    requested_inference_model: str = ""
    """What the caller gave to be loaded; empty: `inference_model` follows the registered model's artifact."""
    configuration: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """The registered model's defaults, overlaid by the request's."""
    requested_configuration: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What the caller gave; overlaid again when another model version is chosen."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    max_surge: int = 0
    max_unavailable: int = 1
    restart_condition: str = "ALWAYS"
    """``ALWAYS``, ``ON_FAILURE`` or ``NEVER``."""
    restart_max_attempts: int = 5
    restart_window_s: float = 600.0
    generation: int = 1
    """Grows with every change of what is run."""
    complete_generation: int = 0
    """The last generation whose replicas were all ready at once; tells DEPLOYING from DEGRADED and UPDATING."""
    stable_generation: int = 0
    """The newest generation that runs what was last complete; what a failed update is rolled back to. 0: none yet."""
    stable_template: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """What a replica of `stable_generation` is made of: values of the fields that make a generation, by name."""
    failed_generation: int = 0
    """The generation that was rolled back, until another update is asked for; 0: none was."""
    failed_reason: str = ""
    failed_message: str = ""
    failed_at: float = 0.0
    """When it was rolled back."""
    accrued_cost: float = 0.0
    """US dollars that ended usage intervals came to; open ones are counted from the replicas."""
    observed_status: str = ""
    """The status that was last told by an event; what callers see is computed from the rows at each read."""
    version: int = 1
    """Grows with every change that a caller makes, and with a rollback; the etag is made of it."""
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica(Record):
    """One replica of a deployment with its current attempt.

    ``instance_name`` is written before the provider is asked, so that after a crash the provider can be asked for it by
    name. It holds its reservation of GPUs and price while ``instance_name`` is not empty.
    """

    kind: ClassVar[str] = "replica"

    deployment_id: str
    ordinal: int
    generation: int
    state: ReplicaState = ReplicaState.PENDING
    attempt: int = 0
    """Number of the current attempt, from 1; 0: none was made yet."""
    restarts: int = 0
    failures: int = 0
    """Failed attempts in a row; forgotten after the restart window."""
    pool_id: str = ""
    node_id: str = ""
    provider: str = ""
    instance_name: str = ""
    provider_instance_id: str = ""
    endpoint: str = ""
    health_path: str = ""
    """Where this attempt's engine is probed: the deployment's configuration may have changed since it was started.
    So it is with the three fields that follow."""
    models_path: str = ""
    """Where this attempt's engine lists its models; empty: it is not asked for them."""
    served_model: str = ""
    """The model that must be listed there."""
    startup_timeout_s: float = 0.0
    """How long this attempt may take to become ready."""
    gpu_count: int = 0
    resource_id: str = ""
    """What the provider offers that the attempt runs on; empty where it runs on a node."""
    pricing_model: str = ""
    """``spot``, ``on_demand``, ... of that offer; empty on a node."""
    price_per_hour: float = 0.0
    billed_from: float = 0.0
    """When the open usage interval began; 0.0: nothing is being used."""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    retry_at: float = 0.0
    """When the next attempt may be made."""
    placed_at: float = 0.0
    started_at: float = 0.0
    ready_at: float = 0.0
    waits_since: float = 0.0
    """Since when it has looked for a place and an instance without a break; 0.0: it does not, or has not begun to."""
    state_changed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """What replicas hold of a node, or of a whole pool."""

    replicas: int = 0
    gpus: int = 0
    price_per_hour: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for a person to read. Appended in the transaction that made it happen, never changed."""

    id: str
    time: float
    kind: str
    """Kind of the subject: ``deployment``, ``pool``, ``node`` or ``model``."""
    subject_id: str
    type: str
    """``NORMAL`` or ``WARNING``."""
    actor: str
    reason: str
    message: str
    replica_id: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageInterval:
    """One instance from when its price began to count to when it was gone."""

    instance_name: str
    deployment_id: str
    replica_id: str
    pool_id: str
    price_per_hour: float
    started_at: float
    ended_at: float | None = None
    """None while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The first answer to a mutation that carried a request id."""

    scope: str
    """Method and tenant: the same key in another scope is another key."""
    request_id: str
    digest: bytes
    """SHA-256 of the request without its request_id."""
    response: bytes
    """Serialized reply."""
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one gateway to work on something until it expires."""

    name: str
    owner: str
    token: str
    """New with every acquisition; a write guarded by an old token is refused."""
    generation: int
    """Grows with every acquisition."""
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of the change feed. Revisions grow without gaps being meaningful, in commit order."""

    revision: int
    kind: str
    id: str
    tombstone: bool
    parent: str = ""
    """Of a replica its deployment, of a node its pool: told also of one that is gone."""
    traits: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """Of a record that is gone the values that tell whom it concerned (``tables.TRAITS``); empty otherwise."""


KINDS: tuple[type[Record], ...] = (Pool, Node, Model, Deployment, Replica)
"""Every kind of record that the change feed carries and the memory index holds."""
