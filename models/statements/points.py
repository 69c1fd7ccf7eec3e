"""Points: the ledger of entries, and the events behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, select, tuple_

from models.rules.points import Counted, Entry, TriggerKey
from models.statements.rows import (
    arrays,
    given,
    given_columns,
    insert_given,
    match_given,
)
from models.tables import ID, INSTANT, events, point_entries

UserTrigger = tuple[str, TriggerKey]
"""(user_id, (points, trigger, since))"""

_KEY_COLUMNS = ("user_id", "points", "trigger", "since")
_ENTRY_COLUMNS = (*_KEY_COLUMNS, "cause", "amount", "occurred_at")

_ADD_ENTRIES = insert_given(point_entries, *_ENTRY_COLUMNS)

_cut = given_columns(point_entries, *_KEY_COLUMNS, "cause")
_CUT_ENTRIES = delete(point_entries).where(match_given(point_entries, _cut, *_KEY_COLUMNS, "cause"))

_tail = given("tail", user_id=ID, metric=ID, occurred_at=INSTANT, key=ID)
_TAIL_EVENTS = select(
    events.c.user_id,
    events.c.metric,
    events.c.occurred_at,
    events.c.key,
    events.c.value,
    events.c.attributes,
    events.c.program_version,
).join(
    _tail,
    and_(
        match_given(events, _tail, "user_id", "metric"),
        tuple_(events.c.occurred_at, events.c.key) > tuple_(_tail.c.occurred_at, _tail.c.key),
    ),
)

_before = given_columns(point_entries, *_KEY_COLUMNS, "occurred_at", "cause")
_REACHED_BEFORE = (
    select(
        *[point_entries.c[name] for name in _KEY_COLUMNS],
        func.max(point_entries.c.occurred_at).label("reached_at"),
    )
    .join(
        _before,
        and_(
            match_given(point_entries, _before, *_KEY_COLUMNS),
            tuple_(point_entries.c.occurred_at, point_entries.c.cause)
            < tuple_(_before.c.occurred_at, _before.c.cause),
        ),
    )
    .group_by(*[point_entries.c[name] for name in _KEY_COLUMNS])
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEvent:
    """An event of the ledger as a trigger looks at it again."""

    counted: Counted
    metric: str
    attributes: Mapping[str, str]
    program_version: int


def add_entries(connection: Connection, entries: Iterable[tuple[UserTrigger, Entry]]) -> None:
    """Write entries of the ledger; an event that caused one of the same trigger is an error."""
    rows = (
        (user_id, *key, entry.cause, entry.amount, entry.occurred_at)
        for (user_id, key), entry in entries
    )
    connection.execute(_ADD_ENTRIES, arrays(_ENTRY_COLUMNS, rows))


def cut_entries(connection: Connection, causes: Iterable[tuple[UserTrigger, str]]) -> None:
    """Take away the entries that these events caused."""
    rows = ((user_id, *key, cause) for (user_id, key), cause in causes)
    connection.execute(_CUT_ENTRIES, arrays((*_KEY_COLUMNS, "cause"), rows))


def read_events_after(
    connection: Connection, positions: Mapping[tuple[str, str], tuple[datetime, str]]
) -> dict[tuple[str, str], list[LedgerEvent]]:
    """Return the events of each (user_id, metric) that stand after a position, in no order."""
    asked = arrays(
        ("user_id", "metric", "occurred_at", "key"),
        ((*key, *position) for key, position in positions.items()),
    )
    found: dict[tuple[str, str], list[LedgerEvent]] = {}
    for row in connection.execute(_TAIL_EVENTS, asked).all():
        counted = Counted(occurred_at=row.occurred_at, key=row.key, value=row.value)
        found.setdefault((row.user_id, row.metric), []).append(
            LedgerEvent(
                counted=counted,
                metric=row.metric,
                attributes=row.attributes or {},
                program_version=row.program_version,
            )
        )
    return found


def read_reached_before(
    connection: Connection, positions: Mapping[UserTrigger, tuple[datetime, str]]
) -> dict[UserTrigger, datetime]:
    """Return the instant of the latest entry of each trigger before a position, if there is one."""
    asked = arrays(
        (*_KEY_COLUMNS, "occurred_at", "cause"),
        ((user_id, *key, *position) for (user_id, key), position in positions.items()),
    )
    return {
        (row.user_id, (row.points, row.trigger, row.since)): row.reached_at
        for row in connection.execute(_REACHED_BEFORE, asked)
    }
