"""Run by Alembic: migrates the connection that ``orchestration.store.migrate`` hands over, in its transaction."""

from alembic import context

from orchestration.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
