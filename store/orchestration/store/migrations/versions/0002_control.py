"""Costs, rollback, regions, offers, how an attempt is probed, and whose child a change is of."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DOUBLE: sa.Double[float] = sa.Double()


def upgrade() -> None:
    """Add columns, each with what it means for the rows that are there, and the table of what was used."""
    _add("deployments", DOUBLE, "0", "accrued_cost")
    _add("deployments", sa.BigInteger(), "0", "stable_generation", "failed_generation", "created_revision")
    _add("deployments", DOUBLE, "0", "failed_at")
    _add("deployments", sa.Text(), "", "failed_reason", "failed_message")
    _add("deployments", sa.Text(), "", "requested_engine", "requested_inference_model")
    _add("deployments", sa.JSON(), "{}", "stable_template")
    _add("replicas", sa.Text(), "", "resource_id", "pricing_model", "models_path", "served_model")
    _add("replicas", DOUBLE, "0", "billed_from", "startup_timeout_s", "waits_since")
    _add("nodes", sa.Text(), "", "region")
    _add("changes", sa.Text(), "", "parent")
    _add("changes", sa.JSON(), "{}", "traits")
    _add("store_meta", DOUBLE, "0", "probed_at")
    op.create_table(
        "usage_intervals",
        sa.Column("instance_name", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("replica_id", sa.Text(), nullable=False),
        sa.Column("pool_id", sa.Text(), nullable=False),
        sa.Column("price_per_hour", DOUBLE, nullable=False),
        sa.Column("started_at", DOUBLE, nullable=False),
        sa.Column("ended_at", DOUBLE, nullable=True),
        sa.PrimaryKeyConstraint("instance_name"),
    )
    op.create_index("ix_usage_intervals_deployment_id", "usage_intervals", ["deployment_id"], unique=False)
    op.create_index("ix_usage_intervals_ended_at", "usage_intervals", ["ended_at"], unique=False)

    _tell_what_was_chosen("engine", "backend")
    _tell_what_was_chosen("inference_model", "artifact_uri")


def _tell_what_was_chosen(field: str, source: str) -> None:
    """Take for the caller's choice whatever differs from the registered model: that is where the rest came from."""
    requested = f"requested_{field}"
    deployments = sa.table("deployments", sa.column("model_id"), sa.column(field), sa.column(requested))
    models = sa.table("models", sa.column("id"), sa.column(source))
    same = sa.exists().where(models.c.id == deployments.c.model_id, models.c[source] == deployments.c[field])
    op.execute(sa.update(deployments).where(~same).values({requested: deployments.c[field]}))


def _add(table: str, kind: sa.types.TypeEngine[Any], value: str, *names: str) -> None:
    for name in names:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=value))
