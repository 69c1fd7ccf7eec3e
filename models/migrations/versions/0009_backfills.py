"""Backfills: how far each is, who wanted it, what it has read; and which boards Redis has."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"

ID = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "backfills",
        sa.Column("backfill_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("parameters", JSONB(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("state", ID, nullable=False),
        sa.Column("step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cursor", JSONB(), nullable=True),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("rate_max", sa.Double(), nullable=True),
        sa.Column("running_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("counted_until", INSTANT, nullable=True),
        sa.Column("changes", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("next_at", INSTANT, nullable=False),
        sa.Column("planned_at", INSTANT, nullable=False),
        sa.Column("settled_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("backfill_id", name=op.f("pk_backfills")),
    )
    op.create_index(
        op.f("ix_backfills_next_at"),
        "backfills",
        ["next_at"],
        postgresql_where=sa.text("state in ('planned', 'running')"),
    )
    op.create_index(
        "uq_backfills_rebuild",
        "backfills",
        ["kind"],
        unique=True,
        postgresql_where=sa.text(
            "kind = 'rebuild-rankings' and settled_at is null and not dry_run"
        ),
    )
    op.create_table(
        "backfill_actions",
        sa.Column("action_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("backfill_id", sa.BigInteger(), nullable=False),
        sa.Column("action", ID, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("parameters", JSONB(), nullable=False),
        sa.Column("acted_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_backfill_actions")),
    )
    op.create_index(op.f("ix_backfill_actions_backfill_id"), "backfill_actions", ["backfill_id"])
    op.create_table(
        "backfill_rows",
        sa.Column("backfill_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("is_event", sa.Boolean(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("backfill_id", "user_id", "number", name=op.f("pk_backfill_rows")),
    )
    op.create_table(
        "backfill_refusals",
        sa.Column("backfill_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("backfill_id", "number", name=op.f("pk_backfill_refusals")),
    )
    op.create_table(
        "projected_boards",
        sa.Column("leaderboard", ID, nullable=False),
        sa.Column("since", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run", ID, nullable=False),
        sa.Column("segment", ID, nullable=False),
        sa.Column("ascending", sa.Boolean(), nullable=False),
        sa.Column("build", sa.Text(), nullable=True),
        sa.Column("lost_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint(
            "leaderboard", "since", "run", "segment", name=op.f("pk_projected_boards")
        ),
    )
