"""Users: the lock that each one's row is, and the state that stands in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    true,
    union_all,
    update,
)

from models.rules.due_mail import due_hint
from models.rules.rulebook import Rules
from models.rules.state import ScoredState, UserState
from models.statements.rows import JsonText, arrays, given, insert_given, one_of
from models.tables import ID, INSTANT, achievements, user_fields, users

STREAMED_ROWS = 1000
"""Rows that are in memory at a time where everyone is looked at."""

_AFTER_SCORED = ',"suspended":false,"as_of":'
"""What follows the part of a state that boards look at, as `UserState` is written.

Nothing that was told can look like it: in a string the quotes are escaped, and what names lead to
is no boolean. A state without it, of a suspended user or as an older release wrote it, is read
whole.
"""

_COLUMNS = ("user_id", "first_seen_at", "stamp", "state")
_ADD_USERS = insert_given(users, *_COLUMNS).on_conflict_do_nothing()
_asked = given("asked", user_ids=ID)
_MISSING = (
    select(_asked.c.user_ids)
    .where(~exists().where(users.c.user_id == _asked.c.user_ids))
    .order_by(_asked.c.user_ids)
)
_ROWS = select(
    users.c.user_id, users.c.stamp, users.c.state, users.c.quiet_until, users.c.closed_until
)
_STATES = _ROWS.where(one_of(users.c.user_id, "user_ids"))
_LOCK_USERS = _STATES.order_by(users.c.user_id).with_for_update(of=users)
_LOCK_FREE_USERS = _STATES.order_by(users.c.user_id).with_for_update(of=users, skip_locked=True)
# Whoever is due longest comes first. Those whom another transaction holds are left to it.
_LOCK_DUE_USERS = (
    _ROWS.where(users.c.due_at <= bindparam("now"))
    .order_by(users.c.due_at)
    .limit(bindparam("limit"))
    .with_for_update(of=users, skip_locked=True)
)
_LOCK_MAIL_USERS = (
    _ROWS.where(users.c.mail_at <= bindparam("now"))
    .order_by(users.c.mail_at)
    .limit(bindparam("limit"))
    .with_for_update(of=users, skip_locked=True)
)
# Cut off here, because the rest costs a reader of everyone more than the part itself.
_SCORED = case(
    (
        func.strpos(users.c.state, _AFTER_SCORED) > 0,
        func.split_part(users.c.state, _AFTER_SCORED, 1).concat("}"),
    ),
    else_=users.c.state,
)
_IS_FRESH = users.c.stamp == bindparam("stamp")
_EVERYONE = (
    select(users.c.user_id, _SCORED).where(_IS_FRESH).execution_options(yield_per=STREAMED_ROWS)
)
# Not found by their stamps: right after a new program Postgres takes its stamp for rare, and would
# look for these users among all who have it.
_SCORED_OF = select(users.c.user_id, case((_IS_FRESH, _SCORED))).where(
    one_of(users.c.user_id, "user_ids")
)
_NEXT_IDS = (
    select(users.c.user_id)
    .where(users.c.user_id > bindparam("after"))
    .order_by(users.c.user_id)
    .limit(bindparam("limit"))
)
_NEXT_SCORED = (
    select(users.c.user_id, case((_IS_FRESH, _SCORED)))
    .where(users.c.user_id > bindparam("after"))
    .order_by(users.c.user_id)
    .limit(bindparam("limit"))
)
# No index finds what is unequal.
_IS_STALE = (users.c.stamp < bindparam("stamp"), users.c.stamp > bindparam("stamp"))
_NEXT_STALE = union_all(
    *[
        select(users.c.user_id).where(is_stale).order_by(users.c.stamp).limit(bindparam("limit"))
        for is_stale in _IS_STALE
    ]
).limit(bindparam("limit"))
_COUNT_STALE = select(func.count()).select_from(users).where(or_(*_IS_STALE))
_COUNT = select(func.count()).select_from(users)
_IDS = select(users.c.user_id).where(one_of(users.c.user_id, "user_ids"))
# An update reserves the names of the table's own columns for its parameters.
_PUT_COLUMNS = ("of_user", "new_state", "new_due_at", "new_mail_at", "new_quiet_until")
_given = given(
    "given",
    of_user=ID,
    new_state=JsonText(),
    new_due_at=INSTANT,
    new_mail_at=INSTANT,
    new_quiet_until=INSTANT,
)
_PUT_STATES = (
    update(users)
    .values(
        state=_given.c.new_state,
        stamp=bindparam("new_stamp"),
        due_at=_given.c.new_due_at,
        # one that is earlier stays until somebody has looked, and then knows better
        mail_at=func.least(users.c.mail_at, _given.c.new_mail_at),
        quiet_until=_given.c.new_quiet_until,
    )
    .where(users.c.user_id == _given.c.of_user)
)
_mail = given("given", of_user=ID, new_mail_at=INSTANT)
_PUT_MAIL_AT = (
    update(users).values(mail_at=_mail.c.new_mail_at).where(users.c.user_id == _mail.c.of_user)
)

_LOOK_AT_MAIL = (
    update(users)
    .values(mail_at=bindparam("now", type_=INSTANT))
    .where(
        users.c.number > bindparam("first"),
        users.c.number <= bindparam("last"),
        func.coalesce(users.c.mail_at > bindparam("now", type_=INSTANT), true()),
    )
)
_LATEST_NUMBER = select(func.max(users.c.number))

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(UserState)
_SCORED_DECODER = msgspec.json.Decoder(ScoredState)


@dataclass(slots=True, kw_only=True)
class Users:
    """States of users by id, and which of them must be folded anew before they mean anything.

    `quiet` tells, of those who have it, up to when what time causes is told to nobody, and `closed`
    up to when no fact is taken any more.
    """

    states: dict[str, UserState] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    quiet: dict[str, datetime] = field(default_factory=dict)
    closed: dict[str, datetime] = field(default_factory=dict)


def encode_state(state: UserState) -> str:
    """Return a state as it is kept."""
    return _ENCODER.encode(state).decode()


def decode_state(text: str) -> UserState:
    """Return a state that was kept."""
    return _DECODER.decode(text)


def lock_free_users(connection: Connection, user_ids: Iterable[str], stamp: str) -> Users:
    """Lock those of the users whom nobody else has locked, and return their states; never waits."""
    asked = {"user_ids": sorted(user_ids)}
    return _users(connection.execute(_LOCK_FREE_USERS, asked).all(), stamp)


def add_missing_users(
    connection: Connection, user_ids: Iterable[str], now: datetime, stamp: str
) -> None:
    """Add those of the users that there are not.

    It should be all that its transaction does: another one that adds the same user waits for its
    end. The ids go in one order everywhere, so that two never wait for each other in a circle.
    """
    asked = sorted(user_ids)
    missing = connection.execute(_MISSING, {"user_ids": asked}).scalars().all()
    if missing:
        empty = encode_state(UserState())
        rows = ((user_id, now, stamp, empty) for user_id in missing)
        connection.execute(_ADD_USERS, arrays(_COLUMNS, rows))


def lock_users(connection: Connection, user_ids: Iterable[str], stamp: str) -> Users:
    """Lock users that there are until the end of the transaction, waiting for whoever has them.

    It must be the first to lock anything in its transaction, and the ids go in one order
    everywhere, so that two batches never wait for each other in a circle.
    """
    asked = {"user_ids": sorted(user_ids)}
    return _users(connection.execute(_LOCK_USERS, asked).all(), stamp)


def lock_due_users(connection: Connection, now: datetime, limit: int, stamp: str) -> Users:
    """Lock some of the users whom time changes by `now`, and return their states; never waits."""
    asked = {"now": now, "limit": limit}
    return _users(connection.execute(_LOCK_DUE_USERS, asked).all(), stamp)


def lock_mail_users(connection: Connection, now: datetime, limit: int, stamp: str) -> Users:
    """Lock some of the users for whom an email may be due by `now`; never waits."""
    asked = {"now": now, "limit": limit}
    return _users(connection.execute(_LOCK_MAIL_USERS, asked).all(), stamp)


def put_states(connection: Connection, users: Users, user_ids: Iterable[str], rules: Rules) -> None:
    """Write states of some users as they now are, all folded under these rules."""
    rows = (
        (
            user_id,
            encode_state(state),
            state.due_at,
            due_hint(state, rules.latest),
            users.quiet.get(user_id),
        )
        for user_id in user_ids
        for state in (users.states[user_id],)
    )
    connection.execute(_PUT_STATES, arrays(_PUT_COLUMNS, rows) | {"new_stamp": rules.stamp})


def look_at_mail(connection: Connection, now: datetime, first: int, limit: int) -> int | None:
    """Let emails be looked at by `now` of users whose numbers follow one; return the last number.

    None where there are no more.
    """
    asked = {"now": now, "first": first, "last": first + limit}
    connection.execute(_LOOK_AT_MAIL, asked)
    latest = connection.execute(_LATEST_NUMBER).scalar()
    return None if latest is None or latest <= first + limit else first + limit


def put_mail_at(connection: Connection, instants: Mapping[str, datetime | None]) -> None:
    """Write when emails are to be looked at next."""
    rows = arrays(("of_user", "new_mail_at"), instants.items())
    connection.execute(_PUT_MAIL_AT, rows)


def read_users(connection: Connection, user_ids: Iterable[str], stamp: str) -> Users:
    """Return those of the users that there are."""
    return _users(connection.execute(_STATES, {"user_ids": list(user_ids)}).all(), stamp)


def read_scored(
    connection: Connection, user_ids: Iterable[str], stamp: str
) -> Iterator[tuple[str, ScoredState]]:
    """Yield the states of some users, in no order, but those that are to be folded anew first."""
    asked = {"user_ids": list(user_ids), "stamp": stamp}
    for user_id, state in connection.execute(_SCORED_OF, asked):
        if state is not None:
            yield user_id, decode_scored(state)


def stream_scored(connection: Connection, stamp: str) -> Iterator[tuple[str, ScoredState]]:
    """Yield everyone's state, in no order, but those that are to be folded anew first."""
    for user_id, state in connection.execute(_EVERYONE, {"stamp": stamp}):
        yield user_id, decode_scored(state)


