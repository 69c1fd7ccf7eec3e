"""When a cron expression fires in a zone.

A time of day that the clocks skip fires at the first real instant after the gap; one that they show
twice fires once, at the first. Times that so fall on the same instant are one. A date that never
existed in the zone has no times (S4). Where both the day of the month and the day of the week are
restricted, a day that is either of them matches, as in cron.

The days around an instant are looked up in a cache, a time within its day by bisection: a question
costs some microseconds, however dense or rare the expression is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from models.rules.calendar import ONE_DAY, day_start, first_shown

SEARCH_DAYS_MAX = 8 * 366
"""From 29 February 2096 to the next are 8 years; what does not fire in so long never does."""
DAYS_CACHED_MAX = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The numbers of each field, ascending; `None` for a day field that is not restricted."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...] | None
    months: tuple[int, ...]
    weekdays: tuple[int, ...] | None

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read an expression of plain numbers and `*`, as a checked program holds it.

        0 is Sunday. Raises ValueError for anything else.
        """
        minute, hour, day, month, weekday = text.split()
        return cls(
            minutes=_numbers(minute) or tuple(range(60)),
            hours=_numbers(hour) or tuple(range(24)),
            days=_numbers(day),
            months=_numbers(month) or tuple(range(1, 13)),
            weekdays=_numbers(weekday),
        )

    def matches(self, day: date) -> bool:
        """Tell whether the expression fires on a date."""
        if day.month not in self.months:
            return False
        by_day = self.days is None or day.day in self.days
        by_weekday = self.weekdays is None or day.isoweekday() % 7 in self.weekdays
        if self.days is None or self.weekdays is None:
            return by_day and by_weekday
        return by_day or by_weekday

    def fires_after(self, instant: datetime, tz: str) -> datetime | None:
        """Return the first time strictly after the instant, in UTC; None if there never is one."""
        for day in _matching_days(self, _shown_date(instant, tz), ONE_DAY, tz):
            passed = self._passed(day, instant, tz)
            if passed < self._times_per_day:
                return self._fires_at(day, passed, tz)
        return None

    def fires_at_or_before(self, instant: datetime, tz: str) -> datetime | None:
        """Return the last time up to the instant, in UTC; None if there never was one."""
        # Clocks that fall back over midnight have shown times of the next date already.
        latest = _shown_date(instant, tz) + ONE_DAY
        for day in _matching_days(self, latest, -ONE_DAY, tz):
            passed = self._passed(day, instant, tz)
            if passed:
                return self._fires_at(day, passed - 1, tz)
        return None

    @property
    def _times_per_day(self) -> int:
        return len(self.hours) * len(self.minutes)

    def _fires_at(self, day: date, position: int, tz: str) -> datetime:
        hour, minute = divmod(position, len(self.minutes))
        return first_shown(day, time(self.hours[hour], self.minutes[minute]), tz)

    def _passed(self, day: date, instant: datetime, tz: str) -> int:
        """Return how many of the times of a day lie at or before the instant."""
        return bisect_right(
            range(self._times_per_day), instant, key=lambda at: self._fires_at(day, at, tz)
        )


def _numbers(field: str) -> tuple[int, ...] | None:
    return None if field == "*" else tuple(sorted(map(int, field.split(","))))


def _shown_date(instant: datetime, tz: str) -> date:
    return instant.astimezone(ZoneInfo(tz)).date()


def _matching_days(cron: Cron, first: date, step: timedelta, tz: str) -> Iterator[date]:
    """Yield the days on which an expression fires, from `first` on, forwards or backwards."""
    day = first if _fires_on(cron, first, tz) else _next_match(cron, first, step, tz)
    while day is not None:
        yield day
        day = _next_match(cron, day, step, tz)


@lru_cache(maxsize=DAYS_CACHED_MAX)
def _next_match(cron: Cron, day: date, step: timedelta, tz: str) -> date | None:
    for days in range(1, SEARCH_DAYS_MAX + 1):
        if _fires_on(cron, day + days * step, tz):
            return day + days * step
    return None


def _fires_on(cron: Cron, day: date, tz: str) -> bool:
    return cron.matches(day) and day_start(day, tz) is not None
