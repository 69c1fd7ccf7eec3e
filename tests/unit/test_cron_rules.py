"""When cron expressions fire: fields, odd clocks, and that no question takes long (S41)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from models.program.cron import read_cron
from models.rules.cron import Cron

MINUTE = timedelta(minutes=1)


def cron(text: str) -> Cron:
    return Cron.parse(read_cron(text))


def fires(text: str, tz: str, since: datetime, until: datetime) -> list[datetime]:
    """Return the times in [since, until)."""
    expression, found = cron(text), []
    at = expression.fires_after(since - MINUTE, tz)
    while at is not None and at < until:
        found.append(at)
        at = expression.fires_after(at, tz)
    return found


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def test_the_times_of_a_weekly_expression_follow_the_clock_of_its_zone() -> None:
    found = fires("0 18 * * fri", "Europe/Paris", utc(2026, 10, 20), utc(2026, 11, 2))

    assert found == [utc(2026, 10, 23, 16), utc(2026, 10, 30, 17)]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 0 13 * fri", [6, 13, 20, 27]),  # both restricted: the 13th, and every Friday
        ("0 0 12 * fri", [6, 12, 13, 20, 27]),
        ("0 0 13 * *", [13]),
        ("0 0 * * fri", [6, 13, 20, 27]),
        ("0 0 * * 7", [1, 8, 15, 22, 29]),
        ("0 0 31 * *", []),
        ("0 0 1 oct,dec fri", []),
    ],
)
def test_the_days_of_an_expression(text: str, days: list[int]) -> None:
    found = fires(text, "UTC", utc(2026, 11, 1), utc(2026, 12, 1))

    assert [at.day for at in found] == days


def test_a_time_is_strictly_after_and_at_or_before() -> None:
    noon, at = cron("0 12 * * *"), utc(2026, 11, 23, 12)

    assert noon.fires_after(at, "UTC") == at + timedelta(days=1)
    assert noon.fires_after(at - MINUTE, "UTC") == at
    assert noon.fires_at_or_before(at, "UTC") == at
    assert noon.fires_at_or_before(at - MINUTE, "UTC") == at - timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "tz", "since", "times"),
    [
        # 02:00 to 02:59 are missing: a time in the gap fires at its end.
        ("30 2 * * *", "Europe/Berlin", utc(2026, 3, 28, 22), [utc(2026, 3, 29, 1)]),
        # All that fall into the gap are one, with the time that stands at its end.
        ("*/30 2-3 * * *", "Europe/Berlin", utc(2026, 3, 29), [utc(2026, 3, 29, 1)]),
        # 02:00 to 02:59 come twice: once, at the first.
        ("30 2 * * *", "Europe/Berlin", utc(2026, 10, 24, 22), [utc(2026, 10, 25, 0, 30)]),
        # Midnight is missing, or comes twice.
        ("0 0 * * *", "Africa/Cairo", utc(2026, 4, 23, 21), [utc(2026, 4, 23, 22)]),
        ("0 0 * * *", "America/Havana", utc(2026, 11, 1), [utc(2026, 11, 1, 4)]),
        # Half an hour of summer time.
        ("15 2 * * *", "Australia/Lord_Howe", utc(2026, 10, 3), [utc(2026, 10, 3, 15, 30)]),
    ],
)
def test_times_that_the_clocks_skip_or_show_twice(
    text: str, tz: str, since: datetime, times: list[datetime]
) -> None:
    found = fires(text, tz, since, since + timedelta(days=1))

    assert found[: len(times)] == times
    assert all(at - times[-1] >= timedelta(minutes=30) for at in found[len(times) :])
    for at in times:
        assert cron(text).fires_at_or_before(at, tz) == at
        assert cron(text).fires_at_or_before(at - MINUTE, tz) != at


def test_a_date_that_never_existed_has_no_times_s4() -> None:
    found = fires("0 18 * * *", "Pacific/Apia", utc(2011, 12, 29), utc(2012, 1, 1))

    local = [at.astimezone(ZoneInfo("Pacific/Apia")) for at in found]
    assert [(at.day, at.hour) for at in local] == [(28, 18), (29, 18), (31, 18)]


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_what_never_fires_is_told_by_none(text: str) -> None:
    assert Cron.parse(text).fires_after(utc(2026, 1, 1), "UTC") is None
    assert Cron.parse(text).fires_at_or_before(utc(2026, 1, 1), "UTC") is None


def test_the_rarest_expression_is_found_over_a_century_without_its_leap_day() -> None:
    leap_day = cron("0 0 29 2 *")

    assert leap_day.fires_after(utc(2096, 2, 29), "UTC") == utc(2104, 2, 29)
    assert leap_day.fires_at_or_before(utc(2104, 2, 28), "UTC") == utc(2096, 2, 29)


def test_an_instant_shown_again_after_midnight_knows_the_times_already_shown() -> None:
    # St John's went back at 00:01 until 2011: 23:01 to 23:59 came again after 00:00.
    tz, midnight = "America/St_Johns", utc(2010, 11, 7, 2, 30)
    daily = cron("0 0 * * *")

    assert daily.fires_at_or_before(midnight + timedelta(minutes=30), tz) == midnight
    assert daily.fires_after(midnight + timedelta(minutes=30), tz) == utc(2010, 11, 8, 3, 30)


ODD_DAYS = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("Africa/Cairo", date(2026, 4, 24)),
    ("America/Havana", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("America/St_Johns", date(2010, 11, 7)),
    ("Asia/Tokyo", date(2026, 11, 23)),
]


@pytest.mark.parametrize("text", ["* * * * *", "*/7 * * * *", "0,30 */3 * * *", "45 23 * * *"])
@pytest.mark.parametrize(("tz", "day"), ODD_DAYS)
def test_every_time_is_the_first_instant_at_which_the_clock_has_reached_it(
    text: str, tz: str, day: date
) -> None:
    since = utc(day.year, day.month, day.day) - timedelta(days=1)
    until = since + timedelta(days=3)

    expected = list(minute_by_minute(text, tz, since, until))

    assert fires(text, tz, since, until) == expected
    for before, at in pairwise(expected):
        assert cron(text).fires_at_or_before(at - timedelta(seconds=1), tz) == before


def minute_by_minute(text: str, tz: str, since: datetime, until: datetime) -> Iterator[datetime]:
    """Watch the clock: a time fires when the clock first shows it or, jumping, passes it."""
    expression, zone = cron(text), ZoneInfo(tz)
    reached = (since - MINUTE).astimezone(zone).replace(tzinfo=None)
    at = since
    while at < until:
        shown = at.astimezone(zone).replace(tzinfo=None)
        passed = [reached + MINUTE * step for step in range(1, (shown - reached) // MINUTE + 1)]
        if any(
            expression.matches(time.date())
            and time.hour in expression.hours
            and time.minute in expression.minutes
            for time in passed
        ):
            yield at
        reached = max(reached, shown)
        at += MINUTE
