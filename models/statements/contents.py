"""What emails tell of beside the state: days, points, achievements and names, of many users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, Date, and_, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from models.statements.rows import arrays, given, one_of
from models.tables import ID, INSTANT, achievements, events, point_entries, user_fields

Dates = tuple[date, date]
"""The first and the last local date."""
Times = tuple[datetime, datetime]
"""The first instant, and the first one after."""


class DayValue(NamedTuple):
    """What the events of a metric on a local day come to."""

    metric: str
    day: date
    sum: Decimal
    max: Decimal
    latest: Decimal
    events: int


_dates = given("dates", user_id=ID, first=Date(), last=Date())
_latest = func.array_agg(
    aggregate_order_by(events.c.value, events.c.occurred_at.desc(), events.c.key.desc())
)
_DAYS = (
    select(
        events.c.user_id,
        events.c.metric,
        events.c.local_date,
        func.sum(events.c.value).label("sum"),
        func.max(events.c.value).label("max"),
        _latest.label("latest"),
        func.count().label("events"),
    )
    .join(
        _dates,
        and_(
            events.c.user_id == _dates.c.user_id,
            # a local day lies within a day of its date in UTC: the index is by instants
            events.c.occurred_at >= _dates.c.first - func.make_interval(0, 0, 0, 2),
            events.c.occurred_at < _dates.c.last + func.make_interval(0, 0, 0, 3),
            events.c.local_date.between(_dates.c.first, _dates.c.last),
        ),
    )
    .group_by(events.c.user_id, events.c.metric, events.c.local_date)
    .order_by(events.c.user_id, events.c.metric, events.c.local_date)
)
_times = given("times", user_id=ID, first_at=INSTANT, after=INSTANT)
_EARNED = (
    select(point_entries.c.user_id, point_entries.c.points, func.sum(point_entries.c.amount))
    .join(
        _times,
        and_(
            point_entries.c.user_id == _times.c.user_id,
            point_entries.c.occurred_at >= _times.c.first_at,
            point_entries.c.occurred_at < _times.c.after,
        ),
    )
    .group_by(point_entries.c.user_id, point_entries.c.points)
)
_COMPLETED = (
    select(achievements.c.user_id, achievements.c.key)
    .join(
        _times,
        and_(
            achievements.c.user_id == _times.c.user_id,
            achievements.c.completed_at >= _times.c.first_at,
            achievements.c.completed_at < _times.c.after,
            ~achievements.c.backdated,
        ),
    )
    .order_by(achievements.c.completed_at, achievements.c.key)
)
_NAMES = select(user_fields.c.user_id, user_fields.c.value).where(
    one_of(user_fields.c.user_id, "user_ids"), user_fields.c.field == "name"
)


def read_day_values(
    connection: Connection, dates: Mapping[str, Dates]
) -> dict[str, list[DayValue]]:
    """Return what users did on local days, by metric and day."""
    rows = ((user_id, *of) for user_id, of in dates.items())
    found: dict[str, list[DayValue]] = {user_id: [] for user_id in dates}
    for row in connection.execute(_DAYS, arrays(("user_id", "first", "last"), rows)):
        value = DayValue(row.metric, row.local_date, row.sum, row.max, row.latest[0], row.events)
        found[row.user_id].append(value)
    return found


def read_earned(connection: Connection, times: Mapping[str, Times]) -> dict[str, dict[str, Any]]:
    """Return the points that users earned in a time, by points system."""
    found: dict[str, dict[str, Any]] = {user_id: {} for user_id in times}
    for user_id, points, amount in connection.execute(_EARNED, _asked(times)):
        found[user_id][points] = amount
    return found


def read_completed(connection: Connection, times: Mapping[str, Times]) -> dict[str, list[str]]:
    """Return the achievements that users completed in a time, oldest first."""
    found: dict[str, list[str]] = {user_id: [] for user_id in times}
    for user_id, key in connection.execute(_COMPLETED, _asked(times)):
        found[user_id].append(key)
    return found


def read_names(connection: Connection, user_ids: Iterable[str]) -> dict[str, str]:
    """Return the names of users, of those that have told one."""
    asked = {"user_ids": sorted(set(user_ids))}
    return {row.user_id: row.value for row in connection.execute(_NAMES, asked)}


def _asked(times: Mapping[str, Times]) -> dict[str, Any]:
    rows = ((user_id, *of) for user_id, of in times.items())
    return arrays(("user_id", "first_at", "after"), rows)
