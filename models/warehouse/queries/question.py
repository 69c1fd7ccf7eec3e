"""What a question to the warehouse is, and what a report is about: up to which day, and whose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from models.rules.control import control_buckets
from models.rules.periods import Frequency, PeriodRule, period_of

DAYS_SHOWN = 90
MONTH_DAYS = 30
WEEK_DAYS = 7
WEEKS_SHOWN = 26
STREAK_DAYS = 365


def week_of(day: str) -> str:
    """Return the expression for a date's week: 0 for the first that is shown, 1 for the next, …

    >>> week_of("d")
    'intDiv(toInt32(d) - toInt32({from_week:Date32}), 7)'
    """
    return f"intDiv(toInt32({day}) - toInt32({{from_week:Date32}}), {WEEK_DAYS})"


def ever(from_month: str, after: str) -> str:
    """Return bitmaps of all who were active before a date, `after`: days from a month on, and
    whole months before it, each under its first day. Both are names of parameters.
    """
    return f"""(
        select local_date, users from active_users
        where local_date >= {{{from_month}:Date32}} and local_date < {{{after}:Date32}}
        union all
        select month as local_date, users from active_months where month < {{{from_month}:Date32}}
    )"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query, and what its answer means.

    `columns` are those that the query returns, in this order. `shares` are further ones, each one
    column divided by another: a division in ClickHouse would be of floats.
    """

    name: str
    title: str
    definition: str
    columns: tuple[str, ...]
    query: str
    shares: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a report is about: the days up to `until`, a local date, which counts as well.

    `control_percent` of the users are the control group; None where there is none.
    `week_starts_on` is 0 for Monday, as `date.weekday` has it.
    """

    until: date
    control_percent: Decimal | None = None
    week_starts_on: int = 0

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of every question."""
        weeks = PeriodRule(frequency=Frequency.WEEKLY, week_starts_on=self.week_starts_on)
        from_day = self.until - timedelta(days=DAYS_SHOWN - 1)
        # A week counts once it is over: what follows the last of them begins on this day.
        after_weeks = period_of(self.until + timedelta(days=1), weeks)
        from_week = after_weeks - timedelta(weeks=WEEKS_SHOWN)
        return {
            "until": self.until,
            "days": DAYS_SHOWN,
            "after_until": self.until + timedelta(days=1),
            "until_month": self.until.replace(day=1),
            "from_day": from_day,
            "from_day_month": from_day.replace(day=1),
            "from_month": self.until - timedelta(days=DAYS_SHOWN + MONTH_DAYS - 2),
            "from_chain": self.until - timedelta(days=STREAK_DAYS - 1),
            "weeks": WEEKS_SHOWN,
            "from_week": from_week,
            "from_week_month": from_week.replace(day=1),
            "after_weeks": after_weeks,
            "control_buckets": control_buckets(self.control_percent or Decimal(0)),
        }
