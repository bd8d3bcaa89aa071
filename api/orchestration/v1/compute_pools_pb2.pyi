import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestration.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Pool(_message.Message):
    __slots__ = ("pool_id", "pool_name", "owner_type", "owner_id", "provider", "allowed_gpu_types", "max_cost_per_hour", "is_dedicated", "provider_pool_id", "scheduling_policy_json", "provider_credential_name", "gpu_count", "region_constraint", "max_nodes", "state", "is_active", "node_count", "gpu_total", "gpu_allocated", "created_at", "updated_at", "etag", "cost_per_hour")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Pool.State]
        ACTIVE: _ClassVar[Pool.State]
        DELETING: _ClassVar[Pool.State]
    STATE_UNSPECIFIED: Pool.State
    ACTIVE: Pool.State
    DELETING: Pool.State
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    OWNER_TYPE_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_GPU_TYPES_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    IS_DEDICATED_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_POOL_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULING_POLICY_JSON_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_CREDENTIAL_NAME_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    REGION_CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    MAX_NODES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    NODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    GPU_TOTAL_FIELD_NUMBER: _ClassVar[int]
    GPU_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    COST_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    pool_name: str
    owner_type: str
    owner_id: str
    provider: str
    allowed_gpu_types: _containers.RepeatedScalarFieldContainer[str]
    max_cost_per_hour: float
    is_dedicated: bool
    provider_pool_id: str
    scheduling_policy_json: str
    provider_credential_name: str
    gpu_count: int
    region_constraint: _containers.RepeatedScalarFieldContainer[str]
    max_nodes: int
    state: Pool.State
    is_active: bool
    node_count: int
    gpu_total: int
    gpu_allocated: int
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    etag: str
    cost_per_hour: float
    def __init__(self, pool_id: _Optional[str] = ..., pool_name: _Optional[str] = ..., owner_type: _Optional[str] = ..., owner_id: _Optional[str] = ..., provider: _Optional[str] = ..., allowed_gpu_types: _Optional[_Iterable[str]] = ..., max_cost_per_hour: _Optional[float] = ..., is_dedicated: _Optional[bool] = ..., provider_pool_id: _Optional[str] = ..., scheduling_policy_json: _Optional[str] = ..., provider_credential_name: _Optional[str] = ..., gpu_count: _Optional[int] = ..., region_constraint: _Optional[_Iterable[str]] = ..., max_nodes: _Optional[int] = ..., state: _Optional[_Union[Pool.State, str]] = ..., is_active: _Optional[bool] = ..., node_count: _Optional[int] = ..., gpu_total: _Optional[int] = ..., gpu_allocated: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., cost_per_hour: _Optional[float] = ...) -> None: ...

