"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DOUBLE: sa.Double[float] = sa.Double()


def upgrade() -> None:
    """Create every table, referenced ones before those that refer to them."""
    _create_answers()
    _create_changes()
    _create_events()
    _create_leases()
    _create_models()
    _create_pools()
    _create_store_meta()
    _create_deployments()
    _create_nodes()
    _create_replicas()


def _create_answers() -> None:
    op.create_table(
        "answers",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("scope", "request_id"),
    )
    op.create_index("ix_answers_created_at", "answers", ["created_at"], unique=False)


def _create_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tombstone", sa.Boolean(), nullable=False),
        sa.Column("at", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("revision"),
    )
    op.create_index("ix_changes_at", "changes", ["at"], unique=False)


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("time", DOUBLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("replica_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_events_subject", "events", ["kind", "subject_id", "id"], unique=False)
    op.create_index("ix_events_time", "events", ["time"], unique=False)


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _create_models() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", DOUBLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("artifact_uri", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("artifact_digest", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "model_version", name="uq_models_version"),
    )


def _create_pools() -> None:
    op.create_table(
        "pools",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", DOUBLE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_type", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("allowed_gpu_types", sa.JSON(), nullable=False),
        sa.Column("max_cost_per_hour", DOUBLE, nullable=False),
        sa.Column("is_dedicated", sa.Boolean(), nullable=False),
        sa.Column("provider_pool_id", sa.Text(), nullable=False),
        sa.Column("scheduling_policy_json", sa.Text(), nullable=False),
        sa.Column("provider_credential_name", sa.Text(), nullable=False),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("region_constraint", sa.JSON(), nullable=False),
        sa.Column("max_nodes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "owner_type", "owner_id", name="uq_pools_name"),
    )


def _create_store_meta() -> None:
    op.create_table(
        "store_meta",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("installation_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("trimmed_revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_store_meta_single"),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", DOUBLE, nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=False),
        sa.Column("fallback_pool_ids", sa.JSON(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("desired", sa.Text(), nullable=False),
        sa.Column("replicas", sa.BigInteger(), nullable=False),
        sa.Column("gpu_per_replica", sa.BigInteger(), nullable=False),
        sa.Column("workload_type", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("inference_model", sa.Text(), nullable=False),
        sa.Column("configuration", sa.JSON(), nullable=False),
        sa.Column("requested_configuration", sa.JSON(), nullable=False),
        sa.Column("env", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("max_surge", sa.BigInteger(), nullable=False),
        sa.Column("max_unavailable", sa.BigInteger(), nullable=False),
        sa.Column("restart_condition", sa.Text(), nullable=False),
        sa.Column("restart_max_attempts", sa.BigInteger(), nullable=False),
        sa.Column("restart_window_s", DOUBLE, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("complete_generation", sa.BigInteger(), nullable=False),
        sa.Column("observed_status", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_deployments_pool_id", "deployments", ["pool_id"], unique=False)


def _create_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", DOUBLE, nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_instance_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reported_state", sa.Text(), nullable=False),
        sa.Column("managed", sa.Boolean(), nullable=False),
        sa.Column("gpu_type", sa.Text(), nullable=False),
        sa.Column("gpu_total", sa.BigInteger(), nullable=False),
        sa.Column("gpu_reported", sa.BigInteger(), nullable=False),
        sa.Column("vcpu_total", DOUBLE, nullable=False),
        sa.Column("vcpu_allocated", DOUBLE, nullable=False),
        sa.Column("ram_gb_total", DOUBLE, nullable=False),
        sa.Column("ram_gb_allocated", DOUBLE, nullable=False),
        sa.Column("health_score", DOUBLE, nullable=False),
        sa.Column("expose_url", sa.Text(), nullable=False),
        sa.Column("price_per_hour", DOUBLE, nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_heartbeat_at", DOUBLE, nullable=False),
        sa.Column("telemetry", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name="fk_nodes_pool", initially="DEFERRED", deferrable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider", "provider_instance_id", name="uq_nodes_instance"),
    )
    op.create_index("ix_nodes_last_heartbeat_at", "nodes", ["last_heartbeat_at"], unique=False)
    op.create_index("ix_nodes_pool_id", "nodes", ["pool_id"], unique=False)


def _create_replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", DOUBLE, nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("restarts", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("instance_name", sa.Text(), nullable=False),
        sa.Column("provider_instance_id", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("health_path", sa.Text(), nullable=False),
        sa.Column("gpu_count", sa.BigInteger(), nullable=False),
        sa.Column("price_per_hour", DOUBLE, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("retry_at", DOUBLE, nullable=False),
        sa.Column("placed_at", DOUBLE, nullable=False),
        sa.Column("started_at", DOUBLE, nullable=False),
        sa.Column("ready_at", DOUBLE, nullable=False),
        sa.Column("state_changed_at", DOUBLE, nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name="fk_replicas_deployment", initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_replicas_deployment_id", "replicas", ["deployment_id"], unique=False)
    op.create_index(
        "uq_replicas_instance_name",
        "replicas",
        ["instance_name"],
        unique=True,
        sqlite_where=sa.text("instance_name <> ''"),
        postgresql_where=sa.text("instance_name <> ''"),
    )
