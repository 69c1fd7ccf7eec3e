"""`[app]` and `[metrics.*]`: the app as a whole, and what is counted."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Literal

from models.program.table import Table
from models.program.values import (
    Count,
    Flag,
    Percent,
    Positive,
    PositiveDuration,
    Text,
    Url,
    Weekday,
    Zone,
)


class App(Table):
    """The app as a whole."""

    name: Text
    """What the app is called, in emails and reports."""
    timezone: Zone = "UTC"
    """The zone of users who have none (S6), and of leaderboards that name no clock."""
    week_starts_on: Weekday = "monday"
    """The first day of weeks, of streaks and of leaderboards alike (S5)."""
    max_event_age: PositiveDuration = timedelta(days=30)
    """An older event is set aside, except in an import (S13)."""
    control_group_percent: Percent = Decimal(0)
    """So many of a hundred users get no emails, to see what emails do (S53)."""
    link_url: Url | None = None
    """Where links in emails lead."""


class Metric(Table):
    """Something that events count."""

    name: Text | None = None
    """How people call it."""
    aggregate: Literal["sum", "max", "latest"] = "sum"
    """Whether values add up, or the largest or the latest is kept (S15)."""
    allow_negative: Flag = False
    """Whether an event may carry a value below zero (S15)."""
    max_value: Positive | None = None
    """The largest value of one event; an event over it is set aside (S16)."""
    max_events_per_day: Count | None = None
    """The most events of one user on one local day (S16)."""
    max_value_per_day: Positive | None = None
    """The most value of one user on one local day (S16)."""
