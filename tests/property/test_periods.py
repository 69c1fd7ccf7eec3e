"""Every zone that there is, across every transition of its clocks, and users who travel.

Periods meet without gap or overlap, no date is skipped and none counted twice. What is expected
comes from `Clocks`: plain sums over the offsets of a zone, without the calendar's functions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.rules.calendar import ZoneChange, day_start, local_date, next_day, zone_at
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
from streakline.contract import zone_names

ZONES = sorted(zone_names())
PARTS = 8
HOUR, ONE_DAY = timedelta(hours=1), timedelta(days=1)
HALF_AN_HOUR = timedelta(minutes=30)
ONE_SECOND, INSTANT = timedelta(seconds=1), timedelta(microseconds=1)
FIRST, LAST = datetime(1990, 1, 1), datetime(2038, 1, 1)  # noqa: DTZ001 - the clocks of any zone
STEP = timedelta(hours=6)
GRID = [FIRST + STEP * step for step in range((LAST - FIRST) // STEP + 1)]
DAILY = PeriodRule(frequency=Frequency.DAILY)
MONTHLY = PeriodRule(frequency=Frequency.MONTHLY)
WEEKLY = [PeriodRule(frequency=Frequency.WEEKLY, week_starts_on=day) for day in range(7)]
RULES = [DAILY, *WEEKLY, MONTHLY]
AROUND = (-3, -2, -1, 0, 1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The offsets of a zone: the one at each index holds from that instant to the next one."""

    since: Sequence[datetime]
    offsets: Sequence[timedelta]

    def first_shown(self, day: date) -> datetime | None:
        """Return the first instant at which the clocks show the date, if they ever do."""
        midnight = datetime.combine(day, time.min, UTC)
        index = max(bisect_right(self.since, midnight - 2 * ONE_DAY) - 1, 0)
        while index < len(self.since) and self.since[index] < midnight + 2 * ONE_DAY:
            first = max(midnight - self.offsets[index], self.since[index])
            after = midnight + ONE_DAY - self.offsets[index]
            if index + 1 < len(self.since):
                after = min(after, self.since[index + 1])
            if first < after:
                return first
            index += 1
        return None

    def transitions(self) -> Sequence[datetime]:
        return self.since[1:]


def clocks_of(tz: str) -> Clocks:
    """Find every change of the zone's offset: no two are nearer to each other than a step."""
    zone = ZoneInfo(tz)
    read = list(map(zone.utcoffset, GRID))
    since, offsets = [_utc(FIRST - 3 * ONE_DAY)], [_offset(zone, _utc(FIRST - 3 * ONE_DAY))]
    for index in range(1, len(GRID)):
        if read[index] != read[index - 1]:
            # The clocks may jump by a day: look from well before to well after.
            before, after = _utc(GRID[index - 1]) - ONE_DAY, _utc(GRID[index]) + ONE_DAY
            while after - before > ONE_SECOND:
                middle = before + (after - before) // ONE_SECOND // 2 * ONE_SECOND
                if _offset(zone, middle) == offsets[-1]:
                    before = middle
                else:
                    after = middle
            since.append(after)
            offsets.append(_offset(zone, after))
    assert offsets[-1] == read[-1]
    return Clocks(since=since, offsets=offsets)


def _utc(shown: datetime) -> datetime:
    return shown.replace(tzinfo=UTC)


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def test_the_clocks_of_the_test_know_what_is_known() -> None:
    berlin, apia = clocks_of("Europe/Berlin"), clocks_of("Pacific/Apia")
    assert len(berlin.transitions()) == 2 * 48
    assert datetime(2037, 10, 25, 1, tzinfo=UTC) in berlin.transitions()
    assert apia.first_shown(date(2011, 12, 30)) is None
    assert apia.first_shown(date(2011, 12, 31)) == datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert not clocks_of("UTC").transitions()


@pytest.mark.parametrize("part", range(PARTS))
def test_periods_are_whole_in_every_zone_across_every_transition_s2_s3_s4_s5(part: int) -> None:
    for tz in ZONES[part::PARTS]:
        clocks = clocks_of(tz)
        for transition in clocks.transitions():
            days_are_those_of_the_clocks(clocks, tz, transition)
            instants_are_in_one_day_each(tz, transition)
            for rule in RULES:
                periods_meet(tz, transition, rule)


def days_are_those_of_the_clocks(clocks: Clocks, tz: str, transition: datetime) -> None:
    """Each date begins when the clocks first show it, and ends when the next one begins."""
    following, begun = None, None
    for days in reversed(AROUND):
        day = transition.date() + days * ONE_DAY
        expected = clocks.first_shown(day)
        assert day_start(day, tz) == expected
        assert exists(day, DAILY, tz) == (expected is not None)
        if expected is not None:
            assert local_date(expected, tz) == day
            assert local_date(expected - INSTANT, tz) < day
            assert starts_at(day, DAILY, tz) == expected
            assert begun is None or ends_at(day, DAILY, tz) == begun
            assert following is None or next_day(day, tz) == following
            following, begun = day, expected
        elif begun is not None:
            assert starts_at(day, DAILY, tz) == ends_at(day, DAILY, tz) == begun


def instants_are_in_one_day_each(tz: str, transition: datetime) -> None:
    """Over time the date goes up alone, and names the one day that the instant lies in."""
    latest = date.min
    for instant in instants_around(transition):
        day = local_date(instant, tz)
        assert day >= latest
        latest = day
        shown = [transition.date() + days * ONE_DAY for days in AROUND]
        assert [day] == [
            near
            for near in shown
            if starts_at(near, DAILY, tz) <= instant < ends_at(near, DAILY, tz)
        ]


