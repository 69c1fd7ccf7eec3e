"""Events, and all that follows from them up to the rankings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None

ID = sa.Text(collation="C")
AMOUNT = sa.Numeric(precision=20, scale=4)
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "boards",
        sa.Column("board_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("leaderboard", ID, nullable=False),
        sa.Column("run", ID, nullable=False),
        sa.Column("segment", ID, nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("ascending", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("board_id", name=op.f("pk_boards")),
        sa.UniqueConstraint(
            "leaderboard",
            "run",
            "segment",
            "since",
            name=op.f("uq_boards_leaderboard_run_segment_since"),
        ),
    )
    op.create_table(
        "dead_messages",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("died_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_dead_messages")),
    )
    op.create_table(
        "event_counts",
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "outcome", name=op.f("pk_event_counts")),
    )
    op.create_table(
        "events",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("metric", ID, nullable=False),
        sa.Column("key", ID, nullable=False),
        sa.Column("value", AMOUNT, nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("occurred_at_told", sa.Boolean(), nullable=False),
        sa.Column("local_date", sa.Date(), nullable=False),
        sa.Column("attributes", JSONB(), nullable=True),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("applied_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "metric", "key", name=op.f("pk_events")),
    )
    op.create_table(
        "metric_days",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("local_date", sa.Date(), nullable=False),
        sa.Column("metric", ID, nullable=False),
        sa.Column("value", AMOUNT, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "local_date", "metric", name=op.f("pk_metric_days")),
    )
    op.create_table(
        "point_entries",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("points", ID, nullable=False),
        sa.Column("trigger", ID, nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("cause", ID, nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_point_entries_amount")),
        sa.PrimaryKeyConstraint(
            "user_id", "points", "trigger", "since", "cause", name=op.f("pk_point_entries")
        ),
    )
    op.create_table(
        "programs",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("toml", sa.Text(), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=False),
        sa.Column("applied_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_programs")),
    )
    op.create_table(
        "rejected_events",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("metric", ID, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("event", JSONB(), nullable=False),
        sa.Column("program_version", sa.Integer(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("rejected_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_rejected_events")),
    )
    op.create_index(
        op.f("ix_rejected_events_rejected_at"), "rejected_events", ["rejected_at"], unique=False
    )
    op.create_table(
        "streak_chains",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("streak", ID, nullable=False),
        sa.Column("started_on", sa.Date(), nullable=False),
        sa.Column("ended_on", sa.Date(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "length >= 1 and ended_on >= started_on", name=op.f("ck_streak_chains_chain")
        ),
        sa.PrimaryKeyConstraint("user_id", "streak", "started_on", name=op.f("pk_streak_chains")),
    )
    op.create_table(
        "tick_runs",
        sa.Column("tick", sa.Text(), nullable=False),
        sa.Column("slot", INSTANT, nullable=False),
        sa.Column("ran_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("tick", "slot", name=op.f("pk_tick_runs")),
    )
    op.create_table(
        "touched_boards",
        sa.Column("touch_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("board_id", sa.Integer(), nullable=False),
        sa.Column("scores", sa.Text(), nullable=True),
        sa.Column("user_ids", ARRAY(ID), nullable=True),
        sa.Column("touched_at", INSTANT, server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint(
            "(scores is null) <> (user_ids is null)", name=op.f("ck_touched_boards_scores")
        ),
        sa.PrimaryKeyConstraint("touch_id", name=op.f("pk_touched_boards")),
    )
    op.create_table(
        "user_fields",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("field", ID, nullable=False),
        sa.Column("value", ID, nullable=False),
        sa.Column("told_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "field", name=op.f("pk_user_fields")),
    )
    op.create_table(
        "user_zones",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("tz", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "since", name=op.f("pk_user_zones")),
    )
    op.create_table(
        "users",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_users")),
        postgresql_with={"fillfactor": "70", "toast_tuple_target": "8160"},
    )
    # Compressing what is read and written all the time costs more than the space is worth.
    op.execute("alter table users alter column state set storage external")
    op.execute("alter table touched_boards alter column scores set storage external")
