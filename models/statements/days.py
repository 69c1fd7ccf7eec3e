"""What users' metrics came to on the local days before their latest one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, select

from models.rules.totals import DayTotal, DayTotals
from models.statements.rows import arrays, given_columns, match_given, upsert_given
from models.tables import metric_days

UserDays = dict[str, dict[date, DayTotals]]
"""Days of users: `{user_id: {day: totals}}`."""

_COLUMNS = ("user_id", "local_date", "metric", "value", "events")
_USER_DAY = ("user_id", "local_date")

_asked = given_columns(metric_days, *_USER_DAY)
_DAYS = select(metric_days).join(_asked, match_given(metric_days, _asked, *_USER_DAY))
_DAYS_SINCE = (
    select(metric_days)
    .join(
        _asked,
        match_given(metric_days, _asked, "user_id")
        & (metric_days.c.local_date >= _asked.c.local_date),
    )
    .order_by(metric_days.c.user_id, metric_days.c.local_date)
)
_PUT_DAYS = upsert_given(metric_days, *_COLUMNS)


def read_days(connection: Connection, days: Iterable[tuple[str, date]]) -> UserDays:
    """Return these days of these users, those that had an event."""
    rows = connection.execute(_DAYS, arrays(_USER_DAY, days)).all()
    return _by_user(rows)


def read_days_since(connection: Connection, since: Mapping[str, date]) -> UserDays:
    """Return each user's days from a day on, ascending."""
    rows = connection.execute(_DAYS_SINCE, arrays(_USER_DAY, since.items())).all()
    return _by_user(rows)


def put_days(connection: Connection, days: Mapping[str, Mapping[date, DayTotals]]) -> None:
    """Write days as they now are."""
    rows = (
        (user_id, day, metric, total.value, total.events)
        for user_id, found in days.items()
        for day, totals in found.items()
        for metric, total in totals.items()
    )
    connection.execute(_PUT_DAYS, arrays(_COLUMNS, rows))


def _by_user(rows: Iterable[Row[Any]]) -> UserDays:
    found: dict[str, dict[date, dict[str, DayTotal]]] = {}
    for row in rows:
        day = found.setdefault(row.user_id, {}).setdefault(row.local_date, {})
        day[row.metric] = DayTotal(value=row.value, events=row.events)
    return {user_id: dict(days) for user_id, days in found.items()}
