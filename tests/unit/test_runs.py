"""The runs of leaderboards: bounds, names, clocks, and when they are final (S5, S41 to S43)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest

from models.program.cron import read_cron
from models.rules import calendar
from models.rules.cron import Cron
from models.rules.runs import (
    Phase,
    Run,
    RunPeriod,
    RunRule,
    next_run,
    phase,
    previous_run,
    run_at,
    run_named,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SUNDAY = 6
MONDAY_23 = date(2026, 11, 23)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def rule(
    period: str = "day",
    every: int = 1,
    tz: str | None = "UTC",
    week_starts_on: int = 0,
    cron: str | None = None,
    late: timedelta = 12 * HOUR,
) -> RunRule:
    return RunRule(
        period=RunPeriod(period),
        every=every,
        tz=tz,
        week_starts_on=week_starts_on,
        cron=Cron.parse(read_cron(cron)) if cron else None,
        late=late,
    )


def run_of(rule: RunRule, instant: datetime) -> Run:
    """Return the run of an event of someone whose date is the one in UTC."""
    return run_at(rule, instant, instant.date())


@pytest.mark.parametrize(
    ("runs", "name", "opens_at", "closes_at"),
    [
        (rule("day"), "2026-11-23", utc(2026, 11, 23), utc(2026, 11, 24)),
        (rule("week"), "2026-W48", utc(2026, 11, 23), utc(2026, 11, 30)),
        (rule("month"), "2026-11", utc(2026, 11, 1), utc(2026, 12, 1)),
        (rule("day", tz="Asia/Tokyo"), "2026-11-23", utc(2026, 11, 22, 15), utc(2026, 11, 23, 15)),
        (rule("week", week_starts_on=SUNDAY), "2026-W48", utc(2026, 11, 22), utc(2026, 11, 29)),
        # Weeks are counted from Monday 5 January 1970, days from the 1st, months from January.
        (rule("week", 2), "2026-11-23T00:00:00Z", utc(2026, 11, 23), utc(2026, 12, 7)),
        (rule("day", 3), "2026-11-21T00:00:00Z", utc(2026, 11, 21), utc(2026, 11, 24)),
        (rule("month", 3), "2026-10-01T00:00:00Z", utc(2026, 10, 1), utc(2027, 1, 1)),
        (
            rule("month", 12, tz="Europe/Paris"),
            "2025-12-31T23:00:00Z",
            utc(2025, 12, 31, 23),
            utc(2026, 12, 31, 23),
        ),
        (
            rule("cron", tz="Europe/Paris", cron="0 18 * * fri"),
            "2026-11-20T17:00:00Z",
            utc(2026, 11, 20, 17),
            utc(2026, 11, 27, 17),
        ),
    ],
)
def test_the_run_of_one_zone_for_all_s41(
    runs: RunRule, name: str, opens_at: datetime, closes_at: datetime
) -> None:
    run = run_of(runs, utc(2026, 11, 23, 10))

    assert (run.name, run.opens_at, run.closes_at) == (name, opens_at, closes_at)
    assert run.final_at == closes_at + 12 * HOUR
    assert run_of(runs, opens_at) == run_of(runs, closes_at - timedelta(microseconds=1)) == run
    assert run_of(runs, closes_at) == next_run(runs, run)


def test_one_zone_for_all_goes_by_the_instant_whatever_the_users_date_is_s42() -> None:
    run = run_at(rule("day", tz="Asia/Tokyo"), utc(2026, 11, 23, 16), date(2026, 11, 23))

    assert run.name == "2026-11-24"


def test_users_own_clock_goes_by_their_date_whatever_the_instant_is_s42() -> None:
    run = run_at(rule("day", tz=None), utc(2026, 11, 23, 16), date(2026, 11, 24))

    assert run.name == "2026-11-24"


def test_a_run_by_users_own_clock_is_open_while_it_is_anywhere_s42() -> None:
    run = run_at(rule("week", tz=None), utc(2026, 11, 25), date(2026, 11, 25))

    assert run == Run(
        name="2026-W48",
        opens_at=utc(2026, 11, 22, 10),
        closes_at=utc(2026, 11, 30, 12),
        final_at=utc(2026, 12, 1, 0),
        first_on=MONDAY_23,
        last_on=date(2026, 11, 29),
    )
    for tz in ("Asia/Tokyo", "America/New_York", "Pacific/Kiritimati"):
        monday = calendar.day_start(MONDAY_23, tz)
        over = calendar.day_start(MONDAY_23 + 7 * DAY, tz)
        assert monday is not None
        assert over is not None
        assert run.opens_at is not None
        assert run.closes_at is not None
        assert run.opens_at <= monday < over <= run.closes_at


def test_a_run_of_several_periods_by_users_own_clock_is_named_by_midnight_in_utc() -> None:
    runs = rule("week", 2, tz=None)
    run = run_at(runs, utc(2026, 11, 23), MONDAY_23)

    assert (run.name, run.first_on) == ("2026-11-23T00:00:00Z", MONDAY_23)
    assert run.opens_at == utc(2026, 11, 22, 10)
    assert run_named(runs, run.name) == run


def test_the_run_of_all_time_never_closes() -> None:
    runs = rule("all")
    run = run_of(runs, utc(2026, 11, 23))

    assert run == Run(name="all", opens_at=None, closes_at=None, final_at=None)
    assert run_named(runs, "all") is run
    assert phase(run, utc(3000, 1, 1)) is Phase.OPEN
    for other in (next_run, previous_run):
        with pytest.raises(ValueError, match="all time has none"):
            other(runs, run)


def test_weeks_start_when_the_program_says_and_keep_one_name_each_s5() -> None:
    for week_starts_on in range(7):
        runs = rule("week", week_starts_on=week_starts_on)
        names = {run_of(runs, utc(2020, 1, 1) + days * DAY).name for days in range(366 * 8)}
        run = run_of(runs, utc(2026, 11, 23))
        assert run.first_on is not None
        assert run.first_on.weekday() == week_starts_on
        assert len(names) in {418, 419, 420}


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2020, 12, 31), "2020-W53"),
        (date(2021, 1, 3), "2020-W53"),
        (date(2021, 1, 4), "2021-W01"),
        (date(2024, 12, 30), "2025-W01"),
    ],
)
def test_a_week_over_new_year_bears_the_year_of_its_fourth_day(day: date, name: str) -> None:
    assert run_at(rule("week", tz=None), utc(2026, 11, 23), day).name == name


def test_the_first_runs_are_counted_from_1970() -> None:
    assert run_of(rule("day", 5), utc(1970, 1, 1)).opens_at == utc(1970, 1, 1)
    assert run_of(rule("month", 5), utc(1970, 1, 1)).opens_at == utc(1970, 1, 1)
    assert run_of(rule("week", 5), utc(1970, 1, 5)).opens_at == utc(1970, 1, 5)
    thursdays = rule("week", 5, week_starts_on=3)
    assert run_of(thursdays, utc(1970, 1, 1)).opens_at == utc(1970, 1, 1)
    assert run_of(rule("day", 5), utc(1969, 12, 31)).opens_at == utc(1969, 12, 27)


@pytest.mark.parametrize(
    ("tz", "day", "hours"),
    [
        ("Africa/Cairo", date(2026, 4, 24), 23),
        ("America/Santiago", date(2026, 9, 6), 23),
        ("America/Havana", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
    ],
)
def test_a_run_of_one_day_is_as_long_as_the_day_s2(tz: str, day: date, hours: float) -> None:
    run = run_named(rule("day", tz=tz), day.isoformat())

    assert run.opens_at is not None
    assert run.closes_at is not None
    assert run.closes_at - run.opens_at == hours * HOUR


def test_a_date_that_never_existed_is_no_run_s4() -> None:
    runs = rule("day", tz="Pacific/Apia")
    before = run_named(runs, "2011-12-29")
    after = next_run(runs, before)

    assert after.name == "2011-12-31"
    assert before.closes_at == after.opens_at
    assert previous_run(runs, after) == before
    with pytest.raises(ValueError, match="Pacific/Apia never had that date"):
        run_named(runs, "2011-12-30")
    assert run_named(rule("day", tz=None), "2011-12-30").first_on == date(2011, 12, 30)


def test_a_run_whose_first_date_never_existed_opens_with_the_next_s4() -> None:
    fridays = rule("week", tz="Pacific/Apia", week_starts_on=4)
    run = run_at(fridays, utc(2011, 12, 31), date(2011, 12, 31))

    assert run.first_on == date(2011, 12, 30)
    assert run.opens_at == calendar.day_start(date(2011, 12, 31), "Pacific/Apia")


def test_a_run_goes_from_upcoming_over_open_and_closing_to_final_s43() -> None:
    run = run_named(rule("week", tz="Europe/Paris", late=2 * HOUR), "2026-W48")
    opens, closes, tick = utc(2026, 11, 22, 23), utc(2026, 11, 29, 23), timedelta(microseconds=1)

    assert [
        phase(run, now)
        for now in (
            opens - tick,
            opens,
            closes - tick,
            closes,
            closes + 2 * HOUR - tick,
            closes + 2 * HOUR,
        )
    ] == [Phase.UPCOMING, Phase.OPEN, Phase.OPEN, Phase.CLOSING, Phase.CLOSING, Phase.FINAL]


ZONES = ("Europe/Paris", "Pacific/Apia", "America/Havana", "America/St_Johns", None)
RULES = [
    rule(period, every, tz, week_starts_on)
    for period, every, tz, week_starts_on in product(
        ("day", "week", "month"), (1, 2, 7), ZONES, (0, SUNDAY)
    )
] + [rule("cron", tz=tz, cron=text) for tz in ZONES if tz for text in ("0 0 * * *", "30 2 * * 1,5")]


@pytest.mark.parametrize("runs", RULES, ids=str)
def test_runs_follow_each_other_and_are_found_by_their_names(runs: RunRule) -> None:
    run = run_at(runs, utc(2010, 10, 20), date(2010, 10, 20))
    seen = set()
    while run.opens_at and run.opens_at < utc(2012, 2, 1):
        following = next_run(runs, run)
        assert run_named(runs, run.name) == run
        assert previous_run(runs, following) == run
        assert run.closes_at is not None
        assert following.opens_at is not None
        if runs.tz is None:
            assert following.opens_at + 26 * HOUR == run.closes_at
        else:
            assert run_at(runs, run.opens_at, date(1970, 1, 1)) == run
            assert following.opens_at == run.closes_at
        assert run.name not in seen
        seen.add(run.name)
        run = following


@pytest.mark.parametrize(
    ("runs", "name", "reason"),
    [
        (rule("all"), "2026-11-23", "has the one run 'all'"),
        (rule("day"), "all", "is named by its day, such as '2026-11-23'"),
        (rule("day"), "2026-02-30", "such as '2026-11-23'"),
        (rule("day"), "20261123", "falls into is '2026-11-23'"),
        (rule("day"), "9999-12-31", "such as '2026-11-23'"),
        (rule("week"), "2026-11-23", "is named by its week, such as '2026-W48'"),
        (rule("week"), "2026-W54", "such as '2026-W48'"),
        (rule("week"), "2026-W1", "such as '2026-W48'"),
        (rule("month"), "2026-13", "is named by its month, such as '2026-11'"),
        (rule("day", 2), "2026-11-23", "its start in UTC, such as '2026-11-23T00:00:00Z'"),
        (rule("day", 3), "2026-11-23T00:00:00Z", "falls into is '2026-11-21T00:00:00Z'"),
        (rule("week", 2, tz=None), "2026-11-16T01:00:00Z", "falls into is '2026-11-09T00:00"),
        (
            rule("cron", tz="Europe/Paris", cron="0 18 * * fri"),
            "2026-11-20T18:00:00Z",
            "falls into is '2026-11-20T17:00:00Z'",
        ),
        (rule("day"), "", "such as '2026-11-23'"),
    ],
)
def test_what_is_no_name_of_a_run_is_refused(runs: RunRule, name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        run_named(runs, name)


def test_a_rule_that_makes_no_sense_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="with the period CRON"):
        rule("week", cron="0 0 * * *")
    with pytest.raises(ValueError, match="with the period CRON"):
        rule("cron")
    with pytest.raises(ValueError, match="one zone for all"):
        rule("cron", tz=None, cron="0 0 * * *")
    with pytest.raises(ValueError, match="at least one day"):
        rule("day", every=0)
