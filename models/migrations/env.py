"""Run by Alembic, on the connection that `models.migrations.upgrade` hands in."""

from alembic import context
from sqlalchemy import text

from models.tables import metadata

connection = context.config.attributes["connection"]
# Held until the transaction ends, so that processes which start together migrate once.
connection.execute(text("select pg_advisory_xact_lock(24228, 0)"))
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
