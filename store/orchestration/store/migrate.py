"""Brings a database's schema up to date when it is opened."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from orchestration.store.errors import StoreOpenError

_MIGRATION_LOCK = 0x6F726368  # of PostgreSQL's advisory locks; any number that others do not use
_PATIENCE = "60s"
"""How long PostgreSQL waits between two steps of a migration: one that is cut off is undone, and the start fails."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def known_revisions() -> list[str]:
    """Every schema revision that this version knows, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def migrate(connection: Connection, name: str) -> None:
    """Migrate inside the open write transaction; another process that opens the database meanwhile waits.

    Raises StoreOpenError when the schema is newer than this version, or when the database is not one of ours.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{_PATIENCE}'"))
    current = MigrationContext.configure(connection).get_current_revision()
    known = known_revisions()
    if current == known[-1]:
        return
    if current is not None and current not in known:
        raise StoreOpenError(
            f"database {name} has schema {current}, this version knows up to {known[-1]}: "
            "upgrade the gateway, or restore the backup"
        )
    if current is None and "pools" in inspect(connection).get_table_names():
        raise StoreOpenError(f"database {name} has tables of another program: give a database of its own")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
