"""Chains of streaks before the latest one of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from sqlalchemy import Connection, bindparam, delete, lateral, select, true

from models.rules.streaks import Chain
from models.statements.rows import arrays, given_columns, insert_given, match_given
from models.tables import streak_chains

UserStreak = tuple[str, str]

_COLUMNS = ("user_id", "streak", "started_on", "ended_on", "length")
_FROM_COLUMNS = ("user_id", "streak", "started_on")

_ADD = insert_given(streak_chains, *_COLUMNS)
_from = given_columns(streak_chains, *_FROM_COLUMNS)
_CUT = delete(streak_chains).where(
    match_given(streak_chains, _from, "user_id", "streak"),
    streak_chains.c.started_on >= _from.c.started_on,
)
_last_two = lateral(
    select(streak_chains.c.started_on)
    .where(
        match_given(streak_chains, _from, "user_id", "streak"),
        streak_chains.c.started_on <= _from.c.started_on,
    )
    .order_by(streak_chains.c.started_on.desc())
    .limit(2)
    .correlate(_from),
    name="last_two",
)
_LAST_STARTS = select(_from.c.user_id, _from.c.streak, _last_two.c.started_on).join(
    _last_two, true()
)
_HISTORY = (
    select(streak_chains)
    .where(streak_chains.c.user_id == bindparam("user_id"))
    .order_by(streak_chains.c.streak, streak_chains.c.started_on)
)


def add_chains(connection: Connection, chains: Iterable[tuple[UserStreak, Chain]]) -> None:
    """Add chains that a later one has followed."""
    rows = ((*key, chain.started_on, chain.ended_on, chain.length) for key, chain in chains)
    connection.execute(_ADD, arrays(_COLUMNS, rows))


def read_last_starts(
    connection: Connection, days: Mapping[UserStreak, date]
) -> dict[UserStreak, list[date]]:
    """Return the starts of the last two chains that began on the day in question or before."""
    asked = arrays(_FROM_COLUMNS, ((*key, day) for key, day in days.items()))
    found: dict[UserStreak, list[date]] = {}
    for row in connection.execute(_LAST_STARTS, asked).all():
        found.setdefault((row.user_id, row.streak), []).append(row.started_on)
    return found


def cut_chains(connection: Connection, since: Mapping[UserStreak, date]) -> None:
    """Take away each streak's chains that start on the day or later."""
    connection.execute(_CUT, arrays(_FROM_COLUMNS, ((*key, day) for key, day in since.items())))


def read_history(connection: Connection, user_id: str) -> dict[str, list[Chain]]:
    """Return, for each streak of a user, all chains before the latest, oldest first."""
    history: dict[str, list[Chain]] = {}
    for row in connection.execute(_HISTORY, {"user_id": user_id}).all():
        chain = Chain(started_on=row.started_on, ended_on=row.ended_on, length=row.length)
        history.setdefault(row.streak, []).append(chain)
    return history
