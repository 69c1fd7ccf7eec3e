"""The tables of Postgres, which decides what is true.

Facts are `events`, `user_zones`, `user_fields` and `programs`. All else follows from them: the
state of each user (`users.state`), by which the next event is judged and from which rankings are
read, and what lies behind it (`metric_days`, `streak_chains`) or tells how it came about
(`point_entries`). A transaction that changes anything of a user holds the lock of the user's row in
`users`, so every other row of that user is under that one lock.

Texts compare byte by byte (collation "C"): the order of ids must be the one that Redis has (S44).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

ID = Text(collation="C")
AMOUNT = Numeric(20, 4)
"""A decimal with 4 places, wide enough for 2**53 units of 0.0001 and for sums on the way there."""
INSTANT = DateTime(timezone=True)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

programs = Table(
    "programs",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("toml", Text, nullable=False),
    Column("canonical", Text, nullable=False),
    Column("applied_at", INSTANT, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("first_seen_at", INSTANT, nullable=False),
    # `models.rules.state.UserState` as JSON; tuples are arrays. Text, because to read and write
    # jsonb takes half as long again and only people look into it here: `state::jsonb`. Never
    # compressed, for the same reason, and in the row itself as long as a page holds it.
    Column("state", Text, nullable=False),
    postgresql_with={"fillfactor": "70", "toast_tuple_target": "8160"},
)

user_zones = Table(
    "user_zones",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("since", INSTANT, primary_key=True),
    Column("tz", Text, nullable=False),
)

user_fields = Table(
    "user_fields",
    metadata,
    Column("user_id", ID, primary_key=True),
    # "email", "name", or "attributes." and the attribute's name
    Column("field", ID, primary_key=True),
    Column("value", ID, nullable=False),
    Column("told_at", INSTANT, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("metric", ID, primary_key=True),
    Column("key", ID, primary_key=True),
    Column("value", AMOUNT, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    # False where `occurred_at` was left to default, and so is not content (S11)
    Column("occurred_at_told", Boolean, nullable=False),
    Column("local_date", Date, nullable=False),
    Column("attributes", JSONB),
    Column("program_version", Integer, nullable=False),
    Column("received_at", INSTANT, nullable=False),
    Column("applied_at", INSTANT, nullable=False, server_default=func.now()),
)

rejected_events = Table(
    "rejected_events",
    metadata,
    # of the event as it came and the reason, so that a message that comes again adds nothing
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", ID),
    Column("metric", ID),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("event", JSONB, nullable=False),
    Column("program_version", Integer, nullable=False),
    Column("received_at", INSTANT, nullable=False),
    Column("rejected_at", INSTANT, nullable=False, server_default=func.now()),
    Index(None, "rejected_at"),
)

event_counts = Table(
    "event_counts",
    metadata,
    # Batches that run side by side count in rows of their own instead of waiting for one another.
    Column("shard", SmallInteger, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("events", BigInteger, nullable=False),
)

metric_days = Table(
    "metric_days",
    metadata,
    Column("user_id", ID, primary_key=True),
    # a local day before the user's latest one, which is part of the state until the next begins
    Column("local_date", Date, primary_key=True),
    Column("metric", ID, primary_key=True),
    Column("value", AMOUNT, nullable=False),
    Column("events", BigInteger, nullable=False),
)

streak_chains = Table(
    "streak_chains",
    metadata,
    # every chain before the latest one, which is part of the state
    Column("user_id", ID, primary_key=True),
    Column("streak", ID, primary_key=True),
    Column("started_on", Date, primary_key=True),
    Column("ended_on", Date, nullable=False),
    Column("length", Integer, nullable=False),
    CheckConstraint("length >= 1 and ended_on >= started_on", name="chain"),
)

point_entries = Table(
    "point_entries",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("points", ID, primary_key=True),
    Column("trigger", ID, primary_key=True),
    Column("since", Integer, primary_key=True),
    # the key of the event that earned it
    Column("cause", ID, primary_key=True),
    Column("amount", AMOUNT, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    CheckConstraint("amount <> 0", name="amount"),
)

boards = Table(
    "boards",
    metadata,
    Column("board_id", Integer, Identity(), primary_key=True),
    Column("leaderboard", ID, nullable=False),
    Column("run", ID, nullable=False),
    Column("segment", ID, nullable=False),
    # the program version that brought this definition in: a changed leaderboard is a new one
    Column("since", Integer, nullable=False),
    # where the least score is the best
    Column("ascending", Boolean, nullable=False),
    UniqueConstraint("leaderboard", "run", "segment", "since"),
)

touched_boards = Table(
    "touched_boards",
    metadata,
    # what a batch changed and Redis may not show yet; deleted once it is projected
    Column("touch_id", BigInteger, Identity(), primary_key=True),
    Column("board_id", Integer, nullable=False),
    # `models.rules.rankings.Scores` as JSON, or null where those of these users are to be read
    Column("scores", Text),
    Column("user_ids", ARRAY(ID)),
    Column("touched_at", INSTANT, nullable=False, server_default=func.now()),
    CheckConstraint("(scores is null) <> (user_ids is null)", name="scores"),
)

dead_messages = Table(
    "dead_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("queue", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("error", Text, nullable=False),
    Column("died_at", INSTANT, nullable=False, server_default=func.now()),
)

tick_runs = Table(
    "tick_runs",
    metadata,
    # a slot is the instant for which the tick rang; whoever inserts it first runs the sweep
    Column("tick", Text, primary_key=True),
    Column("slot", INSTANT, primary_key=True),
    Column("ran_at", INSTANT, nullable=False, server_default=func.now()),
)
