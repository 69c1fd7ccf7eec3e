"""What folds have decided, of many users at once, to be compared with what they would decide."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, select

from models.statements.rows import one_of
from models.tables import (
    achievements,
    notices,
    point_entries,
    run_scores,
    runs,
    streak_chains,
    users,
)

DecidedRows = dict[str, dict[str, list[tuple[Any, ...]]]]
"""Rows by user and table: `{user_id: {table: rows}}`. Each begins with the instant at which it was
decided; its columns follow, in their order here."""

ENTRY_COLUMNS = (
    "decided_at",
    "number",
    "points",
    "trigger",
    "since",
    "cause",
    "amount",
    "base",
    "boosts",
    "clipped",
    "occurred_at",
)
_PLAIN: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (point_entries, ENTRY_COLUMNS),
    (achievements, ("key", "since", "completed_at", "backdated", "decided_at")),
    (streak_chains, ("streak", "started_on", "ended_on", "length", "decided_at")),
    (notices, ("kind", "cause", "at", "decided_at")),
)
_SCORES = select(
    run_scores.c.user_id,
    run_scores.c.decided_at,
    runs.c.leaderboard,
    runs.c.since,
    runs.c.run,
    run_scores.c.score,
    run_scores.c.reached_at,
).join(runs, runs.c.run_id == run_scores.c.run_id)
_READ = {
    table.name: select(
        table.c.user_id, table.c.decided_at, *[table.c[name] for name in columns]
    ).where(one_of(table.c.user_id, "user_ids"))
    for table, columns in _PLAIN
} | {run_scores.name: _SCORES.where(one_of(run_scores.c.user_id, "user_ids"))}
_COUNT = {
    table.name: select(func.count()).select_from(table).where(one_of(table.c.user_id, "user_ids"))
    for table in (*[table for table, _ in _PLAIN], run_scores)
}
DECIDED = tuple(_READ)
"""The tables of what is decided."""
_SAMPLE = select(users.c.user_id).order_by(func.random()).limit(bindparam("limit"))


def read_decided(
    connection: Connection, user_ids: Iterable[str], names: Collection[str] = DECIDED
) -> DecidedRows:
    """Return all that was decided of some users, or of it the tables named: one statement each."""
    ids = {"user_ids": list(user_ids)}
    found: DecidedRows = {user_id: {} for user_id in ids["user_ids"]}
    for name in names:
        for user_id, *row in connection.execute(_READ[name], ids).all():
            found[user_id].setdefault(name, []).append(tuple(row))
    return found


def count_decided(
    connection: Connection, user_ids: Iterable[str], names: Collection[str]
) -> dict[str, int]:
    """Return how many rows of some tables were decided of some users."""
    ids = {"user_ids": list(user_ids)}
    return {name: connection.execute(_COUNT[name], ids).scalar_one() for name in names}


def sample_ids(connection: Connection, count: int) -> list[str]:
    """Return the ids of some users, picked at random."""
    return list(connection.execute(_SAMPLE, {"limit": count}).scalars())