def read_next_ids(connection: Connection, after: str, limit: int) -> list[str]:
    """Return the ids of users in order, those that follow another."""
    rows = connection.execute(_NEXT_IDS, {"after": after, "limit": limit})
    return list(rows.scalars())


def read_next_scored(
    connection: Connection, after: str, limit: int, stamp: str
) -> dict[str, str | None]:
    """Return users in order of their ids, those after another; None who is to be folded anew.

    Of states it is the part that `decode_scored` reads.
    """
    rows = connection.execute(_NEXT_SCORED, {"after": after, "limit": limit, "stamp": stamp})
    return dict(rows.all())


def decode_scored(state: str) -> ScoredState:
    """Return the part of a state that boards look at, read with the rest or without."""
    return _SCORED_DECODER.decode(state)


def find_ids(connection: Connection, user_ids: Iterable[str]) -> list[str]:
    """Return those of the ids whose users there are."""
    return list(connection.execute(_IDS, {"user_ids": sorted(set(user_ids))}).scalars())


def read_next_of_segment(
    connection: Connection, segment: Mapping[str, str], after: str, limit: int
) -> list[str]:
    """Return the ids of users in order, those of a segment that follow another id.

    Any attribute will do that was told of users, whether or not a rule looks at it.
    """
    query = _NEXT_IDS.where(_is_of(segment))
    return list(connection.execute(query, {"after": after, "limit": limit}).scalars())


