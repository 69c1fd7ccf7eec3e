"""Days, weeks and months where the clocks are odd, and of users who travel."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from models.rules.calendar import ZoneChange, local_date
from models.rules.periods import (
    Frequency,
    PeriodRule,
    closes_at,
    dates_of,
    ends_at,
    exists,
    last_date,
    lived,
    next_period,
    over_everywhere_at,
    period_of,
    previous_period,
    starts_at,
)

DAILY = PeriodRule(frequency=Frequency.DAILY)
WEEKLY = PeriodRule(frequency=Frequency.WEEKLY)
MONTHLY = PeriodRule(frequency=Frequency.MONTHLY)
RULES = (DAILY, WEEKLY, MONTHLY)
NO_GRACE = timedelta(0)
ONE_DAY = timedelta(days=1)
HONOLULU, LOS_ANGELES, NEW_YORK = "Pacific/Honolulu", "America/Los_Angeles", "America/New_York"
TOKYO, PAGO_PAGO, KIRITIMATI = "Asia/Tokyo", "Pacific/Pago_Pago", "Pacific/Kiritimati"


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def weeks_from(weekday: int) -> PeriodRule:
    return PeriodRule(frequency=Frequency.WEEKLY, week_starts_on=weekday)


@pytest.mark.parametrize(
    ("tz", "day", "start", "hours"),
    [
        # Midnight is missing: the day starts at the first real instant.
        ("Africa/Cairo", date(2026, 4, 24), utc(2026, 4, 23, 22), 23),
        ("America/Santiago", date(2026, 9, 6), utc(2026, 9, 6, 4), 23),
        ("America/Havana", date(2026, 3, 8), utc(2026, 3, 8, 5), 23),
        ("Asia/Beirut", date(2026, 3, 29), utc(2026, 3, 28, 22), 23),
        # Half an hour of summer time.
        ("Australia/Lord_Howe", date(2026, 10, 4), utc(2026, 10, 3, 13, 30), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), utc(2026, 4, 4, 13), 24.5),
        # Morocco leaves its usual time for Ramadan.
        ("Africa/Casablanca", date(2026, 2, 15), utc(2026, 2, 14, 23), 25),
        ("Africa/Casablanca", date(2026, 3, 22), utc(2026, 3, 22), 23),
        # Greenland changes with Europe: in the late evening of the Saturday.
        ("America/Nuuk", date(2026, 3, 28), utc(2026, 3, 28, 2), 23),
        ("America/Nuuk", date(2026, 10, 24), utc(2026, 10, 24, 1), 25),
        ("UTC", date(2026, 7, 1), utc(2026, 7, 1), 24),
    ],
)
def test_a_day_runs_from_its_first_instant_to_the_next_days_s2(
    tz: str, day: date, start: datetime, hours: float
) -> None:
    assert starts_at(day, DAILY, tz) == start
    assert ends_at(day, DAILY, tz) == start + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("tz", "rule", "period", "start", "end"),
    [
        # A week whose first day has no midnight, and the week before it.
        ("Cuba", weeks_from(6), date(2026, 3, 8), utc(2026, 3, 8, 5), utc(2026, 3, 15, 4)),
        ("Cuba", weeks_from(6), date(2026, 3, 1), utc(2026, 3, 1, 5), utc(2026, 3, 8, 5)),
        ("Egypt", weeks_from(4), date(2026, 4, 24), utc(2026, 4, 23, 22), utc(2026, 4, 30, 21)),
        ("America/Nuuk", MONTHLY, date(2026, 3, 1), utc(2026, 3, 1, 2), utc(2026, 4, 1, 1)),
        ("Africa/Casablanca", MONTHLY, date(2026, 2, 1), utc(2026, 1, 31, 23), utc(2026, 3, 1)),
    ],
)
def test_weeks_and_months_run_from_first_instant_to_first_instant_s2_s5(
    tz: str, rule: PeriodRule, period: date, start: datetime, end: datetime
) -> None:
    assert (starts_at(period, rule, tz), ends_at(period, rule, tz)) == (start, end)


@pytest.mark.parametrize("rule", [DAILY, weeks_from(6), MONTHLY])
def test_a_date_that_the_clocks_show_twice_starts_once_s3(rule: PeriodRule) -> None:
    # Havana repeats the first hour of 1 November 2026, a Sunday.
    first = date(2026, 11, 1)
    assert starts_at(first, rule, "America/Havana") == utc(2026, 11, 1, 4)
    assert ends_at(previous_period(first, rule), rule, "America/Havana") == utc(2026, 11, 1, 4)
    assert ends_at(first, DAILY, "America/Havana") == utc(2026, 11, 2, 5)
    assert closes_at(first, DAILY, [], "America/Havana", NO_GRACE) == utc(2026, 11, 2, 5)


@pytest.mark.parametrize(
    ("tz", "missing", "jump"),
    [
        ("Pacific/Apia", date(2011, 12, 30), utc(2011, 12, 30, 10)),
        ("Pacific/Kwajalein", date(1993, 8, 21), utc(1993, 8, 21, 12)),
    ],
)
def test_a_date_that_never_existed_is_no_period_s4(tz: str, missing: date, jump: datetime) -> None:
    assert not exists(missing, DAILY, tz)
    assert not lived(missing, DAILY, [], tz)
    assert starts_at(missing, DAILY, tz) == ends_at(missing, DAILY, tz) == jump
    assert ends_at(missing - ONE_DAY, DAILY, tz) == jump
    assert starts_at(missing + ONE_DAY, DAILY, tz) == jump
    assert exists(missing - ONE_DAY, DAILY, tz)
    assert exists(missing + ONE_DAY, DAILY, tz)


@pytest.mark.parametrize(
    ("tz", "missing"),
    [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))],
)
def test_a_week_whose_first_date_never_existed_starts_with_the_next_s4(
    tz: str, missing: date
) -> None:
    rule = weeks_from(missing.weekday())
    assert exists(missing, rule, tz)
    assert local_date(starts_at(missing, rule, tz), tz) == missing + ONE_DAY
    assert starts_at(missing, rule, tz) == starts_at(missing + ONE_DAY, DAILY, tz)
    assert ends_at(missing - timedelta(days=7), rule, tz) == starts_at(missing, rule, tz)


def test_a_date_that_exists_in_one_of_the_users_zones_was_lived_s4_s7() -> None:
    missing = date(2011, 12, 30)
    at_home = ZoneChange(utc(2011, 1, 1), PAGO_PAGO)
    moved = [at_home, ZoneChange(utc(2011, 12, 30, 12), "Pacific/Apia")]
    # Pago Pago's 30 December had begun at 11:00; the flight landed on Apia's 31st.
    assert lived(missing, DAILY, moved, "UTC")
    assert closes_at(missing, DAILY, moved, "UTC", NO_GRACE) == utc(2011, 12, 31, 11)
    # A day earlier the flight landed on Apia's 29th, which the 31st followed.
    earlier = [at_home, ZoneChange(utc(2011, 12, 29, 10), "Pacific/Apia")]
    assert not lived(missing, DAILY, earlier, "UTC")


@pytest.mark.parametrize(
    ("rule", "day", "period", "after", "last"),
    [
        (DAILY, date(2026, 12, 31), date(2026, 12, 31), date(2027, 1, 1), date(2026, 12, 31)),
        (WEEKLY, date(2027, 1, 3), date(2026, 12, 28), date(2027, 1, 4), date(2027, 1, 3)),
        (WEEKLY, date(2027, 1, 4), date(2027, 1, 4), date(2027, 1, 11), date(2027, 1, 10)),
        (MONTHLY, date(2026, 12, 31), date(2026, 12, 1), date(2027, 1, 1), date(2026, 12, 31)),
        (MONTHLY, date(2026, 1, 1), date(2026, 1, 1), date(2026, 2, 1), date(2026, 1, 31)),
        (MONTHLY, date(2026, 2, 28), date(2026, 2, 1), date(2026, 3, 1), date(2026, 2, 28)),
        (MONTHLY, date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1), date(2028, 2, 29)),
        (MONTHLY, date(2100, 2, 28), date(2100, 2, 1), date(2100, 3, 1), date(2100, 2, 28)),
    ],
)
def test_a_period_is_named_by_its_first_date_s5(
    rule: PeriodRule, day: date, period: date, after: date, last: date
) -> None:
    assert period_of(day, rule) == period
    assert next_period(period, rule) == after
    assert previous_period(after, rule) == period
    assert last_date(period, rule) == last


@pytest.mark.parametrize("weekday", range(7))
def test_weeks_start_on_the_programs_weekday_s5(weekday: int) -> None:
    rule = weeks_from(weekday)
    for days in range(14):
        day = date(2026, 12, 25) + timedelta(days=days)
        period = period_of(day, rule)
        assert period.weekday() == weekday
        assert timedelta(0) <= day - period < timedelta(days=7)
        assert day in list(dates_of(period, rule))


@pytest.mark.parametrize(
    ("rule", "period", "count"),
    [
        (DAILY, date(2026, 5, 7), 1),
        (WEEKLY, date(2026, 12, 28), 7),
        (MONTHLY, date(2028, 2, 1), 29),
    ],
)
def test_the_dates_of_a_period_are_those_of_the_calendar_s5(
    rule: PeriodRule, period: date, count: int
) -> None:
    dates = list(dates_of(period, rule))
    assert dates == [period + timedelta(days=days) for days in range(count)]
    assert dates[-1] == last_date(period, rule)
    assert {period_of(day, rule) for day in dates} == {period}


@pytest.mark.parametrize("weekday", [-1, 7])
def test_a_week_cannot_start_on_a_day_that_there_is_not_s5(weekday: int) -> None:
    with pytest.raises(ValueError, match="must be 0"):
        weeks_from(weekday)


@pytest.mark.parametrize("day", [date(2, 1, 1), date(9998, 12, 31)])
@pytest.mark.parametrize("tz", [KIRITIMATI, "Etc/GMT+12", "Asia/Manila", "America/Havana"])
@pytest.mark.parametrize("rule", RULES)
def test_the_ends_of_the_calendar_raise_nothing(day: date, tz: str, rule: PeriodRule) -> None:
    period = period_of(day, rule)
    zones = [ZoneChange(starts_at(day, DAILY, tz), tz) for _ in range(2)]
    assert starts_at(period, rule, tz) < ends_at(period, rule, tz)
    assert closes_at(period, rule, zones, tz, ONE_DAY) > ends_at(period, rule, tz)
    assert lived(period, rule, zones, tz)
    assert previous_period(period, rule) < period < next_period(period, rule)
    assert list(dates_of(period, rule))[-1] == last_date(period, rule)


@pytest.mark.parametrize("grace", [NO_GRACE, timedelta(hours=6), timedelta(days=3)])
def test_one_who_stays_is_held_to_the_end_in_the_zone_and_grace_s7_s25(grace: timedelta) -> None:
    day, end = date(2026, 5, 7), utc(2026, 5, 7, 15)
    assert closes_at(day, DAILY, [], TOKYO, grace) == end + grace
    since = [ZoneChange(utc(2030, 1, 1), TOKYO)]  # before the first change its zone holds
    assert closes_at(day, DAILY, since, "UTC", grace) == end + grace


START, LOS_ANGELES_END, TOKYO_END = (
    ZoneChange(utc(2026, 1, 1), LOS_ANGELES),
    utc(2026, 5, 8, 7),
    utc(2026, 5, 7, 15),
)


@pytest.mark.parametrize(
    ("zones", "end"),
    [
        # East over the day: Tokyo's 7 May is over at 15:00, but the one begun at home still runs.
        ([START, ZoneChange(utc(2026, 5, 7, 12), TOKYO)], LOS_ANGELES_END),
        # East before the day began at home: only Tokyo's counts, from wherever in it.
        ([START, ZoneChange(utc(2026, 5, 7, 7), TOKYO)], TOKYO_END),
        # East after it, and long before it.
        ([START, ZoneChange(LOS_ANGELES_END, TOKYO)], LOS_ANGELES_END),
        ([START, ZoneChange(utc(2026, 2, 1), TOKYO)], TOKYO_END),
    ],
)
def test_going_east_never_shortens_a_day_s7(zones: list[ZoneChange], end: datetime) -> None:
    assert closes_at(date(2026, 5, 7), DAILY, zones, "UTC", NO_GRACE) == end


TOKYO_FIRST = ZoneChange(utc(2026, 1, 1), TOKYO)


@pytest.mark.parametrize(
    ("landed", "end"),
    [
        (utc(2026, 5, 7, 10), LOS_ANGELES_END),  # within the day in Tokyo, as in Los Angeles
        (utc(2026, 5, 7, 3), LOS_ANGELES_END),  # Los Angeles still had the 6th
        (utc(2026, 5, 7, 20), TOKYO_END),  # lived again, but closed: it stays so (S8)
        (LOS_ANGELES_END, TOKYO_END),  # over in both
    ],
)
def test_going_west_a_date_may_be_lived_twice_and_closes_once_s7(
    landed: datetime, end: datetime
) -> None:
    zones = [TOKYO_FIRST, ZoneChange(landed, LOS_ANGELES)]
    assert closes_at(date(2026, 5, 7), DAILY, zones, "UTC", NO_GRACE) == end
    assert closes_at(date(2026, 5, 8), DAILY, zones, "UTC", NO_GRACE) >= utc(2026, 5, 8, 15)


def test_of_several_moves_in_a_day_the_latest_end_counts_s7() -> None:
    zones = [
        TOKYO_FIRST,
        ZoneChange(utc(2026, 5, 7, 5), "Europe/Berlin"),
        ZoneChange(utc(2026, 5, 7, 8), HONOLULU),  # still its 6 May, and left before it is over
        ZoneChange(utc(2026, 5, 7, 9), NEW_YORK),
        ZoneChange(utc(2026, 5, 7, 14), "Europe/Berlin"),
    ]
    assert closes_at(date(2026, 5, 7), DAILY, zones, "UTC", NO_GRACE) == utc(2026, 5, 8, 4)
    assert closes_at(date(2026, 5, 8), DAILY, zones, "UTC", NO_GRACE) == utc(2026, 5, 8, 22)
    # Honolulu's 6 May was lived, after Tokyo's had been over for 17 hours: it stays closed (S8).
    assert closes_at(date(2026, 5, 6), DAILY, zones, "UTC", NO_GRACE) == utc(2026, 5, 6, 15)


def test_a_zone_of_no_duration_was_not_had_s7() -> None:
    noon = utc(2026, 5, 7, 12)
    zones = [TOKYO_FIRST, ZoneChange(noon, HONOLULU), ZoneChange(noon, "Europe/Berlin")]
    assert closes_at(date(2026, 5, 7), DAILY, zones, "UTC", NO_GRACE) == utc(2026, 5, 7, 22)


def test_moves_long_before_and_long_after_change_nothing_s7() -> None:
    elsewhere = [
        ZoneChange(utc(2020, 1, 1) + timedelta(days=days), HONOLULU if days % 2 else KIRITIMATI)
        for days in range(900)
    ]
    later = [change._replace(since=change.since + timedelta(days=4000)) for change in elsewhere]
    zones = [*elsewhere, TOKYO_FIRST, *later]
    assert closes_at(date(2026, 5, 7), DAILY, zones, "UTC", NO_GRACE) == TOKYO_END
    assert lived(date(2026, 5, 7), DAILY, zones, "UTC")


def test_no_day_stays_open_past_its_end_in_utc_minus_12_s7() -> None:
    cap = utc(2026, 5, 8, 12)
    assert over_everywhere_at(date(2026, 5, 7), DAILY) == cap
    west = [TOKYO_FIRST, ZoneChange(utc(2026, 5, 7, 12), "Etc/GMT+12")]
    assert closes_at(date(2026, 5, 7), DAILY, west, "UTC", NO_GRACE) == cap
    assert closes_at(date(2026, 5, 7), DAILY, west, "UTC", ONE_DAY) == cap + ONE_DAY
    # Until 1844 Manila was behind even that: the only zone that the cap ever cuts.
    assert ends_at(date(1844, 12, 1), DAILY, "Asia/Manila") > utc(1844, 12, 2, 12)
    assert closes_at(date(1844, 12, 1), DAILY, [], "Asia/Manila", NO_GRACE) == utc(1844, 12, 2, 12)


def test_one_who_jumped_over_a_date_never_lived_it_s4_s7() -> None:
    # From 23:30 on 29 December in Pago Pago to 00:30 on the 31st in Kiritimati.
    zones = [
        ZoneChange(utc(2026, 1, 1), PAGO_PAGO),
        ZoneChange(utc(2026, 12, 30, 10, 30), KIRITIMATI),
    ]
    assert closes_at(date(2026, 12, 30), DAILY, zones, "UTC", NO_GRACE) == utc(2026, 12, 31, 11)
    assert not lived(date(2026, 12, 30), DAILY, zones, "UTC")


def test_a_move_over_more_than_a_day_of_zones_can_close_two_dates_out_of_order_s7() -> None:
    # Half an hour into 7 May in Pago Pago, which thereby was had; then 8 May in Kiritimati.
    zones = [
        ZoneChange(utc(2026, 1, 1), PAGO_PAGO),
        ZoneChange(utc(2026, 5, 7, 11, 30), KIRITIMATI),
    ]
    assert closes_at(date(2026, 5, 7), DAILY, zones, "UTC", NO_GRACE) == utc(2026, 5, 8, 11)
    assert closes_at(date(2026, 5, 8), DAILY, zones, "UTC", NO_GRACE) == utc(2026, 5, 8, 10)


@pytest.mark.parametrize(
    ("rule", "period", "moved", "end"),
    [
        # Week from Monday 4 May: moved on Wednesday, moved back on the day after it.
        (WEEKLY, date(2026, 5, 4), utc(2026, 5, 6), utc(2026, 5, 11, 7)),
        (MONTHLY, date(2026, 5, 1), utc(2026, 5, 6), utc(2026, 6, 1, 7)),
        # Within the last hours at home, and within those in Los Angeles alone.
        (WEEKLY, date(2026, 5, 4), utc(2026, 5, 10, 14), utc(2026, 5, 11, 7)),
        (MONTHLY, date(2026, 5, 1), utc(2026, 5, 31, 14), utc(2026, 6, 1, 7)),
        # Too late for the period.
        (WEEKLY, date(2026, 5, 4), utc(2026, 5, 11, 7), utc(2026, 5, 10, 15)),
        (MONTHLY, date(2026, 5, 1), utc(2026, 6, 1, 7), utc(2026, 5, 31, 15)),
    ],
)
def test_weeks_and_months_stay_open_for_all_zones_of_the_journey_s7(
    rule: PeriodRule, period: date, moved: datetime, end: datetime
) -> None:
    back = ZoneChange(moved + ONE_DAY, TOKYO)
    zones = [TOKYO_FIRST, ZoneChange(moved, LOS_ANGELES), back]
    assert closes_at(period, rule, zones, "UTC", NO_GRACE) == end


@pytest.mark.parametrize(
    ("rule", "period", "over"),
    [
        (WEEKLY, date(2026, 12, 28), utc(2027, 1, 4, 12)),
        (MONTHLY, date(2026, 12, 1), utc(2027, 1, 1, 12)),
    ],
)
def test_weeks_and_months_are_over_everywhere_half_a_day_after_utc_s7(
    rule: PeriodRule, period: date, over: datetime
) -> None:
    assert over_everywhere_at(period, rule) == over == ends_at(period, rule, "Etc/GMT+12")
