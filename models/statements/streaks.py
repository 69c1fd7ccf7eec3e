"""Streaks: the latest chain of each, and every chain before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, bindparam, delete, func, select, union_all

from models.rules.streaks import Chain
from models.statements.rows import (
    arrays,
    given_columns,
    insert_given,
    match_given,
    one_of,
    upsert_given,
)
from models.tables import metric_days, streak_chains, streaks

UserStreak = tuple[str, str]

_CHAIN_COLUMNS = ("user_id", "streak", "started_on", "ended_on", "length")
_STREAK_COLUMNS = (*_CHAIN_COLUMNS, "deadline_at")
_FROM_COLUMNS = ("user_id", "streak", "started_on")

_LATEST = select(streaks).where(one_of(streaks.c.user_id, "user_ids"))
_PUT_LATEST = upsert_given(streaks, *_STREAK_COLUMNS)
_ADD_CHAINS = insert_given(streak_chains, *_CHAIN_COLUMNS)

_from = given_columns(streaks, *_FROM_COLUMNS)
_CUT_LATEST = delete(streaks).where(match_given(streaks, _from, "user_id", "streak"))
_CUT_CHAINS = delete(streak_chains).where(
    match_given(streak_chains, _from, "user_id", "streak"),
    streak_chains.c.started_on >= _from.c.started_on,
)


def _starts(table: Table) -> Select[tuple[date]]:
    """Starts of the chains in a table that begin on the day in question or before."""
    return (
        select(table.c.started_on)
        .where(
            match_given(table, _from, "user_id", "streak"),
            table.c.started_on <= _from.c.started_on,
        )
        .correlate(_from)
    )


_starts_before = union_all(_starts(streaks), _starts(streak_chains)).subquery("starts_before")
_last_two = (
    select(_starts_before.c.started_on)
    .order_by(_starts_before.c.started_on.desc())
    .limit(2)
    .correlate(_from)
    .subquery("last_two")
)
_REFOLD_STARTS = select(
    _from.c.user_id,
    _from.c.streak,
    func.coalesce(
        select(func.min(_last_two.c.started_on)).correlate(_from).scalar_subquery(),
        _from.c.started_on,
    ).label("started_on"),
)

_since = given_columns(metric_days, "user_id", "local_date")
_DAYS_SINCE = (
    select(
        metric_days.c.user_id,
        metric_days.c.local_date,
        metric_days.c.metric,
        metric_days.c.value,
    )
    .join(
        _since,
        match_given(metric_days, _since, "user_id")
        & (metric_days.c.local_date >= _since.c.local_date),
    )
    .order_by(metric_days.c.user_id, metric_days.c.local_date)
)
_HISTORY = (
    select(streak_chains)
    .where(streak_chains.c.user_id == bindparam("user_id"))
    .order_by(streak_chains.c.streak, streak_chains.c.started_on)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The latest chain of a streak, and the instant at which it is over unless extended."""

    chain: Chain
    deadline_at: datetime


def read_latest(connection: Connection, user_ids: Iterable[str]) -> dict[UserStreak, Latest]:
    """Return the latest chain of each streak of these users."""
    rows = connection.execute(_LATEST, {"user_ids": list(user_ids)}).all()
    return {
        (row.user_id, row.streak): Latest(chain=_chain(row), deadline_at=row.deadline_at)
        for row in rows
    }


def put_latest(connection: Connection, latest: Mapping[UserStreak, Latest]) -> None:
    """Write the latest chains as they now are."""
    rows = ((*key, *_columns(item.chain), item.deadline_at) for key, item in latest.items())
    connection.execute(_PUT_LATEST, arrays(_STREAK_COLUMNS, rows))


def add_chains(connection: Connection, chains: Iterable[tuple[UserStreak, Chain]]) -> None:
    """Add chains that a later one has followed."""
    rows = ((*key, *_columns(chain)) for key, chain in chains)
    connection.execute(_ADD_CHAINS, arrays(_CHAIN_COLUMNS, rows))


def read_refold_starts(
    connection: Connection, days: Mapping[UserStreak, date]
) -> dict[UserStreak, date]:
    """Return from which day on a streak is to be folded anew after a change on a day in its past.

    That is the start of the chain before the one that the day falls into or follows: whatever the
    change does to that one, the chain before it is whole, and is the latest if nothing follows.
    """
    asked = arrays(_FROM_COLUMNS, ((*key, day) for key, day in days.items()))
    rows = connection.execute(_REFOLD_STARTS, asked).all()
    return {(row.user_id, row.streak): row.started_on for row in rows}


def read_days_since(
    connection: Connection, since: Mapping[str, date]
) -> dict[str, dict[date, dict[str, Decimal]]]:
    """Return what each day of a user from a day on came to: `{user_id: {day: {metric: value}}}`."""
    days: dict[str, dict[date, dict[str, Decimal]]] = {}
    for row in connection.execute(_DAYS_SINCE, arrays(["user_id", "local_date"], since.items())):
        days.setdefault(row.user_id, {}).setdefault(row.local_date, {})[row.metric] = row.value
    return days


def cut_chains(connection: Connection, since: Mapping[UserStreak, date]) -> None:
    """Take away the latest chain of each streak, and all others that start on the day or later."""
    cut = arrays(_FROM_COLUMNS, ((*key, day) for key, day in since.items()))
    connection.execute(_CUT_LATEST, cut)
    connection.execute(_CUT_CHAINS, cut)


def read_history(connection: Connection, user_id: str) -> dict[str, list[Chain]]:
    """Return, for each streak of a user, all chains before the latest, oldest first."""
    history: dict[str, list[Chain]] = {}
    for row in connection.execute(_HISTORY, {"user_id": user_id}).all():
        history.setdefault(row.streak, []).append(_chain(row))
    return history


def _chain(row: Row[Any]) -> Chain:
    return Chain(started_on=row.started_on, ended_on=row.ended_on, length=row.length)


def _columns(chain: Chain) -> tuple[date, date, int]:
    return (chain.started_on, chain.ended_on, chain.length)
