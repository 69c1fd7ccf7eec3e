"""What a backfill changes, by kind of row: how many were added, removed or changed, with samples.

`{"achievements": {"added": 3, "samples": [{"user_id": "dia", "added": {"key": "first", …}}]}}`

It is taken from the rows themselves, before and after, in the transaction that changes them: a dry
run, which takes the transaction back, and the run then tell the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.statements import checks
from models.statements import users as user_statements

Row = tuple[Any, ...]

SAMPLES_MAX = 5
"""Examples that are kept of each kind of change; all are counted."""
ADDED, REMOVED, CHANGED = "added", "removed", "changed"

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "point_entries": checks.ENTRY_COLUMNS,
    "achievements": ("key", "since", "completed_at", "backdated", "decided_at"),
    "streak_chains": ("streak", "started_on", "ended_on", "length", "decided_at"),
    "notices": ("kind", "cause", "at", "decided_at"),
    "run_scores": ("leaderboard", "since", "run", "score", "reached_at"),
}
"""As `checks.read_decided` has them."""
_KEYS: Mapping[str, tuple[str, ...]] = {
    "point_entries": checks.ENTRY_COLUMNS,
    "achievements": ("key",),
    "streak_chains": ("streak", "started_on"),
    "notices": ("kind", "cause"),
    "run_scores": ("leaderboard", "since", "run"),
}
"""What makes a row of a user this one; a row of another content is a changed one."""


class Changes:
    """Counts changes by kind of row, and keeps a few examples of each."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self._found: dict[str, dict[str, Any]] = deepcopy(dict(kept))

    def add(self, name: str, how: str, count: int = 1, *, samples: Iterable[Any] = ()) -> None:
        """Count changes of rows of a kind; `samples` are some of them."""
        if not count:
            return
        found = self._found.setdefault(name, {})
        found[how] = found.get(how, 0) + count
        kept = found.setdefault("samples", [])
        kept += islice(samples, SAMPLES_MAX - len(kept))

    def as_json(self) -> dict[str, Any]:
        """Return what was counted."""
        return self._found

    @contextmanager
    def watching(
        self, connection: Connection, rules: Rules, user_ids: Iterable[str]
    ) -> Iterator[None]:
        """Count what is changed of some users, who are locked, while it is inside."""
        watched = sorted(set(user_ids))
        before = _read(connection, rules, watched, _COLUMNS)
        yield
        # Of an import most rows are new, and there are examples already: to count them will do.
        counted = [name for name in _COLUMNS if before.has_none(name) and self._is_full(name)]
        compared = [name for name in _COLUMNS if name not in counted]
        after = _read(connection, rules, watched, compared)
        for user_id in watched:
            self._compare_states(user_id, before, after)
            for name in compared:
                self._compare_rows(user_id, name, before, after)
        for name, count in checks.count_decided(connection, watched, counted).items():
            self.add(name, ADDED, count)

    def _is_full(self, name: str) -> bool:
        return len(self._found.get(name, {}).get("samples", ())) == SAMPLES_MAX

    def _compare_states(self, user_id: str, before: _Users, after: _Users) -> None:
        was, now = before.states.get(user_id), after.states.get(user_id)
        if now is None:
            return
        if was is None:
            how = CHANGED if user_id in before.stale else ADDED
            self.add("users", how, samples=[{"user_id": user_id}])
            was = UserState()
            if how is CHANGED:
                return  # what it was under older definitions is not known any more
        elif was != now:
            self.add("users", CHANGED, samples=[{"user_id": user_id}])
        for what, values in _figures(now).items():
            old = _figures(was).get(what, {})
            for name, value in values.items():
                if value != old.get(name, 0):
                    sample = {
                        "user_id": user_id,
                        "name": name,
                        "before": old.get(name, 0),
                        "after": value,
                    }
                    self.add(what, CHANGED, samples=[_as_texts(sample)])

    def _compare_rows(self, user_id: str, name: str, before: _Users, after: _Users) -> None:
        rows_before, rows_after = before.rows_of(user_id, name), after.rows_of(user_id, name)
        if not rows_before:
            # most of an import: nothing need be compared
            samples = _samples(user_id, ADDED, name, rows_after)
            self.add(name, ADDED, len(rows_after), samples=samples)
            return
        if rows_before == rows_after:
            return
        was, now = _by_key(name, rows_before), _by_key(name, rows_after)
        for key in now.keys() - was.keys():
            self.add(name, ADDED, samples=[{"user_id": user_id, ADDED: now[key]}])
        for key in was.keys() - now.keys():
            self.add(name, REMOVED, samples=[{"user_id": user_id, REMOVED: was[key]}])
        for key in now.keys() & was.keys():
            if now[key] != was[key]:
                sample = {"user_id": user_id, "before": was[key], "after": now[key]}
                self.add(name, CHANGED, samples=[sample])


class _Users:
    """What there is of some users at one moment."""

    def __init__(
        self, states: Mapping[str, UserState], stale: set[str], rows: checks.DecidedRows
    ) -> None:
        self.states = states
        self.stale = stale
        self._rows = rows

    def rows_of(self, user_id: str, name: str) -> Sequence[Row]:
        return self._rows.get(user_id, {}).get(name, ())

    def has_none(self, name: str) -> bool:
        return not any(name in tables for tables in self._rows.values())


def _read(
    connection: Connection, rules: Rules, user_ids: list[str], names: Collection[str]
) -> _Users:
    users = user_statements.read_users(connection, user_ids, rules.stamp)
    states = {one: state for one, state in users.states.items() if one not in users.stale}
    return _Users(states, users.stale, checks.read_decided(connection, users.states, names))


def _figures(state: UserState) -> dict[str, dict[str, Any]]:
    """Return what people know of a state, by name."""
    return {
        "metrics": {name: total.value for name, total in state.totals.items()},
        "points": {name: points.balance for name, points in state.points.items()},
        "longest_streaks": {name: streak.longest for name, streak in state.streaks.items()},
    }


def _samples(user_id: str, how: str, name: str, rows: Iterable[Row]) -> Iterator[Mapping[str, Any]]:
    for row in _by_key(name, rows).values():
        yield {"user_id": user_id, how: row}


def _by_key(name: str, rows: Iterable[Row]) -> dict[Any, dict[str, Any]]:
    found = {}
    for _, *values in rows:
        row = dict(zip(_COLUMNS[name], values, strict=True))
        found[tuple(row[key] for key in _KEYS[name])] = _as_texts(row)
    return dict(sorted(found.items(), key=repr))


def _as_texts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON can hold it."""
    plain = (str, int, bool, type(None))
    return {name: value if isinstance(value, plain) else str(value) for name, value in row.items()}
