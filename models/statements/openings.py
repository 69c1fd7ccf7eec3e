"""Openings: what a user's events came to before they left the ledger for the warehouse.

As an opening balance is in accounting: from there the ledger goes on, and before it nothing is
posted any more. What keeps duplicates out, and what is compared with the warehouse, stays here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from models.rules.arrivals import Identity
from models.rules.effects import Opening
from models.statements.boards import ADVISORY_CLASS
from models.statements.rows import arrays, given, given_columns, one_of, upsert_given
from models.tables import (
    ID,
    INSTANT,
    checkpoints,
    closed_days,
    closed_keys,
    events,
    openings,
    users,
)

CLOSING = 1
"""The second number of the advisory lock under which events leave."""
DIGEST_BYTES = 16
"""Of SHA-256: two of a trillion keys are alike with a chance of one in 10**14."""


def _digest(row: Any) -> ColumnElement[bytes]:
    """Return what stands for a key, from the columns of a row; with lengths, so that none of
    ("a", "bc") and ("ab", "c") is the other.
    """
    parts = [row.user_id, row.metric, row.key]
    lengths = [cast(func.length(part), Text) + literal(":") for part in parts[:2]]
    text = lengths[0] + lengths[1] + parts[0] + parts[1] + parts[2]
    whole = func.sha256(func.convert_to(text, "UTF8"))
    return func.substring(whole, 1, DIGEST_BYTES, type_=LargeBinary())


_asked = given_columns(events, "user_id", "metric", "key")
_CLOSED = select(_asked.c.user_id, _asked.c.metric, _asked.c.key).join(
    closed_keys, closed_keys.c.digest == _digest(_asked.c)
)
_OPENINGS = select(openings).where(one_of(openings.c.user_id, "user_ids"))
_OLD_IDS = (
    select(users.c.user_id)
    .where(
        users.c.user_id > bindparam("after"),
        exists().where(
            events.c.user_id == users.c.user_id, events.c.occurred_at < bindparam("older_than")
        ),
    )
    .order_by(users.c.user_id)
    .limit(bindparam("limit"))
)
_LOCK_CLOSING = select(func.pg_advisory_xact_lock(ADVISORY_CLASS, CLOSING))
_LAST_CLOSED = select(func.max(closed_days.c.local_date)).where(
    closed_days.c.local_date.between(bindparam("first"), bindparam("last"))
)
_COUNT_CLOSED = select(func.coalesce(func.sum(closed_days.c.events), 0))
_SUMS = select(
    cast(closed_days.c.local_date, Text),
    closed_days.c.metric,
    closed_days.c.events,
    closed_days.c.value,
)

_until = given("given", user_id=ID, as_of=INSTANT)
_LATEST_TXIDS = (
    select(events.c.user_id, func.max(events.c.txid).label("txid"))
    .join(_until, events.c.user_id == _until.c.user_id)
    .where(events.c.occurred_at <= _until.c.as_of)
    .group_by(events.c.user_id)
)
_PUT_OPENINGS = upsert_given(openings, "user_id", "as_of", "state", "version")
_DROP_CHECKPOINTS = delete(checkpoints).where(
    checkpoints.c.user_id == _until.c.user_id, checkpoints.c.as_of <= _until.c.as_of
)
_CLOSE_USERS = (
    update(users).values(closed_until=bindparam("until")).where(one_of(users.c.user_id, "user_ids"))
)
_gone = (
    delete(events)
    .where(events.c.user_id == _until.c.user_id, events.c.occurred_at <= _until.c.as_of)
    .returning(events.c.user_id, events.c.metric, events.c.key, events.c.local_date, events.c.value)
    .cte("gone")
)
_keys = (
    insert(closed_keys)
    .from_select(["digest"], select(_digest(_gone.c)))
    .on_conflict_do_nothing()
    .cte("keys")
)
_sums = select(
    _gone.c.local_date, _gone.c.metric, func.count().label("events"), func.sum(_gone.c.value)
).group_by(_gone.c.local_date, _gone.c.metric)
_add_days = insert(closed_days).from_select(["local_date", "metric", "events", "value"], _sums)
_days = _add_days.on_conflict_do_update(
    index_elements=["local_date", "metric"],
    set_={
        "events": closed_days.c.events + _add_days.excluded.events,
        "value": closed_days.c.value + _add_days.excluded.value,
    },
).cte("days")
_LEAVE = select(func.count()).select_from(_gone).add_cte(_keys, _days)


def read_openings(connection: Connection, user_ids: Iterable[str]) -> dict[str, Opening]:
    """Return where the ledgers of some users begin, of those of whom events have left."""
    rows = connection.execute(_OPENINGS, {"user_ids": list(user_ids)})
    return {row.user_id: Opening(row.as_of, row.state, row.version) for row in rows}


def read_closed(connection: Connection, identities: Iterable[Identity]) -> set[Identity]:
    """Return those of the identities that events have which have left."""
    rows = connection.execute(_CLOSED, arrays(("user_id", "metric", "key"), identities))
    return {(row.user_id, row.metric, row.key) for row in rows}


def read_old_ids(connection: Connection, after: str, older_than: datetime, limit: int) -> list[str]:
    """Return ids of users, in order, those after another that have an event before an instant."""
    asked = {"after": after, "older_than": older_than, "limit": limit}
    return list(connection.execute(_OLD_IDS, asked).scalars())


def read_latest_txids(connection: Connection, until: Mapping[str, datetime]) -> dict[str, int]:
    """Return which transaction wrote the latest of each user's events up to an instant."""
    rows = connection.execute(_LATEST_TXIDS, arrays(("user_id", "as_of"), until.items()))
    return {row.user_id: row.txid for row in rows}


def close_ledgers(
    connection: Connection, made: Mapping[str, Opening], closed_until: datetime
) -> int:
    """Let the events up to each opening leave; return how many did.

    The caller has locked the users.
    """
    until = arrays(("user_id", "as_of"), [(user_id, one.as_of) for user_id, one in made.items()])
    rows = ((user_id, *opening) for user_id, opening in made.items())
    connection.execute(_PUT_OPENINGS, arrays(("user_id", "as_of", "state", "version"), rows))
    connection.execute(_CLOSE_USERS, {"user_ids": list(made), "until": closed_until})
    connection.execute(_DROP_CHECKPOINTS, until)
    gone: int = connection.execute(_LEAVE, until).scalar_one()
    return gone


def lock_closing(connection: Connection) -> None:
    """Let no event leave until this transaction ends, waiting for those that do."""
    connection.execute(_LOCK_CLOSING)


def read_last_closed(connection: Connection, first: date, last: date) -> date | None:
    """Return the last of some days of which events have left; None where none has."""
    found: date | None = connection.execute(_LAST_CLOSED, {"first": first, "last": last}).scalar()
    return found


def count_closed(connection: Connection) -> int:
    """Return how many events have left."""
    return int(connection.execute(_COUNT_CLOSED).scalar_one())


def read_sums(connection: Connection) -> Iterable[tuple[str, str, int, Any]]:
    """Return what the events that have left come to: (local date, metric, events, value)."""
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(_SUMS)]
