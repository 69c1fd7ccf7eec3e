"""Runs become final: when, and with which standings."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("runs", sa.Column("final_at", INSTANT, nullable=True))
    # The default of `late`; no run was final before.
    op.execute("update runs set final_at = closes_at + interval '12 hours'")
    op.alter_column("runs", "final_at", nullable=False)
    op.add_column("runs", sa.Column("finalized_at", INSTANT, nullable=True))
    op.create_index(
        op.f("ix_runs_final_at"),
        "runs",
        ["final_at"],
        postgresql_where=sa.text("finalized_at is null"),
    )
    op.create_table(
        "final_standings",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("segment", ID, nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("score", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("reached_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "segment", "rank", name=op.f("pk_final_standings")),
        sa.UniqueConstraint(
            "run_id", "segment", "user_id", name=op.f("uq_final_standings_run_id_segment_user_id")
        ),
    )
