"""What a fold of all rules decides; everyone's state is folded anew, from the ledger.

What was derived by the rules before is dropped: it follows from the facts, which stay.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0002"
down_revision = "0001"

ID = sa.Text(collation="C")
AMOUNT = sa.Numeric(precision=20, scale=4)
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table in ("metric_days", "streak_chains", "point_entries", "touched_boards", "boards"):
        op.drop_table(table)
    op.add_column("users", sa.Column("stamp", sa.Text(), nullable=False, server_default=""))
    op.alter_column("users", "stamp", server_default=None)
    op.add_column("events", sa.Column("tz", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("user_attributes", JSONB(), nullable=True))
    op.create_index(op.f("ix_events_user_id_occurred_at"), "events", ["user_id", "occurred_at"])
    _create_facts()
    _create_decided()
    _create_boards()


def _create_facts() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "as_of", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "user_facts",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("fact_id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "fact_id", name=op.f("pk_user_facts")),
    )
    op.execute(
        "insert into user_facts (user_id, fact_id, kind, at, body, program_version, recorded_at)"
        " select user_id, 'zone-' || since || '-' || tz, 'told', since,"
        " jsonb_build_object('tz', tz), (select coalesce(max(version), 1) from programs), now()"
        " from user_zones"
    )
    op.execute(
        "insert into user_facts (user_id, fact_id, kind, at, body, program_version, recorded_at)"
        " select user_id, 'field-' || field || '-' || told_at, 'told', told_at,"
        " jsonb_build_object('attributes', jsonb_build_object(substr(field, 12), value)),"
        " (select coalesce(max(version), 1) from programs), now()"
        " from user_fields where field like 'attributes.%'"
    )
    op.drop_table("user_zones")


def _create_decided() -> None:
    op.create_table(
        "streak_chains",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("streak", ID, nullable=False),
        sa.Column("started_on", sa.Date(), nullable=False),
        sa.Column("ended_on", sa.Date(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "length >= 1 and ended_on >= started_on", name=op.f("ck_streak_chains_chain")
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "streak", "started_on", "decided_at", name=op.f("pk_streak_chains")
        ),
    )
    op.create_table(
        "point_entries",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("points", ID, nullable=False),
        sa.Column("trigger", ID, nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("cause", ID, nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("base", AMOUNT, nullable=False),
        sa.Column("boosts", sa.Text(), nullable=True),
        sa.Column("clipped", AMOUNT, nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "decided_at", "number", name=op.f("pk_point_entries")),
    )
    op.create_table(
        "achievements",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("key", ID, nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("completed_at", INSTANT, nullable=False),
        sa.Column("backdated", sa.Boolean(), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_achievements")),
    )
    op.create_table(
        "notices",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("cause", ID, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("silent", sa.Boolean(), nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.Column("written_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "kind", "cause", name=op.f("pk_notices")),
    )


def _create_boards() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("leaderboard", ID, nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("run", ID, nullable=False),
        sa.Column("opens_at", INSTANT, nullable=False),
        sa.Column("closes_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint(
            "leaderboard", "since", "run", name=op.f("uq_runs_leaderboard_since_run")
        ),
    )
    op.create_table(
        "run_scores",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("score", AMOUNT, nullable=False),
        sa.Column("reached_at", INSTANT, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "user_id", name=op.f("pk_run_scores")),
    )
    op.create_index(op.f("ix_run_scores_user_id"), "run_scores", ["user_id"])
    op.create_table(
        "touched_boards",
        sa.Column("touch_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scores", sa.Text(), nullable=True),
        sa.Column("user_ids", ARRAY(ID), nullable=True),
        sa.Column("touched_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint(
            "(scores is null) <> (user_ids is null)", name=op.f("ck_touched_boards_scores")
        ),
        sa.PrimaryKeyConstraint("touch_id", name=op.f("pk_touched_boards")),
    )
    for table, column in (("touched_boards", "scores"), ("checkpoints", "state")):
        op.execute(f"alter table {table} alter column {column} set storage external")
