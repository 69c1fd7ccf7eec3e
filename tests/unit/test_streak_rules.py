"""Daily streaks as tables of cases: which days are active, and what chains they make."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.streaks import (
    Chain,
    ChangedDays,
    Mode,
    StreakRule,
    chain_deadline,
    changed_days,
    extend_chain,
    is_active,
    refold_start,
)
from models.rules.totals import DayTotal, DayTotals


def rule(mode: Mode, **least: str) -> StreakRule:
    thresholds = {metric: Decimal(value) for metric, value in least.items()}
    return StreakRule(name="daily", mode=mode, thresholds=thresholds)


def values(**came_to: str) -> DayTotals:
    return {metric: DayTotal(Decimal(value), 1) for metric, value in came_to.items()}


def november(number: int) -> date:
    return date(2026, 11, number)


def chain(first: int, last: int) -> Chain:
    return Chain(started_on=november(first), ended_on=november(last), length=last - first + 1)


@pytest.mark.parametrize(
    ("came_to", "of_any", "of_all"),
    [
        ({}, False, False),
        ({"lessons": "0.9999", "minutes": "9.9999"}, False, False),
        ({"lessons": "1"}, True, False),
        ({"minutes": "10"}, True, False),
        ({"lessons": "1", "minutes": "9"}, True, False),
        ({"lessons": "1", "minutes": "10"}, True, True),
        ({"lessons": "-1", "minutes": "10"}, True, False),
        ({"lessons": "-1", "minutes": "-10"}, False, False),
        ({"other": "100"}, False, False),
    ],
)
def test_a_day_is_active_when_any_or_all_thresholds_are_reached_s20(
    came_to: dict[str, str], of_any: bool, of_all: bool
) -> None:
    came = values(**came_to)
    assert is_active(rule(Mode.ANY, lessons="1", minutes="10"), came) is of_any
    assert is_active(rule(Mode.ALL, lessons="1", minutes="10"), came) is of_all


@pytest.mark.parametrize("mode", Mode)
def test_a_threshold_of_zero_needs_an_event_s20(mode: Mode) -> None:
    at_zero = rule(mode, balance="0")
    assert not is_active(at_zero, {})
    assert is_active(at_zero, values(balance="0"))
    assert not is_active(at_zero, values(balance="-0.0001"))


def test_days_become_active_and_inactive_again_s20() -> None:
    before = {
        november(1): values(lessons="1"),
        november(2): values(lessons="0.5"),
        november(3): values(lessons="2"),
    }
    after = {
        november(5): values(lessons="3"),
        november(3): values(lessons="1"),
        november(2): values(lessons="1"),
        november(1): values(lessons="0"),
        november(4): values(lessons="-1"),
    }
    changed = changed_days(rule(Mode.ANY, lessons="1"), before, after)
    assert list(changed.added) == [november(2), november(5)]
    assert list(changed.removed) == [november(1)]
    assert changed.first == november(1)
    assert changed


def test_a_day_that_stays_as_it_was_has_not_changed_s20() -> None:
    before = {november(1): values(lessons="1"), november(2): values(lessons="0")}
    after = {november(1): values(lessons="7"), november(2): values(lessons="0.5")}
    assert not changed_days(rule(Mode.ANY, lessons="1"), before, after)


@pytest.mark.parametrize(
    ("added", "removed", "latest", "follows"),
    [
        ([5], [], None, True),
        ([5], [], chain(1, 4), True),
        ([9], [], chain(1, 4), True),
        ([4], [], chain(5, 6), False),
        ([2, 9], [], chain(4, 6), False),
        ([9], [4], chain(1, 4), False),
        ([], [4], chain(1, 4), False),
    ],
    ids=["first", "next", "later", "before", "before-and-after", "both", "removed"],
)
def test_days_follow_the_latest_chain_only_when_all_are_new_and_after_it_s14(
    added: list[int], removed: list[int], latest: Chain | None, follows: bool
) -> None:
    changed = ChangedDays(
        added=[november(day) for day in added], removed=[november(day) for day in removed]
    )
    assert changed.follow(latest) is follows


@pytest.mark.parametrize(
    ("latest", "days", "chains"),
    [
        (None, [], []),
        (chain(1, 4), [], [chain(1, 4)]),
        (None, [3], [chain(3, 3)]),
        (None, [1, 2, 3], [chain(1, 3)]),
        (chain(1, 4), [5], [chain(1, 5)]),
        (chain(1, 4), [6], [chain(1, 4), chain(6, 6)]),
        (chain(1, 4), [5, 7, 8, 10], [chain(1, 5), chain(7, 8), chain(10, 10)]),
    ],
)
def test_a_chain_is_an_unbroken_run_of_active_days_s21(
    latest: Chain | None, days: list[int], chains: list[Chain]
) -> None:
    assert extend_chain(latest, [november(day) for day in days], "UTC") == chains


@pytest.mark.parametrize(
    ("tz", "before", "after", "length"),
    [
        ("Pacific/Apia", date(2011, 12, 29), date(2011, 12, 31), 2),
        ("Pacific/Kwajalein", date(1993, 8, 20), date(1993, 8, 22), 2),
        ("UTC", date(2011, 12, 29), date(2011, 12, 31), 1),
    ],
)
def test_a_day_that_never_existed_breaks_no_chain_s4(
    tz: str, before: date, after: date, length: int
) -> None:
    last = extend_chain(None, [before, after], tz)[-1]
    assert (last.ended_on, last.length) == (after, length)


@pytest.mark.parametrize(
    ("tz", "ended_on", "deadline"),
    [
        ("UTC", november(23), datetime(2026, 11, 25, tzinfo=UTC)),
        ("Asia/Tokyo", november(23), datetime(2026, 11, 24, 15, tzinfo=UTC)),
        # the clocks go back on 1 November: the day that must be missed has 25 hours
        ("America/New_York", date(2026, 10, 31), datetime(2026, 11, 2, 5, tzinfo=UTC)),
        # 6 September starts at 01:00, and so does what ends at its start
        ("America/Santiago", date(2026, 9, 4), datetime(2026, 9, 6, 4, tzinfo=UTC)),
        # the 30th never was: the 31st is the day to miss
        ("Pacific/Apia", date(2011, 12, 29), datetime(2011, 12, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_chain_is_over_when_the_day_after_its_last_has_passed_s26(
    tz: str, ended_on: date, deadline: datetime
) -> None:
    assert chain_deadline(ended_on, tz) == deadline


@pytest.mark.parametrize(
    ("changed", "starts", "start"),
    [
        (5, [], 5),
        (5, [5], 5),
        (5, [3], 3),
        (5, [6, 9], 5),
        (5, [1, 3], 1),
        (5, [4, 1, 3, 8], 3),
    ],
)
def test_a_change_in_the_past_is_folded_anew_from_the_chain_before_it_s14(
    changed: int, starts: list[int], start: int
) -> None:
    found = refold_start(november(changed), [november(day) for day in starts])
    assert found == november(start)


@given(
    offsets=st.sets(st.integers(min_value=0, max_value=60), min_size=1),
    cut=st.integers(min_value=0, max_value=60),
    tz=st.sampled_from(["UTC", "America/Santiago", "Pacific/Apia"]),
)
def test_chains_folded_in_two_parts_are_those_folded_at_once_s14(
    offsets: set[int], cut: int, tz: str
) -> None:
    missing = date(2011, 12, 30)
    start = date(2011, 12, 1)
    days = [start + timedelta(days=one) for one in sorted(offsets)]
    days = [day for day in days if day != missing]
    whole = extend_chain(None, days, tz)
    early = extend_chain(None, days[:cut], tz)
    late = extend_chain(early[-1] if early else None, days[cut:], tz)
    assert early[:-1] + late == whole
    assert sum(one.length for one in whole) == len(days)
