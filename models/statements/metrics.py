"""What metrics add up to, per user and per user's local day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from models.rules.totals import DayTotal, Total, UserDayMetric, UserMetric
from models.statements.rows import arrays, given_columns, match_given, upsert_given
from models.tables import metric_days, metric_totals

_TOTAL_COLUMNS = ("user_id", "metric", "value", "events", "reached_at")
_DAY_COLUMNS = ("user_id", "local_date", "metric", "value", "events")

_asked_totals = given_columns(metric_totals, "user_id", "metric")
_TOTALS = select(metric_totals).join(
    _asked_totals, match_given(metric_totals, _asked_totals, "user_id", "metric")
)
_asked_days = given_columns(metric_days, "user_id", "local_date")
_DAYS = select(metric_days).join(
    _asked_days, match_given(metric_days, _asked_days, "user_id", "local_date")
)
_PUT_TOTALS = upsert_given(metric_totals, *_TOTAL_COLUMNS)
_PUT_DAYS = upsert_given(metric_days, *_DAY_COLUMNS)
_TOTALS_AFTER = (
    select(metric_totals)
    .where(
        metric_totals.c.metric == bindparam("metric"),
        metric_totals.c.user_id > bindparam("after"),
    )
    .order_by(metric_totals.c.user_id)
    .limit(bindparam("limit"))
)
_USER_TOTALS = (
    select(metric_totals.c.metric, metric_totals.c.value)
    .where(metric_totals.c.user_id == bindparam("user_id"))
    .order_by(metric_totals.c.metric)
)


def read_totals(connection: Connection, keys: Iterable[UserMetric]) -> dict[UserMetric, Total]:
    """Return the totals of these users' metrics, where there are any."""
    rows = connection.execute(_TOTALS, arrays(["user_id", "metric"], keys)).all()
    return {(row.user_id, row.metric): _total(row) for row in rows}


def read_totals_after(
    connection: Connection, metric: str, after: str, limit: int
) -> dict[str, Total]:
    """Return what a metric came to for the next users in the order of their ids."""
    asked = {"metric": metric, "after": after, "limit": limit}
    return {row.user_id: _total(row) for row in connection.execute(_TOTALS_AFTER, asked)}


def put_totals(connection: Connection, totals: Mapping[UserMetric, Total]) -> None:
    """Write totals as they now are."""
    rows = ((*key, total.value, total.events, total.reached_at) for key, total in totals.items())
    connection.execute(_PUT_TOTALS, arrays(_TOTAL_COLUMNS, rows))


def read_days(
    connection: Connection, days: Iterable[tuple[str, date]]
) -> dict[UserDayMetric, DayTotal]:
    """Return what all metrics of these users came to on these days."""
    rows = connection.execute(_DAYS, arrays(["user_id", "local_date"], days)).all()
    return {
        (row.user_id, row.local_date, row.metric): DayTotal(value=row.value, events=row.events)
        for row in rows
    }


def put_days(connection: Connection, days: Mapping[UserDayMetric, DayTotal]) -> None:
    """Write days as they now are."""
    rows = ((*key, day.value, day.events) for key, day in days.items())
    connection.execute(_PUT_DAYS, arrays(_DAY_COLUMNS, rows))


def read_user_totals(connection: Connection, user_id: str) -> dict[str, Decimal]:
    """Return what each metric of one user has come to."""
    return {row.metric: row.value for row in connection.execute(_USER_TOTALS, {"user_id": user_id})}


def _total(row: Row[Any]) -> Total:
    return Total(value=row.value, events=row.events, reached_at=row.reached_at)
