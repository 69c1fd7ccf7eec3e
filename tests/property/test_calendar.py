"""Every zone that there is, around its transitions: no day is skipped and none counted twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.calendar import day_start, local_date, next_day
from streakline.contract import zone_names

ZONES = sorted(zone_names())
ONE_DAY, ONE_SECOND = timedelta(days=1), timedelta(seconds=1)
FIRST, LAST = 1990, 2037
STEP = timedelta(days=7)


def transition_days(tz: str) -> list[date]:
    """Return a day within a week before each change of the zone's offset."""
    zone = ZoneInfo(tz)
    found, instant = [], datetime(FIRST, 1, 1, tzinfo=UTC)
    offset = instant.astimezone(zone).utcoffset()
    while instant.year <= LAST:
        after = (instant + STEP).astimezone(zone).utcoffset()
        if after != offset:
            found.append(instant.date())
        instant, offset = instant + STEP, after
    return found


def days_are_whole(tz: str, first: date, count: int) -> None:
    """Walk over days as `next_day` says and check each against the clocks themselves."""
    day, start = first, day_start(first, tz)
    assert start is not None
    for _ in range(count):
        following = next_day(day, tz)
        end = day_start(following, tz)
        assert end is not None
        assert day < following
        assert start < end
        assert local_date(start, tz) == day
        assert local_date(end - ONE_SECOND, tz) == day
        assert start.astimezone(ZoneInfo(tz)).date() == day
        assert (start - ONE_SECOND).astimezone(ZoneInfo(tz)).date() < day
        assert following - day == ONE_DAY or not shown_ever(tz, day + ONE_DAY)
        day, start = following, end


def shown_ever(tz: str, day: date) -> bool:
    """Tell whether the zone's clocks show the date at any quarter of an hour around it."""
    around = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=30)
    quarters = (around + timedelta(minutes=15 * step) for step in range(4 * 84))
    return any(quarter.astimezone(ZoneInfo(tz)).date() == day for quarter in quarters)


@pytest.mark.parametrize("part", range(8))
def test_days_follow_each_other_in_every_zone_across_its_transitions_s2_s3_s4(part: int) -> None:
    """Of each zone a sample of transitions: the parts of the sample differ, so all years appear."""
    for number, tz in enumerate(ZONES):
        if number % 8 == part:
            transitions = transition_days(tz)
            for first in transitions[number % 5 :: 5] or transitions[:1]:
                days_are_whole(tz, first - ONE_DAY, 10)


@given(
    tz=st.sampled_from(ZONES),
    instant=st.datetimes(datetime(1901, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
)
def test_every_instant_is_in_the_day_of_its_local_date(tz: str, instant: datetime) -> None:
    day = local_date(instant, tz)
    start, end = day_start(day, tz), day_start(next_day(day, tz), tz)
    assert start is not None
    assert end is not None
    assert start <= instant < end
