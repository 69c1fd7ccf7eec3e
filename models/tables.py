"""The tables of Postgres, which decides what is true.

Facts are `events`, `user_facts` and `programs`. All else follows from them: the state of each user
(`users.state`), by which the next fact is judged, `checkpoints` of it, and the rows that a fold has
decided: `point_entries`, `achievements`, `notices`, `streak_chains`, `run_scores`. A transaction
that changes anything of a user holds the lock of the user's row in `users`, so every other row of
that user is under that one lock.

What a fold has decided is marked with the instant at which it was (`decided_at`): a late fact takes
away what was decided after it, and what is decided anew is written instead.

Events may leave for the warehouse. What a user's came to until then is an opening, from which the
ledger goes on; their keys stay, and what they come to by day.

What the warehouse loads carries the number of the transaction that wrote it (`txid`): a load is a
range of them. What is taken away of it stands in `removed_rows`, put there by triggers
(`models/migrations/versions/0006_loads.py`).

Emails are planned from notices and from what time brings, each once for its cause; what became of
each is kept.

What operators do to the past is a row in `backfills`, with who wanted it in `backfill_actions`.

Texts compare byte by byte (collation "C"): the order of ids must be the one that Redis has (S44).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

ID = Text(collation="C")
AMOUNT = Numeric(20, 4)
"""A decimal with 4 places, wide enough for 2**53 units of 0.0001 and for sums on the way there."""
INSTANT = DateTime(timezone=True)
THIS_TRANSACTION = text("pg_current_xact_id()::text::bigint")
"""The number of the transaction that writes, 64 bits wide: it is never used again."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def _txid() -> Column[int]:
    """Return the column that tells which transaction wrote a row."""
    return Column("txid", BigInteger, nullable=False, server_default=THIS_TRANSACTION, index=True)


def _by_day(column: str) -> Index:
    """Return the index that finds what the warehouse has of a day: rows come in about that order.

    It costs next to nothing to keep. Where rows came in another one, most of a table is read.
    """
    return Index(None, column, postgresql_using="brin")


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
    # of the code and the definitions that folded the state: another stamp, and it is folded anew
    Column("stamp", Text, nullable=False),
    # `models.rules.state.UserState` as JSON; tuples are arrays. Text, because to read and write
    # jsonb takes half as long again and only people look into it here: `state::jsonb`. Never
    # compressed, for the same reason, and in the row itself as long as a page holds it.
    Column("state", Text, nullable=False),
    # when time alone will next change the state: it stands there, too, and here to be found
    Column("due_at", INSTANT),
    # what time causes up to this instant is told to nobody: it was past when it was imported
    Column("quiet_until", INSTANT),
    # a small number for each: sets of users are bitmaps in the warehouse
    Column("number", BigInteger, Identity(), nullable=False, unique=True),
    # no later than when time next makes an email due
    Column("mail_at", INSTANT),
    # no fact of this instant or before it is taken any more: events of then may have left
    Column("closed_until", INSTANT),
    _txid(),
    _by_day("first_seen_at"),
    # nearly always all have the same: it finds the others
    Index(None, "stamp"),
    Index(None, "due_at", postgresql_where=text("due_at is not null")),
    Index(None, "mail_at", postgresql_where=text("mail_at is not null")),
    postgresql_with={"fillfactor": "70", "toast_tuple_target": "8160"},
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("user_id", ID, primary_key=True),
    # a state with all facts up to this instant, inclusive, and none after it
    Column("as_of", INSTANT, primary_key=True),
    Column("state", Text, nullable=False),
)

openings = Table(
    "openings",
    metadata,
    Column("user_id", ID, primary_key=True),
    # the state with all facts up to this instant, inclusive: no event of before is in the ledger
    Column("as_of", INSTANT, nullable=False),
    Column("state", Text, nullable=False),
    # of the program when it was made: newer definitions look at the state, for want of the events
    Column("version", Integer, nullable=False),
)

closed_keys = Table(
    "closed_keys",
    metadata,
    # of an event that has left, 16 bytes that stand for its user, metric and key
    Column("digest", LargeBinary, primary_key=True),
)

