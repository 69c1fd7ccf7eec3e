"""Loads of the warehouse: which transaction wrote a row, and what was taken away since."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

THIS_TRANSACTION = "pg_current_xact_id()::text::bigint"
INSTANT = sa.DateTime(timezone=True)
KEPT = ("users", "events")
CORRECTED = ("streak_chains", "point_entries", "achievements", "notices", "final_standings")

# What one transaction writes and removes again nobody has seen.
KEEP_REMOVED = f"""
create function keep_removed() returns trigger language plpgsql as $$
begin
    insert into removed_rows (source, txid, removed_txid, body)
    select tg_table_name, gone.txid, this.txid, to_jsonb(gone)
    from gone cross join (select {THIS_TRANSACTION} as txid) as this
    where gone.txid <> this.txid;
    return null;
end
$$
"""


def upgrade() -> None:
    for table in (*KEPT, *CORRECTED):
        # A constant first: what is there needs no transaction of its own, and no rewriting.
        op.add_column(table, sa.Column("txid", sa.BigInteger(), server_default="0", nullable=False))
        op.alter_column(table, "txid", server_default=sa.text(THIS_TRANSACTION))
        op.create_index(op.f(f"ix_{table}_txid"), table, ["txid"])
    op.add_column("users", sa.Column("number", sa.BigInteger(), sa.Identity(), nullable=False))
    op.create_unique_constraint(op.f("uq_users_number"), "users", ["number"])
    op.create_table(
        "removed_rows",
        sa.Column("removed_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("txid", sa.BigInteger(), nullable=False),
        sa.Column("removed_txid", sa.BigInteger(), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("removed_id", name=op.f("pk_removed_rows")),
    )
    for column in ("txid", "removed_txid"):
        op.create_index(
            op.f(f"ix_removed_rows_source_{column}"), "removed_rows", ["source", column]
        )
    op.execute(KEEP_REMOVED)
    for table in CORRECTED:
        for event in ("delete", "update"):
            op.execute(
                f"create trigger keep_{event}d after {event} on {table} "
                "referencing old table as gone for each statement execute function keep_removed()"
            )
    op.create_table(
        "loads",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("from_txid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("to_txid", sa.BigInteger(), nullable=False),
        sa.Column("frozen_at", INSTANT, nullable=False),
        sa.Column("loaded_at", INSTANT, nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("source", "from_txid", name=op.f("pk_loads")),
        sa.CheckConstraint("to_txid > from_txid", name=op.f("ck_loads_range")),
    )
