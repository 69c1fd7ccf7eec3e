"""Indexes of tables that have rows, built beside those who read and write them."""

from __future__ import annotations

from alembic import op

from models.migrations import LOCK_MILLISECONDS_MAX


def build_index(table: str, *columns: str) -> None:
    """Build an index beside everyone, however many rows there are; call it alone in a migration.

    It commits what the migration did before. Killed on the way it leaves an index behind that
    Postgres does not use, which the next call replaces.
    """
    name = op.f(f"ix_{table}_{'_'.join(columns)}")
    with op.get_context().autocommit_block():
        # It waits for the transactions that are open now, and nobody waits behind it.
        op.execute("set lock_timeout = 0")
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True)
        op.execute(f"set lock_timeout = {LOCK_MILLISECONDS_MAX}")
