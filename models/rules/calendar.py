"""Local days over IANA zones: which date an instant bears, when a day begins, which day is next.

A local day runs from the first instant that bears its date to the first instant of the next date
that exists (S2): midnight may be missing, and a day has 23, 24 or 25 hours. A date that the clocks
never showed is no day (S4). Instants are aware and in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)
ONE_SECOND = timedelta(seconds=1)
DAYS_CACHED_MAX = 65_536
"""One entry for each (zone, date) in use: a hundred days in every zone that there is."""
ZONES_CACHED_MAX = 1024
"""All zones that there are: `ZoneInfo` itself keeps eight, and reads the others again."""


class ZoneChange(NamedTuple):
    """From `since` on a user's zone is `tz`: a dated fact (S7)."""

    since: datetime
    tz: str


def zone_at(changes: Sequence[ZoneChange], instant: datetime, assumed: str) -> str:
    """Return the zone in force at `instant` (S1); `changes` ascend by `since`.

    Before the first change the first zone holds: nothing better is known about that time. A user
    of whom no zone is known is assumed to live in the program's (S6).
    """
    in_force = changes[0].tz if changes else assumed
    for change in changes:
        if change.since > instant:
            break
        in_force = change.tz
    return in_force


def local_date(instant: datetime, tz: str) -> date:
    """Return the date of the local day that `instant` belongs to.

    That is the date on the clock, except where clocks fall back over midnight: once a day has
    begun it stays begun, so that no day is open twice (S3).
    """
    shown = instant.astimezone(_zone(tz)).date()
    following = day_start(shown + ONE_DAY, tz)
    return shown + ONE_DAY if following is not None and following <= instant else shown


def local_time(instant: datetime, tz: str) -> time:
    """Return what the clocks show at an instant."""
    return instant.astimezone(_zone(tz)).time()


def next_day(day: date, tz: str) -> date:
    """Return the next date after `day` that exists in the zone (S4)."""
    following = day + ONE_DAY
    while day_start(following, tz) is None:
        following += ONE_DAY
    return following


@lru_cache(maxsize=DAYS_CACHED_MAX)
def day_start(day: date, tz: str) -> datetime | None:
    """Return the first instant that bears the date, in UTC, or None where the date never existed.

    Where midnight is missing, the first instant after the jump is the day's first, if it bears that
    date.
    """
    start = first_shown(day, time.min, tz)
    return start if start.astimezone(_zone(tz)).date() == day else None


def first_shown(day: date, at: time, tz: str) -> datetime:
    """Return the first instant, in UTC, at which the clocks show a time of a day or a later one.

    A time in a gap of the clocks is read by Python with the offset from before the gap (fold 0) or
    from after it (fold 1); the jump itself lies between the two instants.
    """
    zone = _zone(tz)
    wanted = datetime.combine(day, at, zone)
    with_offset_before = wanted.astimezone(UTC)
    with_offset_after = wanted.replace(fold=1).astimezone(UTC)
    if with_offset_after >= with_offset_before:
        return with_offset_before
    return _jump(with_offset_after, with_offset_before, zone)


@lru_cache(maxsize=ZONES_CACHED_MAX)
def _zone(tz: str) -> ZoneInfo:
    return ZoneInfo(tz)


def _jump(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant in (before, after] that has the offset of `after`, to the second."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > ONE_SECOND:
        middle = before + timedelta(seconds=(after - before) // ONE_SECOND // 2)
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