def instants_around(transition: datetime) -> Iterator[datetime]:
    for half_hours in (-50, -24, -2):
        yield transition + half_hours * HALF_AN_HOUR
    yield transition - INSTANT
    yield transition
    yield transition + INSTANT
    for half_hours in (1, 2, 24, 50):
        yield transition + half_hours * HALF_AN_HOUR


def periods_meet(tz: str, transition: datetime, rule: PeriodRule) -> None:
    """The period of the transition and the ones beside it: one ends where the next begins."""
    middle = period_of(local_date(transition, tz), rule)
    assert starts_at(middle, rule, tz) <= transition < ends_at(middle, rule, tz)
    assert period_of(local_date(transition - INSTANT, tz), rule) in (
        middle,
        last_existing(previous_period(middle, rule), rule, tz),
    )
    for period in (previous_period(middle, rule), middle):
        after = next_period(period, rule)
        assert previous_period(after, rule) == period
        assert last_date(period, rule) + ONE_DAY == after
        boundary = starts_at(after, rule, tz)
        assert ends_at(period, rule, tz) == boundary
        # The boundary is the first instant of what comes after: not a microsecond earlier.
        assert local_date(boundary, tz) >= after
        assert local_date(boundary - INSTANT, tz) < after
        assert boundary == day_start(first_existing(after, tz), tz)


def last_existing(period: date, rule: PeriodRule, tz: str) -> date:
    while not exists(period, rule, tz):
        period = previous_period(period, rule)
    return period


def first_existing(day: date, tz: str) -> date:
    return day if day_start(day, tz) is not None else next_day(day, tz)


instants = st.datetimes(datetime(1901, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
zones = st.sampled_from(ZONES)


@given(tz=zones, instant=instants, rule=st.sampled_from(RULES))
def test_every_instant_is_in_the_period_of_its_local_date(
    tz: str, instant: datetime, rule: PeriodRule
) -> None:
    day = local_date(instant, tz)
    period = period_of(day, rule)
    assert day in list(dates_of(period, rule))
    assert starts_at(period, rule, tz) <= instant < ends_at(period, rule, tz)
    assert starts_at(day, DAILY, tz) <= instant < starts_at(next_day(day, tz), DAILY, tz)
    assert lived(period, rule, [], tz)


DAY = date(2026, 5, 7)
FAR_APART = ["Pacific/Kiritimati", "Asia/Tokyo", "UTC", "America/New_York", "Pacific/Pago_Pago"]
moments = st.integers(-50, 50).map(
    lambda hours: datetime.combine(DAY, time(12), UTC) + hours * HOUR
)
changes = st.builds(ZoneChange, moments, st.one_of(st.sampled_from(FAR_APART), zones))
journeys = st.lists(changes, max_size=5).map(sorted)
graces = st.sampled_from([timedelta(0), 6 * HOUR, 3 * ONE_DAY])
rules = st.sampled_from([DAILY, WEEKLY[3], WEEKLY[5], MONTHLY])


@given(journey=journeys, instant=moments, rule=rules, grace=graces)
def test_a_period_never_closes_while_the_user_is_in_it_s7(
    journey: list[ZoneChange], instant: datetime, rule: PeriodRule, grace: timedelta
) -> None:
    here = zone_at(journey, instant, "UTC")
    period = period_of(local_date(instant, here), rule)
    closing = closes_at(period, rule, journey, "UTC", grace)
    came_back = any(closing <= change.since <= instant for change in journey)
    # Who moves west may live a date again that has closed: it stays so (S8).
    assert came_back or instant < ends_at(period, rule, here) <= closing - grace
    assert closing <= over_everywhere_at(period, rule) + grace
    assert lived(period, rule, journey, "UTC")


@given(journey=journeys, rule=rules, days=st.integers(-3, 3))
def test_a_period_closes_when_it_is_over_in_one_of_the_users_zones_s7(
    journey: list[ZoneChange], rule: PeriodRule, days: int
) -> None:
    period = period_of(DAY + days * ONE_DAY, rule)
    known = {change.tz for change in journey} or {"UTC"}
    closing = closes_at(period, rule, journey, "UTC", timedelta(0))
    assert closing in {ends_at(period, rule, tz) for tz in known}


@given(journey=journeys, move=changes, rule=rules, grace=graces)
def test_travel_never_shortens_a_period_that_is_open_s7(
    journey: list[ZoneChange], move: ZoneChange, rule: PeriodRule, grace: timedelta
) -> None:
    assume(all(change.since != move.since for change in journey))
    # What is told of the time before the first zone is no journey: that zone held already (S6).
    assume(journey and journey[0].since < move.since)
    before = move.since - INSTANT
    period = period_of(local_date(before, zone_at(journey, before, "UTC")), rule)
    stayed = closes_at(period, rule, journey, "UTC", grace)
    assert closes_at(period, rule, sorted([*journey, move]), "UTC", grace) >= stayed


@given(journey=journeys, rule=rules, days=st.integers(-3, 3))
def test_periods_close_in_their_order_but_for_zones_more_than_a_day_apart_s7(
    journey: list[ZoneChange], rule: PeriodRule, days: int
) -> None:
    """UTC-12 and UTC+14 are 26 hours apart, which is 2 more than the shortest period has."""
    period = period_of(DAY + days * ONE_DAY, rule)
    after = next_period(period, rule)
    closing = closes_at(period, rule, journey, "UTC", timedelta(0))
    assert closing <= closes_at(after, rule, journey, "UTC", timedelta(0)) + 2 * HOUR
