"""Local days where the clocks are odd, and the zones of users over time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from models.rules.calendar import (
    ZoneChange,
    day_start,
    local_date,
    next_day,
    zone_at,
)


@pytest.mark.parametrize(
    ("tz", "day", "start", "hours"),
    [
        # Midnight is missing (S2): the day starts at the first real instant.
        ("Africa/Cairo", date(2026, 4, 24), datetime(2026, 4, 23, 22, tzinfo=UTC), 23),
        ("America/Santiago", date(2026, 9, 6), datetime(2026, 9, 6, 4, tzinfo=UTC), 23),
        ("America/Havana", date(2026, 3, 8), datetime(2026, 3, 8, 5, tzinfo=UTC), 23),
        ("Asia/Beirut", date(2026, 3, 29), datetime(2026, 3, 28, 22, tzinfo=UTC), 23),
        # Midnight is shown twice (S3): one day.
        ("America/Havana", date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC), 25),
        # Half an hour of summer time.
        ("Australia/Lord_Howe", date(2026, 10, 4), datetime(2026, 10, 3, 13, 30, tzinfo=UTC), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), datetime(2026, 4, 4, 13, tzinfo=UTC), 24.5),
        ("Europe/Berlin", date(2026, 7, 1), datetime(2026, 6, 30, 22, tzinfo=UTC), 24),
    ],
)
def test_a_day_starts_at_the_first_instant_that_bears_its_date_s2(
    tz: str, day: date, start: datetime, hours: float
) -> None:
    assert day_start(day, tz) == start
    assert day_start(next_day(day, tz), tz) == start + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("tz", "missing"),
    [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))],
)
def test_a_date_that_never_existed_is_no_day_s4(tz: str, missing: date) -> None:
    before, after = missing - timedelta(days=1), missing + timedelta(days=1)
    assert day_start(missing, tz) is None
    assert next_day(before, tz) == after


def test_a_date_that_the_clocks_show_twice_is_one_day_s3() -> None:
    both = [datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (4, 5)]
    assert {local_date(instant, "America/Havana") for instant in both} == {date(2026, 11, 1)}


def test_a_day_that_has_begun_stays_begun_where_clocks_fall_back_over_midnight_s3() -> None:
    # St John's went back at 00:01 until 2011: 23:01 to 23:59 came again after 00:00.
    again = datetime(2010, 11, 7, 3, 0, tzinfo=UTC)
    assert day_start(date(2010, 11, 7), "America/St_Johns") == datetime(
        2010, 11, 7, 2, 30, tzinfo=UTC
    )
    assert local_date(again, "America/St_Johns") == date(2010, 11, 7)


JANUARY, MARCH, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 3, 5))


def test_the_zone_in_force_is_that_of_the_latest_change_before_s1() -> None:
    changes = [ZoneChange(since=JANUARY, tz="Asia/Tokyo"), ZoneChange(since=MAY, tz="Europe/Rome")]
    found = [zone_at(changes, instant, "UTC") for instant in (JANUARY, MARCH, MAY)]
    assert found == ["Asia/Tokyo", "Asia/Tokyo", "Europe/Rome"]


def test_before_the_first_change_its_zone_holds_and_without_one_the_programs_s6() -> None:
    assert zone_at([ZoneChange(since=MAY, tz="Asia/Tokyo")], JANUARY, "UTC") == "Asia/Tokyo"
    assert zone_at([], JANUARY, "Europe/Oslo") == "Europe/Oslo"
