"""Users: the lock that each one's row is, and the state that stands in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Row, Text, bindparam, exists, select, update

from models.rules.state import UserState
from models.statements.rows import arrays, given, insert_given, one_of
from models.tables import ID, users

STREAMED_ROWS = 1000
"""Rows that are in memory at a time where everyone is looked at."""

_COLUMNS = ("user_id", "first_seen_at", "state")
_ADD_USERS = insert_given(users, *_COLUMNS).on_conflict_do_nothing()
_asked = given("asked", user_ids=ID)
_MISSING = (
    select(_asked.c.user_ids)
    .where(~exists().where(users.c.user_id == _asked.c.user_ids))
    .order_by(_asked.c.user_ids)
)
_STATES = select(users.c.user_id, users.c.state).where(one_of(users.c.user_id, "user_ids"))
_LOCK_USERS = _STATES.order_by(users.c.user_id).with_for_update(of=users)
_LOCK_FREE_USERS = _STATES.order_by(users.c.user_id).with_for_update(of=users, skip_locked=True)
_STATE = select(users.c.user_id, users.c.state).where(users.c.user_id == bindparam("user_id"))
_EVERYONE = select(users.c.user_id, users.c.state).execution_options(yield_per=STREAMED_ROWS)
# An update reserves the names of the table's own columns for its parameters.
_PUT_COLUMNS = ("of_user", "new_state")
_given = given("given", of_user=ID, new_state=Text())
_PUT_STATES = (
    update(users).values(state=_given.c.new_state).where(users.c.user_id == _given.c.of_user)
)

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(UserState)
_EMPTY = _ENCODER.encode(UserState()).decode()

States = dict[str, UserState]
"""States of users: `{user_id: state}`."""


def lock_free_users(connection: Connection, user_ids: Iterable[str]) -> States:
    """Lock those of the users whom nobody else has locked, and return their states; never waits."""
    return _states(connection.execute(_LOCK_FREE_USERS, {"user_ids": sorted(user_ids)}).all())


def add_missing_users(connection: Connection, user_ids: Iterable[str], now: datetime) -> None:
    """Add those of the users that there are not.

    It should be all that its transaction does: another one that adds the same user waits for its
    end. The ids go in one order everywhere, so that two never wait for each other in a circle.
    """
    asked = sorted(user_ids)
    missing = connection.execute(_MISSING, {"user_ids": asked}).scalars().all()
    if missing:
        rows = ((user_id, now, _EMPTY) for user_id in missing)
        connection.execute(_ADD_USERS, arrays(_COLUMNS, rows))


def lock_users(connection: Connection, user_ids: Iterable[str]) -> States:
    """Lock users that there are until the end of the transaction, waiting for whoever has them.

    It must be the first to lock anything in its transaction, and the ids go in one order
    everywhere, so that two batches never wait for each other in a circle.
    """
    return _states(connection.execute(_LOCK_USERS, {"user_ids": sorted(user_ids)}).all())


def put_states(connection: Connection, states: Mapping[str, UserState]) -> None:
    """Write states as they now are."""
    rows = ((user_id, _ENCODER.encode(state).decode()) for user_id, state in states.items())
    connection.execute(_PUT_STATES, arrays(_PUT_COLUMNS, rows))


def read_states(connection: Connection, user_ids: Iterable[str]) -> States:
    """Return the states of those of the users that there are."""
    return _states(connection.execute(_STATES, {"user_ids": list(user_ids)}).all())


def read_state(connection: Connection, user_id: str) -> UserState | None:
    """Return a user's state, or None for one never seen."""
    row = connection.execute(_STATE, {"user_id": user_id}).one_or_none()
    return _DECODER.decode(row.state) if row else None


def stream_states(connection: Connection) -> Iterator[tuple[str, UserState]]:
    """Yield everyone's state, in no order."""
    for row in connection.execute(_EVERYONE):
        yield row.user_id, _DECODER.decode(row.state)


def _states(rows: Iterable[Row[str, str]]) -> States:
    return {row.user_id: _DECODER.decode(row.state) for row in rows}