class RegisterPoolRequest(_message.Message):
    __slots__ = ("pool_name", "owner_type", "owner_id", "provider", "allowed_gpu_types", "max_cost_per_hour", "is_dedicated", "provider_pool_id", "scheduling_policy_json", "provider_credential_name", "gpu_count", "region_constraint", "max_nodes", "request_id")
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    OWNER_TYPE_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_GPU_TYPES_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    IS_DEDICATED_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_POOL_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULING_POLICY_JSON_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_CREDENTIAL_NAME_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    REGION_CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    MAX_NODES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    pool_name: str
    owner_type: str
    owner_id: str
    provider: str
    allowed_gpu_types: _containers.RepeatedScalarFieldContainer[str]
    max_cost_per_hour: float
    is_dedicated: bool
    provider_pool_id: str
    scheduling_policy_json: str
    provider_credential_name: str
    gpu_count: int
    region_constraint: _containers.RepeatedScalarFieldContainer[str]
    max_nodes: int
    request_id: str
    def __init__(self, pool_name: _Optional[str] = ..., owner_type: _Optional[str] = ..., owner_id: _Optional[str] = ..., provider: _Optional[str] = ..., allowed_gpu_types: _Optional[_Iterable[str]] = ..., max_cost_per_hour: _Optional[float] = ..., is_dedicated: _Optional[bool] = ..., provider_pool_id: _Optional[str] = ..., scheduling_policy_json: _Optional[str] = ..., provider_credential_name: _Optional[str] = ..., gpu_count: _Optional[int] = ..., region_constraint: _Optional[_Iterable[str]] = ..., max_nodes: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class RegisterPoolResponse(_message.Message):
    __slots__ = ("pool_id", "status", "pool")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[RegisterPoolResponse.Status]
        CREATED: _ClassVar[RegisterPoolResponse.Status]
    STATUS_UNSPECIFIED: RegisterPoolResponse.Status
    CREATED: RegisterPoolResponse.Status
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    status: RegisterPoolResponse.Status
    pool: Pool
    def __init__(self, pool_id: _Optional[str] = ..., status: _Optional[_Union[RegisterPoolResponse.Status, str]] = ..., pool: _Optional[_Union[Pool, _Mapping]] = ...) -> None: ...

class GetPoolRequest(_message.Message):
    __slots__ = ("pool_id",)
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    def __init__(self, pool_id: _Optional[str] = ...) -> None: ...

class ListPoolsRequest(_message.Message):
    __slots__ = ("owner_id", "page_size", "page_token")
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    owner_id: str
    page_size: int
    page_token: str
    def __init__(self, owner_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPoolsResponse(_message.Message):
    __slots__ = ("pools", "next_page_token", "total_size")
    POOLS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    next_page_token: str
    total_size: int
    def __init__(self, pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class UpdatePoolRequest(_message.Message):
    __slots__ = ("pool_id", "pool_name", "allowed_gpu_types", "max_cost_per_hour", "is_dedicated", "provider_pool_id", "scheduling_policy_json", "provider_credential_name", "gpu_count", "region_constraint", "max_nodes", "is_active", "update_mask", "etag", "request_id")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_GPU_TYPES_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    IS_DEDICATED_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_POOL_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULING_POLICY_JSON_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_CREDENTIAL_NAME_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    REGION_CONSTRAINT_FIELD_NUMBER: _ClassVar[int]
    MAX_NODES_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    pool_name: str
    allowed_gpu_types: _containers.RepeatedScalarFieldContainer[str]
    max_cost_per_hour: float
    is_dedicated: bool
    provider_pool_id: str
    scheduling_policy_json: str
    provider_credential_name: str
    gpu_count: int
    region_constraint: _containers.RepeatedScalarFieldContainer[str]
    max_nodes: int
    is_active: bool
    update_mask: _field_mask_pb2.FieldMask
    etag: str
    request_id: str
    def __init__(self, pool_id: _Optional[str] = ..., pool_name: _Optional[str] = ..., allowed_gpu_types: _Optional[_Iterable[str]] = ..., max_cost_per_hour: _Optional[float] = ..., is_dedicated: _Optional[bool] = ..., provider_pool_id: _Optional[str] = ..., scheduling_policy_json: _Optional[str] = ..., provider_credential_name: _Optional[str] = ..., gpu_count: _Optional[int] = ..., region_constraint: _Optional[_Iterable[str]] = ..., max_nodes: _Optional[int] = ..., is_active: _Optional[bool] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeletePoolRequest(_message.Message):
    __slots__ = ("pool_id", "force", "etag", "request_id")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    force: bool
    etag: str
    request_id: str
    def __init__(self, pool_id: _Optional[str] = ..., force: _Optional[bool] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeletePoolResponse(_message.Message):
    __slots__ = ("pool_id", "status")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[DeletePoolResponse.Status]
        DELETED: _ClassVar[DeletePoolResponse.Status]
        DELETING: _ClassVar[DeletePoolResponse.Status]
    STATUS_UNSPECIFIED: DeletePoolResponse.Status
    DELETED: DeletePoolResponse.Status
    DELETING: DeletePoolResponse.Status
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    status: DeletePoolResponse.Status
    def __init__(self, pool_id: _Optional[str] = ..., status: _Optional[_Union[DeletePoolResponse.Status, str]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("node_id", "pool_id", "provider", "provider_instance_id", "state", "gpu_type", "gpu_total", "gpu_allocated", "vcpu_total", "vcpu_allocated", "ram_gb_total", "ram_gb_allocated", "health_score", "expose_url", "price_per_hour", "hostname", "last_heartbeat_at", "created_at", "incarnation", "region")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Node.State]
        PROVISIONING: _ClassVar[Node.State]
        READY: _ClassVar[Node.State]
        BUSY: _ClassVar[Node.State]
        DRAINING: _ClassVar[Node.State]
        UNHEALTHY: _ClassVar[Node.State]
        LOST: _ClassVar[Node.State]
        TERMINATED: _ClassVar[Node.State]
        FAILED: _ClassVar[Node.State]
    STATE_UNSPECIFIED: Node.State
    PROVISIONING: Node.State
    READY: Node.State
    BUSY: Node.State
    DRAINING: Node.State
    UNHEALTHY: Node.State
    LOST: Node.State
    TERMINATED: Node.State
    FAILED: Node.State
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_TOTAL_FIELD_NUMBER: _ClassVar[int]
    GPU_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    VCPU_TOTAL_FIELD_NUMBER: _ClassVar[int]
    VCPU_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    RAM_GB_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RAM_GB_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    HEALTH_SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPOSE_URL_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    pool_id: str
    provider: str
    provider_instance_id: str
    state: Node.State
    gpu_type: str
    gpu_total: int
    gpu_allocated: int
    vcpu_total: float
    vcpu_allocated: float
    ram_gb_total: float
    ram_gb_allocated: float
    health_score: float
    expose_url: str
    price_per_hour: float
    hostname: str
    last_heartbeat_at: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    incarnation: int
    region: str
    def __init__(self, node_id: _Optional[str] = ..., pool_id: _Optional[str] = ..., provider: _Optional[str] = ..., provider_instance_id: _Optional[str] = ..., state: _Optional[_Union[Node.State, str]] = ..., gpu_type: _Optional[str] = ..., gpu_total: _Optional[int] = ..., gpu_allocated: _Optional[int] = ..., vcpu_total: _Optional[float] = ..., vcpu_allocated: _Optional[float] = ..., ram_gb_total: _Optional[float] = ..., ram_gb_allocated: _Optional[float] = ..., health_score: _Optional[float] = ..., expose_url: _Optional[str] = ..., price_per_hour: _Optional[float] = ..., hostname: _Optional[str] = ..., last_heartbeat_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., incarnation: _Optional[int] = ..., region: _Optional[str] = ...) -> None: ...

class ListPoolInventoryRequest(_message.Message):
    __slots__ = ("pool_id", "show_terminated", "page_size", "page_token")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    SHOW_TERMINATED_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    show_terminated: bool
    page_size: int
    page_token: str
    def __init__(self, pool_id: _Optional[str] = ..., show_terminated: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPoolInventoryResponse(_message.Message):
    __slots__ = ("pool_id", "nodes", "next_page_token", "total_size")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    next_page_token: str
    total_size: int
    def __init__(self, pool_id: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class RegisterNodeRequest(_message.Message):
    __slots__ = ("provider", "provider_instance_id", "pool_id", "gpu_type", "gpu_total", "vcpu_total", "ram_gb_total", "expose_url", "price_per_hour", "hostname", "incarnation", "request_id", "region")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_TOTAL_FIELD_NUMBER: _ClassVar[int]
    VCPU_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RAM_GB_TOTAL_FIELD_NUMBER: _ClassVar[int]
    EXPOSE_URL_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    provider: str
    provider_instance_id: str
    pool_id: str
    gpu_type: str
    gpu_total: int
    vcpu_total: float
    ram_gb_total: float
    expose_url: str
    price_per_hour: float
    hostname: str
    incarnation: int
    request_id: str
    region: str
    def __init__(self, provider: _Optional[str] = ..., provider_instance_id: _Optional[str] = ..., pool_id: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_total: _Optional[int] = ..., vcpu_total: _Optional[float] = ..., ram_gb_total: _Optional[float] = ..., expose_url: _Optional[str] = ..., price_per_hour: _Optional[float] = ..., hostname: _Optional[str] = ..., incarnation: _Optional[int] = ..., request_id: _Optional[str] = ..., region: _Optional[str] = ...) -> None: ...

class RegisterNodeResponse(_message.Message):
    __slots__ = ("node_id", "status", "interval_seconds", "node")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[RegisterNodeResponse.Status]
        REGISTERED: _ClassVar[RegisterNodeResponse.Status]
    STATUS_UNSPECIFIED: RegisterNodeResponse.Status
    REGISTERED: RegisterNodeResponse.Status
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    status: RegisterNodeResponse.Status
    interval_seconds: float
    node: Node
    def __init__(self, node_id: _Optional[str] = ..., status: _Optional[_Union[RegisterNodeResponse.Status, str]] = ..., interval_seconds: _Optional[float] = ..., node: _Optional[_Union[Node, _Mapping]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("provider", "provider_instance_id", "gpu_allocated", "vcpu_allocated", "ram_gb_allocated", "health_score", "state", "expose_url", "pool_id", "gpu_type", "gpu_total", "vcpu_total", "ram_gb_total", "incarnation", "sequence", "telemetry", "hostname", "price_per_hour", "region")
    class TelemetryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    VCPU_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    RAM_GB_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    HEALTH_SCORE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EXPOSE_URL_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_TOTAL_FIELD_NUMBER: _ClassVar[int]
    VCPU_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RAM_GB_TOTAL_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    provider: str
    provider_instance_id: str
    gpu_allocated: int
    vcpu_allocated: float
    ram_gb_allocated: float
    health_score: float
    state: str
    expose_url: str
    pool_id: str
    gpu_type: str
    gpu_total: int
    vcpu_total: float
    ram_gb_total: float
    incarnation: int
    sequence: int
    telemetry: _containers.ScalarMap[str, float]
    hostname: str
    price_per_hour: float
    region: str
    def __init__(self, provider: _Optional[str] = ..., provider_instance_id: _Optional[str] = ..., gpu_allocated: _Optional[int] = ..., vcpu_allocated: _Optional[float] = ..., ram_gb_allocated: _Optional[float] = ..., health_score: _Optional[float] = ..., state: _Optional[str] = ..., expose_url: _Optional[str] = ..., pool_id: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_total: _Optional[int] = ..., vcpu_total: _Optional[float] = ..., ram_gb_total: _Optional[float] = ..., incarnation: _Optional[int] = ..., sequence: _Optional[int] = ..., telemetry: _Optional[_Mapping[str, float]] = ..., hostname: _Optional[str] = ..., price_per_hour: _Optional[float] = ..., region: _Optional[str] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("status", "node_id", "interval_seconds", "message")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    status: str
    node_id: str
    interval_seconds: float
    message: str
    def __init__(self, status: _Optional[str] = ..., node_id: _Optional[str] = ..., interval_seconds: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ("provider", "show_terminated", "page_size", "page_token")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SHOW_TERMINATED_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provider: str
    show_terminated: bool
    page_size: int
    page_token: str
    def __init__(self, provider: _Optional[str] = ..., show_terminated: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes", "next_page_token", "total_size")
    NODES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    next_page_token: str
    total_size: int
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class ProviderInfo(_message.Message):
    __slots__ = ("name", "kind", "supports_log_streaming", "supports_spot", "supports_multi_gpu", "supports_multi_node", "is_ephemeral", "pricing_model", "engines", "is_available", "unavailable_reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_LOG_STREAMING_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_SPOT_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_MULTI_GPU_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_MULTI_NODE_FIELD_NUMBER: _ClassVar[int]
    IS_EPHEMERAL_FIELD_NUMBER: _ClassVar[int]
    PRICING_MODEL_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    IS_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    supports_log_streaming: bool
    supports_spot: bool
    supports_multi_gpu: bool
    supports_multi_node: bool
    is_ephemeral: bool
    pricing_model: str
    engines: _containers.RepeatedScalarFieldContainer[str]
    is_available: bool
    unavailable_reason: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., supports_log_streaming: _Optional[bool] = ..., supports_spot: _Optional[bool] = ..., supports_multi_gpu: _Optional[bool] = ..., supports_multi_node: _Optional[bool] = ..., is_ephemeral: _Optional[bool] = ..., pricing_model: _Optional[str] = ..., engines: _Optional[_Iterable[str]] = ..., is_available: _Optional[bool] = ..., unavailable_reason: _Optional[str] = ...) -> None: ...

class ListProvidersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListProvidersResponse(_message.Message):
    __slots__ = ("providers",)
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    providers: _containers.RepeatedCompositeFieldContainer[ProviderInfo]
    def __init__(self, providers: _Optional[_Iterable[_Union[ProviderInfo, _Mapping]]] = ...) -> None: ...

class ProviderResource(_message.Message):
    __slots__ = ("provider", "provider_resource_id", "gpu_type", "gpu_count", "gpu_memory_gb", "vcpu", "ram_gb", "region", "pricing_model", "price_per_hour", "available_count", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_RESOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    GPU_TYPE_FIELD_NUMBER: _ClassVar[int]
    GPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    VCPU_FIELD_NUMBER: _ClassVar[int]
    RAM_GB_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PRICING_MODEL_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    provider: str
    provider_resource_id: str
    gpu_type: str
    gpu_count: int
    gpu_memory_gb: float
    vcpu: int
    ram_gb: float
    region: str
    pricing_model: str
    price_per_hour: float
    available_count: int
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, provider: _Optional[str] = ..., provider_resource_id: _Optional[str] = ..., gpu_type: _Optional[str] = ..., gpu_count: _Optional[int] = ..., gpu_memory_gb: _Optional[float] = ..., vcpu: _Optional[int] = ..., ram_gb: _Optional[float] = ..., region: _Optional[str] = ..., pricing_model: _Optional[str] = ..., price_per_hour: _Optional[float] = ..., available_count: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListProviderResourcesRequest(_message.Message):
    __slots__ = ("provider", "page_size", "page_token")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    provider: str
    page_size: int
    page_token: str
    def __init__(self, provider: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ProviderFailure(_message.Message):
    __slots__ = ("provider", "error")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    provider: str
    error: str
    def __init__(self, provider: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class ListProviderResourcesResponse(_message.Message):
    __slots__ = ("resources", "errors", "next_page_token", "total_size")
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[ProviderResource]
    errors: _containers.RepeatedCompositeFieldContainer[ProviderFailure]
    next_page_token: str
    total_size: int
    def __init__(self, resources: _Optional[_Iterable[_Union[ProviderResource, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[ProviderFailure, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...