closed_days = Table(
    "closed_days",
    metadata,
    # what the events that have left come to, of all users
    Column("local_date", Date, primary_key=True),
    Column("metric", ID, primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("value", AMOUNT, nullable=False),
)

user_facts = Table(
    "user_facts",
    metadata,
    Column("user_id", ID, primary_key=True),
    # what makes it this fact and no other: a digest of what was told, or an operator's command
    Column("fact_id", ID, primary_key=True),
    Column("kind", Text, nullable=False),
    # where it stands among the facts: not always when it was told
    Column("at", INSTANT, nullable=False),
    Column("body", JSONB, nullable=False),
    Column("program_version", Integer, nullable=False),
    Column("recorded_at", INSTANT, nullable=False),
    # of operators' facts: who and why
    Column("actor", Text),
    Column("reason", Text),
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
    # what the event told about its user
    Column("tz", Text),
    Column("user_attributes", JSONB),
    Column("program_version", Integer, nullable=False),
    Column("received_at", INSTANT, nullable=False),
    Column("applied_at", INSTANT, nullable=False, server_default=func.now()),
    _txid(),
    _by_day("local_date"),
    # what came after an instant is read where a late event changes the past
    Index(None, "user_id", "occurred_at"),
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

streak_chains = Table(
    "streak_chains",
    metadata,
    # every chain that nothing in order can change any more
    Column("user_id", ID, primary_key=True),
    Column("streak", ID, primary_key=True),
    Column("started_on", Date, primary_key=True),
    Column("ended_on", Date, nullable=False),
    Column("length", Integer, nullable=False),
    # part of the key, because a streak that becomes weekly may begin a chain on the same date
    Column("decided_at", INSTANT, primary_key=True),
    _txid(),
    _by_day("ended_on"),
    CheckConstraint("length >= 1 and ended_on >= started_on", name="chain"),
)

point_entries = Table(
    "point_entries",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("decided_at", INSTANT, primary_key=True),
    # among those of one user that were decided at one instant, from 0
    Column("number", Integer, primary_key=True),
    Column("points", ID, nullable=False),
    Column("trigger", ID, nullable=False),
    Column("since", Integer, nullable=False),
    # the key of the event that earned it, a period, an achievement, ...
    Column("cause", ID, nullable=False),
    Column("amount", AMOUNT, nullable=False),
    Column("base", AMOUNT, nullable=False),
    # the names of the boosts that multiplied the base, by commas
    Column("boosts", Text),
    Column("clipped", AMOUNT, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    _txid(),
    _by_day("occurred_at"),
)

achievements = Table(
    "achievements",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("key", ID, primary_key=True),
    # the program version that brought the definition in by which it was completed
    Column("since", Integer, nullable=False),
    Column("completed_at", INSTANT, nullable=False),
    # completed by a fact that is older than the definition
    Column("backdated", Boolean, nullable=False),
    Column("decided_at", INSTANT, nullable=False),
    _txid(),
    _by_day("completed_at"),
)

notices = Table(
    "notices",
    metadata,
    Column("user_id", ID, primary_key=True),
    Column("kind", ID, primary_key=True),
    Column("cause", ID, primary_key=True),
    Column("at", INSTANT, nullable=False),
    Column("body", JSONB, nullable=False),
    # nobody is to be told: it came with an import or a recomputation
    Column("silent", Boolean, nullable=False),
    Column("decided_at", INSTANT, nullable=False),
    Column("written_at", INSTANT, nullable=False, server_default=func.now()),
    _txid(),
    _by_day("at"),
)

emails = Table(
    "emails",
    metadata,
    # one for each, ever: the email's name in the program, and what it is about
    Column("user_id", ID, primary_key=True),
    Column("name", ID, primary_key=True),
    Column("cause", ID, primary_key=True),
    Column("email_id", BigInteger, Identity(), nullable=False, unique=True),
    Column("kind", ID, nullable=False),
    Column("body", JSONB, nullable=False),
    # when it is to be tried next, and from when on it would be of no use
    Column("send_at", INSTANT, nullable=False),
    Column("useless_at", INSTANT, nullable=False),
    # `models.statements.emails.EmailState`
    Column("state", ID, nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    # of the latest attempt: whereto, as what, and what came of it
    Column("address", Text),
    Column("message_id", Text),
    Column("reason", Text),
    Column("planned_at", INSTANT, nullable=False),
    Column("settled_at", INSTANT),
    # which transaction settled it: the warehouse loads what has an end
    Column("txid", BigInteger, index=True),
    _by_day("settled_at"),
    Index(None, "send_at", postgresql_where=text("state in ('planned', 'sending')")),
    Index(None, "state", "settled_at"),
)

cursors = Table(
    "cursors",
    metadata,
    # who goes through something in order, and how far that has come
    Column("reader", ID, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

email_choices = Table(
    "email_choices",
    metadata,
    Column("user_id", ID, primary_key=True),
    # an email's name in the program, or nothing for all of them
    Column("name", ID, primary_key=True),
    Column("wanted", Boolean, nullable=False),
    Column("chosen_at", INSTANT, nullable=False),
)

refused_addresses = Table(
    "refused_addresses",
    metadata,
    # a server has refused them for good: nothing is sent there any more
    Column("address", ID, primary_key=True),
    Column("reply", Text, nullable=False),
    Column("refused_at", INSTANT, nullable=False),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("purpose", ID, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Integer, Identity(), primary_key=True),
    Column("leaderboard", ID, nullable=False),
    # the program version that brought this definition in: a changed leaderboard is a new one
    Column("since", Integer, nullable=False),
    Column("run", ID, nullable=False),
    Column("opens_at", INSTANT, nullable=False),
    Column("closes_at", INSTANT, nullable=False),
    # from when on its standings are for good, and when they were written
    Column("final_at", INSTANT, nullable=False),
    Column("finalized_at", INSTANT),
    UniqueConstraint("leaderboard", "since", "run"),
    Index(None, "final_at", postgresql_where=text("finalized_at is null")),
)

run_scores = Table(
    "run_scores",
    metadata,
    # scores of runs that close; those of all time follow from the states
    Column("run_id", Integer, primary_key=True, autoincrement=False),
    Column("user_id", ID, primary_key=True, index=True),
    Column("score", AMOUNT, nullable=False),
    Column("reached_at", INSTANT, nullable=False),
    Column("decided_at", INSTANT, nullable=False),
)

final_standings = Table(
    "final_standings",
    metadata,
    # what a run ended with, for good: a late event changes scores, but no place here
    Column("run_id", Integer, primary_key=True, autoincrement=False),
    Column("segment", ID, primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("user_id", ID, nullable=False),
    Column("score", AMOUNT, nullable=False),
    Column("reached_at", INSTANT, nullable=False),
    _txid(),
    _by_day("reached_at"),
    UniqueConstraint("run_id", "segment", "user_id"),
)

touched_boards = Table(
    "touched_boards",
    metadata,
    # what a batch changed and Redis may not show yet; deleted once it is projected
    Column("touch_id", BigInteger, Identity(), primary_key=True),
    # `models.statements.boards.BoardScores` as JSON, or null where those of these users on all
    # boards that are in force are to be read
    Column("scores", Text),
    Column("user_ids", ARRAY(ID)),
    Column("touched_at", INSTANT, nullable=False, server_default=func.now()),
    CheckConstraint("(scores is null) <> (user_ids is null)", name="scores"),
)

projected_boards = Table(
    "projected_boards",
    metadata,
    # boards that Redis was given and must have, whole: where one is missing, Redis has lost it
    Column("leaderboard", ID, primary_key=True),
    Column("since", Integer, primary_key=True, autoincrement=False),
    Column("run", ID, primary_key=True),
    Column("segment", ID, primary_key=True),
    Column("ascending", Boolean, nullable=False),
    # the build in which the board is being made anew, beside the one that is read
    Column("build", Text),
    Column("lost_at", INSTANT),
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

calendars = Table(
    "calendars",
    metadata,
    # a version of tzdata, by which what is due is computed anew for everyone
    Column("version", ID, primary_key=True),
    # users up to this id are done
    Column("done_until", ID, nullable=False),
    Column("finished_at", INSTANT),
)

tick_runs = Table(
    "tick_runs",
    metadata,
    # a slot is the instant for which the tick rang; whoever inserts it first runs the sweep
    Column("tick", Text, primary_key=True),
    Column("slot", INSTANT, primary_key=True),
    Column("ran_at", INSTANT, nullable=False, server_default=func.now()),
)

removed_rows = Table(
    "removed_rows",
    metadata,
    # what the warehouse has or will have and Postgres has no more; deleted once it is loaded
    Column("removed_id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("txid", BigInteger, nullable=False),
    Column("removed_txid", BigInteger, nullable=False),
    Column("body", JSONB, nullable=False),
    Index(None, "source", "txid"),
    Index(None, "source", "removed_txid"),
)

loads = Table(
    "loads",
    metadata,
    # a batch for the warehouse: all rows of a source that transactions from one number up to
    # another, not included, have written or removed. Once committed it never changes.
    Column("source", Text, primary_key=True),
    Column("from_txid", BigInteger, primary_key=True, autoincrement=False),
    Column("to_txid", BigInteger, nullable=False),
    Column("frozen_at", INSTANT, nullable=False),
    Column("loaded_at", INSTANT),
    Column("rows", BigInteger),
    # why it could not be sent when it was tried last
    Column("error", Text),
    CheckConstraint("to_txid > from_txid", name="range"),
)

backfills = Table(
    "backfills",
    metadata,
    Column("backfill_id", BigInteger, Identity(), primary_key=True),
    Column("kind", ID, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    # `models.statements.backfills.State`
    Column("state", ID, nullable=False),
    # chunks that are done: whose message names another number is not due
    Column("step", BigInteger, nullable=False, server_default="0"),
    # where the next chunk begins, as the kind understands it; null at the beginning
    Column("cursor", JSONB),
    Column("done", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger),
    # rows a second at the most; null for as many as go
    Column("rate_max", Double),
    # how long it was running, pauses of the throttle included, and until when that is counted
    Column("running_seconds", Double, nullable=False, server_default="0"),
    Column("counted_until", INSTANT),
    # by what was changed: how much, and some examples
    Column("changes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # of the chunk that failed last, and how often it has
    Column("error", Text),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    # when the next chunk is due: one that is long overdue has lost its message
    Column("next_at", INSTANT, nullable=False),
    Column("planned_at", INSTANT, nullable=False),
    Column("settled_at", INSTANT),
    Index(None, "next_at", postgresql_where=text("state in ('planned', 'running')")),
    # whoever projects writes into one build beside what is read, and not into two
    Index(
        "uq_backfills_rebuild",
        "kind",
        unique=True,
        postgresql_where=text("kind = 'rebuild-rankings' and settled_at is null and not dry_run"),
    ),
)

backfill_actions = Table(
    "backfill_actions",
    metadata,
    # who did what with a backfill, and why
    Column("action_id", BigInteger, Identity(), primary_key=True),
    Column("backfill_id", BigInteger, nullable=False, index=True),
    Column("action", ID, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("parameters", JSONB, nullable=False),
    Column("acted_at", INSTANT, nullable=False),
)

backfill_rows = Table(
    "backfill_rows",
    metadata,
    # what a backfill has read and not applied yet, to be applied user by user
    Column("backfill_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", ID, primary_key=True),
    # its place among all that was read, from 0
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # an event, or what is told about the user
    Column("is_event", Boolean, nullable=False),
    Column("file", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("body", JSONB, nullable=False),
)

backfill_refusals = Table(
    "backfill_refusals",
    metadata,
    # what a backfill could not use, where it stands, and why
    Column("backfill_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    # the row as far as it could be read
    Column("body", JSONB),
)
