"""Run by Alembic, on the connection that `models.migrations.upgrade` hands in."""

from alembic import context

from models.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Locks are held for one revision, and indexes can be built beside those who write.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
