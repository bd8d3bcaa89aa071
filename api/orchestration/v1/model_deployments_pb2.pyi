import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestration.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpdateStrategy(_message.Message):
    __slots__ = ("max_surge", "max_unavailable")
    MAX_SURGE_FIELD_NUMBER: _ClassVar[int]
    MAX_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    max_surge: int
    max_unavailable: int
    def __init__(self, max_surge: _Optional[int] = ..., max_unavailable: _Optional[int] = ...) -> None: ...

class RestartPolicy(_message.Message):
    __slots__ = ("condition", "max_attempts", "window")
    class Condition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CONDITION_UNSPECIFIED: _ClassVar[RestartPolicy.Condition]
        ALWAYS: _ClassVar[RestartPolicy.Condition]
        ON_FAILURE: _ClassVar[RestartPolicy.Condition]
        NEVER: _ClassVar[RestartPolicy.Condition]
    CONDITION_UNSPECIFIED: RestartPolicy.Condition
    ALWAYS: RestartPolicy.Condition
    ON_FAILURE: RestartPolicy.Condition
    NEVER: RestartPolicy.Condition
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    condition: RestartPolicy.Condition
    max_attempts: int
    window: _duration_pb2.Duration
    def __init__(self, condition: _Optional[_Union[RestartPolicy.Condition, str]] = ..., max_attempts: _Optional[int] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DeployModelRequest(_message.Message):
    __slots__ = ("model_name", "model_version", "replicas", "gpu_per_replica", "pool_id", "fallback_pool_ids", "workload_type", "engine", "configuration", "owner_id", "org_id", "inference_model", "env", "labels", "update_strategy", "restart_policy", "request_id", "validate_only")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    GPU_PER_REPLICA_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_POOL_IDS_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_ID_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_MODEL_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    RESTART_POLICY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    model_version: str
    replicas: int
    gpu_per_replica: int
    pool_id: str
    fallback_pool_ids: _containers.RepeatedScalarFieldContainer[str]
    workload_type: str
    engine: str
    configuration: _struct_pb2.Struct
    owner_id: str
    org_id: str
    inference_model: str
    env: _containers.ScalarMap[str, str]
    labels: _containers.ScalarMap[str, str]
    update_strategy: UpdateStrategy
    restart_policy: RestartPolicy
    request_id: str
    validate_only: bool
    def __init__(self, model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., replicas: _Optional[int] = ..., gpu_per_replica: _Optional[int] = ..., pool_id: _Optional[str] = ..., fallback_pool_ids: _Optional[_Iterable[str]] = ..., workload_type: _Optional[str] = ..., engine: _Optional[str] = ..., configuration: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., owner_id: _Optional[str] = ..., org_id: _Optional[str] = ..., inference_model: _Optional[str] = ..., env: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., update_strategy: _Optional[_Union[UpdateStrategy, _Mapping]] = ..., restart_policy: _Optional[_Union[RestartPolicy, _Mapping]] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class PlacementCandidate(_message.Message):
    __slots__ = ("pool_id", "node_id", "feasible", "reason", "message", "price_per_hour", "provider_resource_id", "gpu_type", "pricing_model")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    FEASIBLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_RESOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    PRICING_MODEL_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    node_id: str
    feasible: bool
    reason: str
    message: str
    price_per_hour: float
    provider_resource_id: str
    gpu_type: str
    pricing_model: str
    def __init__(self, pool_id: _Optional[str] = ..., node_id: _Optional[str] = ..., feasible: _Optional[bool] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., price_per_hour: _Optional[float] = ..., provider_resource_id: _Optional[str] = ..., gpu_type: _Optional[str] = ..., pricing_model: _Optional[str] = ...) -> None: ...

class DeployModelResponse(_message.Message):
    __slots__ = ("deployment_id", "status", "candidates")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    status: Deployment.Status
    candidates: _containers.RepeatedCompositeFieldContainer[PlacementCandidate]
    def __init__(self, deployment_id: _Optional[str] = ..., status: _Optional[_Union[Deployment.Status, str]] = ..., candidates: _Optional[_Iterable[_Union[PlacementCandidate, _Mapping]]] = ...) -> None: ...

class ReplicaStatus(_message.Message):
    __slots__ = ("replica_id", "ordinal", "state", "node_id", "provider_instance_id", "endpoint", "restarts", "reason", "message", "started_at", "ready_at", "generation", "pool_id", "attempt", "price_per_hour", "pricing_model")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[ReplicaStatus.State]
        PENDING: _ClassVar[ReplicaStatus.State]
        PROVISIONING: _ClassVar[ReplicaStatus.State]
        STARTING: _ClassVar[ReplicaStatus.State]
        READY: _ClassVar[ReplicaStatus.State]
        UNHEALTHY: _ClassVar[ReplicaStatus.State]
        FAILED: _ClassVar[ReplicaStatus.State]
        TERMINATING: _ClassVar[ReplicaStatus.State]
        TERMINATED: _ClassVar[ReplicaStatus.State]
    STATE_UNSPECIFIED: ReplicaStatus.State
    PENDING: ReplicaStatus.State
    PROVISIONING: ReplicaStatus.State
    STARTING: ReplicaStatus.State
    READY: ReplicaStatus.State
    UNHEALTHY: ReplicaStatus.State
    FAILED: ReplicaStatus.State
    TERMINATING: ReplicaStatus.State
    TERMINATED: ReplicaStatus.State
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    READY_AT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    PRICING_MODEL_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    ordinal: int
    state: ReplicaStatus.State
    node_id: str
    provider_instance_id: str
    endpoint: str
    restarts: int
    reason: str
    message: str
    started_at: _timestamp_pb2.Timestamp
    ready_at: _timestamp_pb2.Timestamp
    generation: int
    pool_id: str
    attempt: int
    price_per_hour: float
    pricing_model: str
    def __init__(self, replica_id: _Optional[str] = ..., ordinal: _Optional[int] = ..., state: _Optional[_Union[ReplicaStatus.State, str]] = ..., node_id: _Optional[str] = ..., provider_instance_id: _Optional[str] = ..., endpoint: _Optional[str] = ..., restarts: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ready_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., generation: _Optional[int] = ..., pool_id: _Optional[str] = ..., attempt: _Optional[int] = ..., price_per_hour: _Optional[float] = ..., pricing_model: _Optional[str] = ...) -> None: ...

class Condition(_message.Message):
    __slots__ = ("type", "status", "reason", "message", "last_transition_at")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[Condition.Status]
        TRUE: _ClassVar[Condition.Status]
        FALSE: _ClassVar[Condition.Status]
        UNKNOWN: _ClassVar[Condition.Status]
    STATUS_UNSPECIFIED: Condition.Status
    TRUE: Condition.Status
    FALSE: Condition.Status
    UNKNOWN: Condition.Status
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_TRANSITION_AT_FIELD_NUMBER: _ClassVar[int]
    type: str
    status: Condition.Status
    reason: str
    message: str
    last_transition_at: _timestamp_pb2.Timestamp
    def __init__(self, type: _Optional[str] = ..., status: _Optional[_Union[Condition.Status, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., last_transition_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("deployment_id", "model_name", "model_version", "replicas", "gpu_per_replica", "pool_id", "fallback_pool_ids", "workload_type", "engine", "configuration", "owner_id", "org_id", "inference_model", "env", "labels", "update_strategy", "restart_policy", "status", "generation", "ready_replicas", "endpoint", "replica_statuses", "conditions", "error_message", "cost_per_hour", "created_at", "updated_at", "etag", "cost_so_far")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[Deployment.Status]
        DEPLOYING: _ClassVar[Deployment.Status]
        RUNNING: _ClassVar[Deployment.Status]
        DEGRADED: _ClassVar[Deployment.Status]
        UPDATING: _ClassVar[Deployment.Status]
        TERMINATING: _ClassVar[Deployment.Status]
        STOPPED: _ClassVar[Deployment.Status]
        FAILED: _ClassVar[Deployment.Status]
    STATUS_UNSPECIFIED: Deployment.Status
    DEPLOYING: Deployment.Status
    RUNNING: Deployment.Status
    DEGRADED: Deployment.Status
    UPDATING: Deployment.Status
    TERMINATING: Deployment.Status
    STOPPED: Deployment.Status
    FAILED: Deployment.Status
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    GPU_PER_REPLICA_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_POOL_IDS_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_ID_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_MODEL_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    RESTART_POLICY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    READY_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_STATUSES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    COST_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    COST_SO_FAR_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    model_name: str
    model_version: str
    replicas: int
    gpu_per_replica: int
    pool_id: str
    fallback_pool_ids: _containers.RepeatedScalarFieldContainer[str]
    workload_type: str
    engine: str
    configuration: _struct_pb2.Struct
    owner_id: str
    org_id: str
    inference_model: str
    env: _containers.ScalarMap[str, str]
    labels: _containers.ScalarMap[str, str]
    update_strategy: UpdateStrategy
    restart_policy: RestartPolicy
    status: Deployment.Status
    generation: int
    ready_replicas: int
    endpoint: str
    replica_statuses: _containers.RepeatedCompositeFieldContainer[ReplicaStatus]
    conditions: _containers.RepeatedCompositeFieldContainer[Condition]
    error_message: str
    cost_per_hour: float
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    etag: str
    cost_so_far: float
    def __init__(self, deployment_id: _Optional[str] = ..., model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., replicas: _Optional[int] = ..., gpu_per_replica: _Optional[int] = ..., pool_id: _Optional[str] = ..., fallback_pool_ids: _Optional[_Iterable[str]] = ..., workload_type: _Optional[str] = ..., engine: _Optional[str] = ..., configuration: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., owner_id: _Optional[str] = ..., org_id: _Optional[str] = ..., inference_model: _Optional[str] = ..., env: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., update_strategy: _Optional[_Union[UpdateStrategy, _Mapping]] = ..., restart_policy: _Optional[_Union[RestartPolicy, _Mapping]] = ..., status: _Optional[_Union[Deployment.Status, str]] = ..., generation: _Optional[int] = ..., ready_replicas: _Optional[int] = ..., endpoint: _Optional[str] = ..., replica_statuses: _Optional[_Iterable[_Union[ReplicaStatus, _Mapping]]] = ..., conditions: _Optional[_Iterable[_Union[Condition, _Mapping]]] = ..., error_message: _Optional[str] = ..., cost_per_hour: _Optional[float] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., cost_so_far: _Optional[float] = ...) -> None: ...

class GetDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id",)
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    def __init__(self, deployment_id: _Optional[str] = ...) -> None: ...

class ListDeploymentsRequest(_message.Message):
    __slots__ = ("org_id", "pool_id", "status", "model_name", "page_size", "page_token")
    ORG_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    org_id: str
    pool_id: str
    status: Deployment.Status
    model_name: str
    page_size: int
    page_token: str
    def __init__(self, org_id: _Optional[str] = ..., pool_id: _Optional[str] = ..., status: _Optional[_Union[Deployment.Status, str]] = ..., model_name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeploymentsResponse(_message.Message):
    __slots__ = ("deployments", "next_page_token", "total_size")
    DEPLOYMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    deployments: _containers.RepeatedCompositeFieldContainer[Deployment]
    next_page_token: str
    total_size: int
    def __init__(self, deployments: _Optional[_Iterable[_Union[Deployment, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class UpdateDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id", "model_version", "replicas", "gpu_per_replica", "fallback_pool_ids", "engine", "configuration", "inference_model", "env", "labels", "update_strategy", "restart_policy", "update_mask", "etag", "request_id")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    GPU_PER_REPLICA_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_POOL_IDS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_MODEL_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    RESTART_POLICY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    model_version: str
    replicas: int
    gpu_per_replica: int
    fallback_pool_ids: _containers.RepeatedScalarFieldContainer[str]
    engine: str
    configuration: _struct_pb2.Struct
    inference_model: str
    env: _containers.ScalarMap[str, str]
    labels: _containers.ScalarMap[str, str]
    update_strategy: UpdateStrategy
    restart_policy: RestartPolicy
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, deployment_id: _Optional[str] = ..., model_version: _Optional[str] = ..., replicas: _Optional[int] = ..., gpu_per_replica: _Optional[int] = ..., fallback_pool_ids: _Optional[_Iterable[str]] = ..., engine: _Optional[str] = ..., configuration: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., inference_model: _Optional[str] = ..., env: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., update_strategy: _Optional[_Union[UpdateStrategy, _Mapping]] = ..., restart_policy: _Optional[_Union[RestartPolicy, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ScaleDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id", "replicas", "etag", "request_id")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    replicas: int
    etag: str
    request_id: str
    def __init__(self, deployment_id: _Optional[str] = ..., replicas: _Optional[int] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ScaleDeploymentResponse(_message.Message):
    __slots__ = ("deployment_id", "status", "replicas")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    status: Deployment.Status
    replicas: int
    def __init__(self, deployment_id: _Optional[str] = ..., status: _Optional[_Union[Deployment.Status, str]] = ..., replicas: _Optional[int] = ...) -> None: ...

class StartDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id", "etag", "request_id")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    etag: str
    request_id: str
    def __init__(self, deployment_id: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class StartDeploymentResponse(_message.Message):
    __slots__ = ("deployment_id", "status")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    status: Deployment.Status
    def __init__(self, deployment_id: _Optional[str] = ..., status: _Optional[_Union[Deployment.Status, str]] = ...) -> None: ...

class DeleteDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id", "etag", "request_id")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    etag: str
    request_id: str
    def __init__(self, deployment_id: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteDeploymentResponse(_message.Message):
    __slots__ = ("deployment_id", "status")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    status: Deployment.Status
    def __init__(self, deployment_id: _Optional[str] = ..., status: _Optional[_Union[Deployment.Status, str]] = ...) -> None: ...

class PurgeDeploymentRequest(_message.Message):
    __slots__ = ("deployment_id", "etag", "request_id")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    etag: str
    request_id: str
    def __init__(self, deployment_id: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PurgeDeploymentResponse(_message.Message):
    __slots__ = ("deployment_id", "status")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[PurgeDeploymentResponse.Status]
        DELETED: _ClassVar[PurgeDeploymentResponse.Status]
    STATUS_UNSPECIFIED: PurgeDeploymentResponse.Status
    DELETED: PurgeDeploymentResponse.Status
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    status: PurgeDeploymentResponse.Status
    def __init__(self, deployment_id: _Optional[str] = ..., status: _Optional[_Union[PurgeDeploymentResponse.Status, str]] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("time", "replica_id", "stream", "message", "cursor")
    TIME_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    replica_id: str
    stream: str
    message: str
    cursor: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replica_id: _Optional[str] = ..., stream: _Optional[str] = ..., message: _Optional[str] = ..., cursor: _Optional[str] = ...) -> None: ...

class GetDeploymentLogsRequest(_message.Message):
    __slots__ = ("deployment_id", "tail", "page_token", "since", "replica_id")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    tail: int
    page_token: str
    since: _timestamp_pb2.Timestamp
    replica_id: str
    def __init__(self, deployment_id: _Optional[str] = ..., tail: _Optional[int] = ..., page_token: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replica_id: _Optional[str] = ...) -> None: ...

class GetDeploymentLogsResponse(_message.Message):
    __slots__ = ("deployment_id", "logs", "next_page_token")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    logs: _containers.RepeatedCompositeFieldContainer[LogEntry]
    next_page_token: str
    def __init__(self, deployment_id: _Optional[str] = ..., logs: _Optional[_Iterable[_Union[LogEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetLogStreamInfoRequest(_message.Message):
    __slots__ = ("deployment_id",)
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    def __init__(self, deployment_id: _Optional[str] = ...) -> None: ...

class LogSubscription(_message.Message):
    __slots__ = ("deployment_id", "cursor")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    cursor: str
    def __init__(self, deployment_id: _Optional[str] = ..., cursor: _Optional[str] = ...) -> None: ...

class GetLogStreamInfoResponse(_message.Message):
    __slots__ = ("ws_url", "sse_url", "supported", "provider", "subscription")
    WS_URL_FIELD_NUMBER: _ClassVar[int]
    SSE_URL_FIELD_NUMBER: _ClassVar[int]
    SUPPORTED_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ws_url: str
    sse_url: str
    supported: bool
    provider: str
    subscription: LogSubscription
    def __init__(self, ws_url: _Optional[str] = ..., sse_url: _Optional[str] = ..., supported: _Optional[bool] = ..., provider: _Optional[str] = ..., subscription: _Optional[_Union[LogSubscription, _Mapping]] = ...) -> None: ...

class TailDeploymentLogsRequest(_message.Message):
    __slots__ = ("deployment_id", "cursor", "follow", "tail", "since", "replica_id")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    cursor: str
    follow: bool
    tail: int
    since: _timestamp_pb2.Timestamp
    replica_id: str
    def __init__(self, deployment_id: _Optional[str] = ..., cursor: _Optional[str] = ..., follow: _Optional[bool] = ..., tail: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replica_id: _Optional[str] = ...) -> None: ...

class ListDeploymentEventsRequest(_message.Message):
    __slots__ = ("deployment_id", "page_size", "page_token")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    page_size: int
    page_token: str
    def __init__(self, deployment_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class DeploymentEvent(_message.Message):
    __slots__ = ("event_id", "time", "type", "actor", "reason", "message", "replica_id", "attempt")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[DeploymentEvent.Type]
        NORMAL: _ClassVar[DeploymentEvent.Type]
        WARNING: _ClassVar[DeploymentEvent.Type]
    TYPE_UNSPECIFIED: DeploymentEvent.Type
    NORMAL: DeploymentEvent.Type
    WARNING: DeploymentEvent.Type
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    time: _timestamp_pb2.Timestamp
    type: DeploymentEvent.Type
    actor: str
    reason: str
    message: str
    replica_id: str
    attempt: int
    def __init__(self, event_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., type: _Optional[_Union[DeploymentEvent.Type, str]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., replica_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class ListDeploymentEventsResponse(_message.Message):
    __slots__ = ("deployment_id", "events", "next_page_token", "total_size")
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    deployment_id: str
    events: _containers.RepeatedCompositeFieldContainer[DeploymentEvent]
    next_page_token: str
    total_size: int
    def __init__(self, deployment_id: _Optional[str] = ..., events: _Optional[_Iterable[_Union[DeploymentEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class WatchDeploymentsRequest(_message.Message):
    __slots__ = ("org_id", "pool_id", "deployment_id", "model_name", "resume_token")
    ORG_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    org_id: str
    pool_id: str
    deployment_id: str
    model_name: str
    resume_token: str
    def __init__(self, org_id: _Optional[str] = ..., pool_id: _Optional[str] = ..., deployment_id: _Optional[str] = ..., model_name: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchDeploymentsResponse(_message.Message):
    __slots__ = ("type", "deployment", "resume_token")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TYPE_UNSPECIFIED: _ClassVar[WatchDeploymentsResponse.Type]
        ADDED: _ClassVar[WatchDeploymentsResponse.Type]
        MODIFIED: _ClassVar[WatchDeploymentsResponse.Type]
        DELETED: _ClassVar[WatchDeploymentsResponse.Type]
        SYNCED: _ClassVar[WatchDeploymentsResponse.Type]
    TYPE_UNSPECIFIED: WatchDeploymentsResponse.Type
    ADDED: WatchDeploymentsResponse.Type
    MODIFIED: WatchDeploymentsResponse.Type
    DELETED: WatchDeploymentsResponse.Type
    SYNCED: WatchDeploymentsResponse.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    type: WatchDeploymentsResponse.Type
    deployment: Deployment
    resume_token: str
    def __init__(self, type: _Optional[_Union[WatchDeploymentsResponse.Type, str]] = ..., deployment: _Optional[_Union[Deployment, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...
