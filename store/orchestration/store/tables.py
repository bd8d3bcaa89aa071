"""The tables. Those of records have one column per field of their class; the rest are the store's own books."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.sql.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from orchestration.store.records import Deployment, Model, Node, Pool, Record, Replica

metadata = MetaData()

_COLUMN_TYPES: dict[type, type[TypeEngine[typing.Any]]] = {
    bool: Boolean,
    float: Double,
    int: BigInteger,
    str: Text,
    tuple: JSON,
    Mapping: JSON,
}


def field_type(annotation: object) -> tuple[type, bool]:
    """The plain type of a field's annotation (``tuple[str, ...]`` -> ``tuple``), and whether None is allowed."""
    arguments = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType):
        (plain,) = [argument for argument in arguments if argument is not type(None)]
        return plain, True
    return typing.get_origin(annotation) or typing.cast("type", annotation), False


def _column(name: str, annotation: object) -> Column[typing.Any]:
    plain, nullable = field_type(annotation)
    column_type = Text if issubclass(plain, StrEnum) else _COLUMN_TYPES[plain]
    if name == "id":
        return Column(name, column_type, primary_key=True)
    return Column(name, column_type, nullable=nullable)


def _table(name: str, cls: type[Record], *items: SchemaItem) -> Table:
    hints = typing.get_type_hints(cls)
    columns = [_column(field.name, hints[field.name]) for field in dataclasses.fields(cls)]
    return Table(name, metadata, *columns, *items)


def _foreign_key(name: str, column: str, target: str) -> ForeignKeyConstraint:
    # Deferred: the order in which one commit's rows are written does not matter then.
    return ForeignKeyConstraint([column], [target], name=name, deferrable=True, initially="DEFERRED")


pools = _table(
    "pools",
    Pool,
    UniqueConstraint("name", "owner_type", "owner_id", name="uq_pools_name"),
)
nodes = _table(
    "nodes",
    Node,
    UniqueConstraint("provider", "provider_instance_id", name="uq_nodes_instance"),
    _foreign_key("fk_nodes_pool", "pool_id", "pools.id"),
    Index("ix_nodes_pool_id", "pool_id"),
    Index("ix_nodes_last_heartbeat_at", "last_heartbeat_at"),
)
models = _table(
    "models",
    Model,
    UniqueConstraint("name", "model_version", name="uq_models_version"),
)
deployments = _table(
    "deployments",
    Deployment,
    Index("ix_deployments_pool_id", "pool_id"),
)
replicas = _table(
    "replicas",
    Replica,
    _foreign_key("fk_replicas_deployment", "deployment_id", "deployments.id"),
    Index("ix_replicas_deployment_id", "deployment_id"),
    Index(
        "uq_replicas_instance_name",
        "instance_name",
        unique=True,
        sqlite_where=text("instance_name <> ''"),
        postgresql_where=text("instance_name <> ''"),
    ),
)

TABLES: dict[type[Record], Table] = {
    Pool: pools,
    Node: nodes,
    Model: models,
    Deployment: deployments,
    Replica: replicas,
}

UNIQUE: dict[type[Record], tuple[str, tuple[str, ...]]] = {
    Pool: ("pool_name", ("name", "owner_type", "owner_id")),
    Node: ("node_instance", ("provider", "provider_instance_id")),
    Model: ("model_version", ("name", "model_version")),
    Replica: ("instance_name", ("instance_name",)),
}
"""Logical name and fields of each unique constraint; a key of empty strings alone is no key."""

PARENTS: dict[type[Record], tuple[type[Record], str]] = {
    Node: (Pool, "pool_id"),
    Replica: (Deployment, "deployment_id"),
}
"""Foreign keys: child -> parent and the child's field that names it. A deployment has none: it outlives its pool."""

TRAITS: dict[type[Record], tuple[str, ...]] = {
    Deployment: ("org_id", "pool_id", "model_name", "created_revision"),
}
"""Fields that the feed keeps of a record that is gone: whom it concerned can be told after a restart as well."""

store_meta = Table(
    "store_meta",
    metadata,
    Column("id", BigInteger, autoincrement=False),
    Column("installation_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("trimmed_revision", BigInteger, nullable=False),
    Column("probed_at", Double, nullable=False, server_default="0"),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="ck_store_meta_single"),
)
"""One row: who this installation is, the last revision given out, and the last one that the feed forgot.

``probed_at`` is written, and never read, to find out whether the database takes writes.
"""

changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("tombstone", Boolean, nullable=False),
    Column("parent", Text, nullable=False),
    Column("traits", JSON, nullable=False),
    Column("at", Double, nullable=False),
    PrimaryKeyConstraint("revision"),
    Index("ix_changes_at", "at"),
)

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("time", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("replica_id", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Index("ix_events_subject", "kind", "subject_id", "id"),
    Index("ix_events_time", "time"),
)

usage_intervals = Table(
    "usage_intervals",
    metadata,
    Column("instance_name", Text, primary_key=True),
    Column("deployment_id", Text, nullable=False),
    Column("replica_id", Text, nullable=False),
    Column("pool_id", Text, nullable=False),
    Column("price_per_hour", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double, nullable=True),
    Index("ix_usage_intervals_deployment_id", "deployment_id"),
    Index("ix_usage_intervals_ended_at", "ended_at"),
)
"""What was used, and at what price; kept after the deployment is gone."""

answers = Table(
    "answers",
    metadata,
    Column("scope", Text),
    Column("request_id", Text),
    Column("digest", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("scope", "request_id"),
    Index("ix_answers_created_at", "created_at"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)