def count_segment(connection: Connection, segment: Mapping[str, str]) -> int:
    """Return how many users a segment has."""
    count: int = connection.execute(_COUNT.where(_is_of(segment))).scalar_one()
    return count


def read_next_lacking(
    connection: Connection, keys: Collection[str], after: str, limit: int
) -> list[str]:
    """Return the ids of users in order who lack one of some achievements, those after another."""
    query = _NEXT_IDS.where(_lacks(keys))
    return list(connection.execute(query, {"after": after, "limit": limit}).scalars())


def count_lacking(connection: Connection, keys: Collection[str]) -> int:
    """Return how many users lack one of some achievements."""
    count: int = connection.execute(_COUNT.where(_lacks(keys))).scalar_one()
    return count


def read_stale_ids(connection: Connection, stamp: str, limit: int) -> list[str]:
    """Return the ids of users that are to be folded anew."""
    rows = connection.execute(_NEXT_STALE, {"stamp": stamp, "limit": limit})
    return list(rows.scalars())


def count_stale(connection: Connection, stamp: str) -> int:
    """Return how many users are to be folded anew."""
    count: int = connection.execute(_COUNT_STALE, {"stamp": stamp}).scalar_one()
    return count


def count_users(connection: Connection) -> int:
    """Return how many users there are."""
    count: int = connection.execute(_COUNT).scalar_one()
    return count


def _lacks(keys: Collection[str]) -> ColumnElement[bool]:
    has = (
        select(func.count())
        .where(achievements.c.user_id == users.c.user_id, achievements.c.key.in_(sorted(keys)))
        .scalar_subquery()
    )
    return has < len(keys)


def _is_of(segment: Mapping[str, str]) -> ColumnElement[bool]:
    told = user_fields.c
    return and_(
        *[
            exists().where(
                told.user_id == users.c.user_id,
                told.field == f"attributes.{name}",
                told.value == value,
            )
            for name, value in sorted(segment.items())
        ]
    )


def _users(rows: Iterable[Any], stamp: str) -> Users:
    found = Users()
    for row in rows:
        if row.quiet_until is not None:
            found.quiet[row.user_id] = row.quiet_until
        if row.closed_until is not None:
            found.closed[row.user_id] = row.closed_until
        if row.stamp == stamp:
            found.states[row.user_id] = _DECODER.decode(row.state)
        else:
            found.states[row.user_id] = UserState()
            found.stale.add(row.user_id)
    return found
