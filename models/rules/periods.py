"""Periods of streaks and runs: a day, week or month, and when it begins and is over for a user.

A period is named by its first date, as the calendar has it (nominally). In a zone it runs from the
first instant of its dates to the first instant of the next period's (S2), so that the periods of a
zone meet without gap or overlap. A user who travels keeps a period open until it is over in every
zone that the user had during it (S7).

Nothing here raises for dates in the years 2 to 9998.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from operator import attrgetter

from models.rules.calendar import (
    DAYS_CACHED_MAX,
    ONE_DAY,
    ZoneChange,
    day_start,
    next_day,
    zone_at,
)

ONE_WEEK = timedelta(days=7)
WEST_OF_ALL = timedelta(hours=12)
"""The clocks of UTC-12 are the last to reach a date (S7)."""
_since = attrgetter("since")


class Frequency(Enum):
    """How long the periods of a rule are (S5, S22)."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRule:
    """How the calendar is cut into periods; 0 is Monday, as `date.weekday` has it (S5)."""

    frequency: Frequency
    week_starts_on: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.week_starts_on <= 6:
            raise ValueError(f"week_starts_on must be 0 (Monday) to 6, not {self.week_starts_on}")


def period_key(rule: PeriodRule) -> str:
    """Return the name under which a state keeps the totals of such periods."""
    if rule.frequency is Frequency.WEEKLY:
        return f"{rule.frequency.value}-{rule.week_starts_on}"
    return str(rule.frequency.value)


def period_of(day: date, rule: PeriodRule) -> date:
    """Return the first date of the period that `day` belongs to, even if it never existed."""
    if rule.frequency is Frequency.DAILY:
        return day
    if rule.frequency is Frequency.WEEKLY:
        return day - timedelta(days=(day.weekday() - rule.week_starts_on) % 7)
    return day.replace(day=1)


def next_period(period: date, rule: PeriodRule) -> date:
    """Return the period after `period` on the calendar, whether or not a zone knows it."""
    if rule.frequency is Frequency.DAILY:
        return period + ONE_DAY
    if rule.frequency is Frequency.WEEKLY:
        return period + ONE_WEEK
    return date(period.year + period.month // 12, period.month % 12 + 1, 1)


def previous_period(period: date, rule: PeriodRule) -> date:
    """Return the period before `period` on the calendar, whether or not a zone knows it."""
    return period_of(period - ONE_DAY, rule)


def last_date(period: date, rule: PeriodRule) -> date:
    """Return the last date of the period on the calendar."""
    return next_period(period, rule) - ONE_DAY


def dates_of(period: date, rule: PeriodRule) -> Iterator[date]:
    """Yield the dates of the period on the calendar, ascending."""
    day, after = period, next_period(period, rule)
    while day < after:
        yield day
        day += ONE_DAY


def starts_at(period: date, rule: PeriodRule, tz: str) -> datetime:  # noqa: ARG001 - see below
    """Return the first instant of the period in the zone (S2).

    Where its first date never existed (S4) that is the first instant of the next one that does.
    A period's name says enough; the rule is asked for so that all functions here are called alike.
    """
    return _first_instant(period, tz)


def ends_at(period: date, rule: PeriodRule, tz: str) -> datetime:
    """Return the first instant in the zone that is after the period: the start of the next one."""
    return _first_instant(next_period(period, rule), tz)


def exists(period: date, rule: PeriodRule, tz: str) -> bool:
    """Tell whether the zone's clocks ever showed a date of the period (S4)."""
    return starts_at(period, rule, tz) < ends_at(period, rule, tz)


def over_everywhere_at(period: date, rule: PeriodRule) -> datetime:
    """Return the end of the period in UTC-12; none stays open past it (S7)."""
    return _midnight(next_period(period, rule)) + WEST_OF_ALL


def closes_at(
    period: date, rule: PeriodRule, zones: Sequence[ZoneChange], assumed: str, grace: timedelta
) -> datetime:
    """Return when the period is over in every zone that the user had during it, and grace is (S7).

    `zones` ascend by `since`. A period that has closed stays closed: who moves west afterwards does
    not open it again (S8). One who jumped over the period is held to the zone that was in force
    when it began in UTC. A move between zones more than a day apart (Pago Pago, Kiritimati) can
    close a day up to 2 hours after the next one.
    """
    after = next_period(period, rule)
    if len(zones) < 2:  # nearly every user: one look into a cache
        return _over_at(after, zones[0].tz if zones else assumed) + grace
    had = _changes_during(period, after, zones)
    if not had:
        return _over_at(after, zone_at(zones, _midnight(period), zones[0].tz)) + grace
    closing = _over_at(after, had[0].tz) + grace
    for change in had[1:]:
        if change.since < closing:
            closing = max(closing, _over_at(after, change.tz) + grace)
    return closing


def lived(period: date, rule: PeriodRule, zones: Sequence[ZoneChange], assumed: str) -> bool:
    """Tell whether the period existed in a zone that the user had during it (S4)."""
    after = next_period(period, rule)
    if len(zones) < 2:
        return exists(period, rule, zones[0].tz if zones else assumed)
    had = _changes_during(period, after, zones)
    return any(_first_instant(period, one.tz) < _first_instant(after, one.tz) for one in had)


@lru_cache(maxsize=DAYS_CACHED_MAX)
def _first_instant(day: date, tz: str) -> datetime:
    """Return the first instant of the date, or of the next one that exists."""
    start = day_start(day, tz)
    if start is None:
        start = day_start(next_day(day, tz), tz)
    assert start is not None
    return start


@lru_cache(maxsize=DAYS_CACHED_MAX)
def _over_at(after: date, tz: str) -> datetime:
    """Return when the period before the date `after` is over in the zone, at most in UTC-12."""
    return min(_first_instant(after, tz), _midnight(after) + WEST_OF_ALL)


def _changes_during(period: date, after: date, zones: Sequence[ZoneChange]) -> Sequence[ZoneChange]:
    """Return the changes whose zones were in force at an instant of what they take for the period.

    A user may have moved often: only the changes that can touch the period are looked at.
    """
    first = max(bisect_right(zones, _midnight(period) - ONE_DAY, key=_since) - 1, 0)
    end = bisect_right(zones, _midnight(after) + ONE_DAY, key=_since)
    if end - first < 2:
        return zones[first : first + 1]
    return [zones[index] for index in range(first, end) if _touches(period, after, zones, index)]


def _touches(period: date, after: date, zones: Sequence[ZoneChange], index: int) -> bool:
    """Tell whether the zone at `index` was in force at an instant of what it takes for the period.

    The first zone holds before its change as well, and the last one for good.
    """
    start, end = _first_instant(period, zones[index].tz), _first_instant(after, zones[index].tz)
    if index > 0:
        start = max(start, zones[index].since)
    if index + 1 < len(zones):
        end = min(end, zones[index + 1].since)
    return start < end


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
