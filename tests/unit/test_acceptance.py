"""What counts and what is set aside, as tables of cases: identity first, then program and clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from models.rules.acceptance import (
    OCCURRED_AT_MIN,
    Accepted,
    Content,
    Days,
    Duplicate,
    Reason,
    Refusal,
    accept,
    compare,
    content_of,
    refuse,
)
from models.rules.arrivals import Arrival
from models.rules.rulebook import MetricAggregate, MetricRule, Rulebook
from models.rules.state import PeriodTotal
from streakline.contract import VALUE_MAX, Event

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
AGE_MAX = timedelta(days=30)
INSTANT = timedelta(microseconds=1)
PART = Decimal("0.0001")


def metric(
    *, allow_negative: bool = False, value_max: str | None = None, **limits: Any
) -> MetricRule:
    return MetricRule(
        aggregate=MetricAggregate.SUM,
        allow_negative=allow_negative,
        value_max=None if value_max is None else Decimal(value_max),
        total_max=VALUE_MAX,
        **limits,
    )


RULEBOOK = Rulebook(
    version=1,
    applied_at=NOW - 9 * AGE_MAX,
    tz="UTC",
    event_age_max=AGE_MAX,
    metrics={
        "lessons": metric(),
        "balance": metric(allow_negative=True),
        "minutes": metric(value_max="90"),
        "quizzes": metric(events_per_day_max=2),
        "pages": metric(value_per_day_max=Decimal(10)),
        "coins": metric(
            allow_negative=True, events_per_day_max=3, value_per_day_max=Decimal("2.5")
        ),
    },
    streaks={},
    points={},
    boards=(),
    nodes=(),
)


def arrival(
    name: str = "lessons",
    value: str | Decimal = "1",
    *,
    key: str = "k",
    occurred_at: datetime | None = None,
    received_at: datetime = NOW,
    imported: bool = False,
    **more: Any,
) -> Arrival:
    event = Event(
        user_id="u", metric=name, value=value, key=key, occurred_at=occurred_at, attributes=more
    )
    return Arrival(
        event=event,
        key=key,
        occurred_at=occurred_at or received_at,
        received_at=received_at,
        imported=imported,
    )


def accept_all(
    arrivals: Sequence[Arrival],
    known: Mapping[tuple[str, str, str], Content] | None = None,
    totals: Mapping[tuple[str, str], Decimal] | None = None,
) -> Accepted:
    return accept(arrivals, RULEBOOK, known or {}, totals or {}, NOW)


def reason(one: Arrival, total: Decimal = Decimal(0), now: datetime = NOW) -> Reason | None:
    refusal = refuse(one, RULEBOOK, total, now)
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    ("first", "second", "differing"),
    [
        ({}, {}, None),
        ({"value": "1"}, {"value": "1.0"}, None),
        ({"lang": "de", "os": "ios"}, {"os": "ios", "lang": "de"}, None),
        ({"occurred_at": NOW}, {"occurred_at": NOW}, None),
        ({"occurred_at": NOW}, {}, None),
        ({}, {"occurred_at": NOW - timedelta(hours=1)}, None),
        ({"received_at": NOW}, {"received_at": NOW + timedelta(hours=1)}, None),
        ({}, {"imported": True}, None),
        ({"value": "1"}, {"value": "2"}, "value"),
        ({"lang": "de"}, {"lang": "en"}, "attributes"),
        ({"lang": "de"}, {}, "attributes"),
        ({"occurred_at": NOW}, {"occurred_at": NOW - INSTANT}, "occurred_at"),
        (
            {"value": "1", "lang": "de", "occurred_at": NOW},
            {"value": "2", "lang": "en", "occurred_at": NOW - INSTANT},
            "value and attributes and occurred_at",
        ),
    ],
)
def test_the_same_again_is_a_duplicate_and_other_content_a_conflict_s11(
    first: dict[str, Any], second: dict[str, Any], differing: str | None
) -> None:
    verdict = compare(content_of(arrival(**first)), arrival(**second))
    if differing is None:
        assert isinstance(verdict, Duplicate)
    else:
        assert isinstance(verdict, Refusal)
        assert verdict.reason is Reason.CONFLICT
        assert verdict.detail.startswith(f"{differing} differ from the event accepted")


def test_a_duplicate_and_a_conflict_are_found_within_a_batch_too_s11() -> None:
    accepted = accept_all([arrival(value="1"), arrival(value="1"), arrival(value="2")])
    assert [one.event.value for one in accepted.new] == [Decimal(1)]
    assert accepted.duplicates == 1
    assert [refusal.reason for _, refusal in accepted.refused] == [Reason.CONFLICT]


def test_the_same_key_of_another_metric_is_another_event_s10() -> None:
    accepted = accept_all([arrival("lessons"), arrival("balance")])
    assert len(accepted.new) == 2


def test_identity_decides_before_program_and_clock_do_s11_s13() -> None:
    """What was accepted once is a duplicate for ever, also when it is too old by now."""
    old = arrival(occurred_at=NOW - 2 * AGE_MAX)
    gone = arrival("gone", key="g")
    known = {one.identity: content_of(one) for one in (old, gone)}
    accepted = accept_all([old, gone], known)
    assert (accepted.new, accepted.duplicates, accepted.refused) == ([], 2, [])


def test_a_refused_event_does_not_take_its_key_s11_s17() -> None:
    accepted = accept_all([arrival(value="-1"), arrival(value="2")])
    assert [one.event.value for one in accepted.new] == [Decimal(2)]
    assert [refusal.reason for _, refusal in accepted.refused] == [Reason.NEGATIVE]


def test_events_that_count_keep_the_order_in_which_they_came_s12() -> None:
    arrivals = [arrival(key=key, occurred_at=NOW - timedelta(hours=ord(key))) for key in "cab"]
    assert accept_all(arrivals).new == arrivals


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(0), None),
        (timedelta(minutes=5), None),
        (timedelta(minutes=5) + INSTANT, Reason.AHEAD),
        (timedelta(days=400), Reason.AHEAD),
    ],
)
@pytest.mark.parametrize("imported", [False, True])
def test_more_than_five_minutes_ahead_is_refused_also_in_an_import_s13(
    ahead: timedelta, expected: Reason | None, imported: bool
) -> None:
    assert reason(arrival(occurred_at=NOW + ahead, imported=imported)) is expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(0), None),
        (AGE_MAX, None),
        (AGE_MAX + INSTANT, Reason.TOO_OLD),
        (timedelta(days=9_000), Reason.TOO_OLD),
    ],
)
def test_older_than_the_program_allows_is_refused_except_in_an_import_s13(
    age: timedelta, expected: Reason | None
) -> None:
    assert reason(arrival(occurred_at=NOW - age)) is expected
    assert reason(arrival(occurred_at=NOW - age, imported=True)) is None


def test_an_event_does_not_grow_too_old_on_the_queue_s13() -> None:
    """Its age is what it was when a client took it, however long the workers stood still."""
    waited = arrival(occurred_at=NOW - AGE_MAX, received_at=NOW)
    assert reason(waited, now=NOW + timedelta(days=7)) is None


@pytest.mark.parametrize(
    ("occurred_at", "expected"),
    [(OCCURRED_AT_MIN, None), (OCCURRED_AT_MIN - INSTANT, Reason.TOO_OLD)],
)
def test_an_import_goes_back_to_the_first_instant_with_a_date_everywhere_s13(
    occurred_at: datetime, expected: Reason | None
) -> None:
    assert reason(arrival(occurred_at=occurred_at, imported=True)) is expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lessons", "0", None),
        ("lessons", "-0.0001", Reason.NEGATIVE),
        ("balance", "-0.0001", None),
        ("minutes", "90", None),
        ("minutes", "90.0001", Reason.TOO_LARGE),
        ("lesson", "1", Reason.UNKNOWN_METRIC),
    ],
)
def test_the_program_decides_about_metric_and_value_s15_s16_s17(
    name: str, value: str, expected: Reason | None
) -> None:
    assert reason(arrival(name, value)) is expected


def test_an_undeclared_metric_is_told_with_the_nearest_one_s17() -> None:
    refusal = refuse(arrival("lesson"), RULEBOOK, Decimal(0), NOW)
    assert refusal is not None
    assert "'lesson'" in refusal.detail
    assert "'lessons'" in refusal.detail


@pytest.mark.parametrize(
    ("total", "value", "expected"),
    [
        (VALUE_MAX - 1, Decimal(1), None),
        (VALUE_MAX - 1, Decimal(1) + PART, Reason.OUT_OF_RANGE),
        (VALUE_MAX, PART, Reason.OUT_OF_RANGE),
        (1 - VALUE_MAX, Decimal(-1), None),
        (-VALUE_MAX, -PART, Reason.OUT_OF_RANGE),
        (VALUE_MAX, -PART, None),
    ],
)
def test_a_total_never_leaves_the_exact_range_s44(
    total: Decimal, value: Decimal, expected: Reason | None
) -> None:
    assert reason(arrival("balance", value), total) is expected


def test_the_range_holds_for_what_a_batch_adds_up_to_s44() -> None:
    arrivals = [arrival("balance", value, key=f"k{value}") for value in ("2", "1", "-1", "0.5")]
    accepted = accept_all(arrivals, totals={("u", "balance"): VALUE_MAX - 2})
    assert [one.key for one in accepted.new] == ["k2", "k-1", "k0.5"]
    assert [one.key for one, _ in accepted.refused] == ["k1"]


TODAY, YESTERDAY = date(2026, 11, 23), date(2026, 11, 22)


def accept_days(
    arrivals: Sequence[Arrival],
    dates: Sequence[date] | None = None,
    totals: Mapping[date, tuple[str, int]] | None = None,
) -> tuple[list[str], list[str]]:
    """Return the values that count and those over a limit for a day; all are of one metric.

    `dates` are the local dates of the events, today's if left out, `totals` what days came to
    before, as value and number of events.
    """
    name = arrivals[0].event.metric
    on = dates or [TODAY] * len(arrivals)
    days = Days(
        dates={one.identity: day for one, day in zip(arrivals, on, strict=True)},
        totals={
            ("u", name, day): PeriodTotal(Decimal(value), events)
            for day, (value, events) in (totals or {}).items()
        },
    )
    accepted = accept(arrivals, RULEBOOK, {}, {}, NOW, days)
    assert {refusal.reason for _, refusal in accepted.refused} <= {Reason.DAY_LIMIT}
    return (
        [str(one.event.value) for one in accepted.new],
        [str(one.event.value) for one, _ in accepted.refused],
    )


@pytest.mark.parametrize(
    ("name", "values", "accepted", "refused"),
    [
        # 2 events a day
        ("quizzes", ["1", "2"], ["1", "2"], []),
        ("quizzes", ["1", "2", "3", "4"], ["1", "2"], ["3", "4"]),
        ("quizzes", ["0", "0", "5"], ["0", "0"], ["5"]),
        # a value of 10 a day, to the last place
        ("pages", ["10"], ["10"], []),
        ("pages", ["10.0001"], [], ["10.0001"]),
        ("pages", ["9.9999", "0.0001", "0.0001"], ["9.9999", "0.0001"], ["0.0001"]),
        # what does not fit is set aside whole; a smaller one after it still fits
        ("pages", ["6", "5", "4", "1"], ["6", "4"], ["5", "1"]),
        ("pages", ["10", "0"], ["10", "0"], []),
        # 3 events and 2.5 a day, whichever is reached; what is taken off makes room for value only
        ("coins", ["1", "1", "0.5", "0"], ["1", "1", "0.5"], ["0"]),
        ("coins", ["2", "1", "-1", "1"], ["2", "-1", "1"], ["1"]),
        ("coins", ["-9", "9", "2.5"], ["-9", "9", "2.5"], []),
        ("coins", ["-9", "11.6"], ["-9"], ["11.6"]),
    ],
)
def test_what_is_over_a_limit_for_a_day_is_set_aside_in_order_of_arrival_s16(
    name: str, values: list[str], accepted: list[str], refused: list[str]
) -> None:
    arrivals = [arrival(name, value, key=f"k{number}") for number, value in enumerate(values)]
    assert accept_days(arrivals) == (accepted, refused)


def test_the_order_of_arrival_decides_not_the_order_of_the_day_s16() -> None:
    arrivals = [
        arrival("quizzes", hour, key=hour, occurred_at=NOW - timedelta(hours=int(hour)))
        for hour in ("1", "2", "3")
    ]
    assert accept_days(arrivals) == (["1", "2"], ["3"])


@pytest.mark.parametrize(
    ("totals", "dates", "accepted", "refused"),
    [
        ({}, [TODAY, YESTERDAY, TODAY], ["4", "5", "6"], []),
        ({}, [TODAY, TODAY, YESTERDAY], ["4", "5", "6"], []),
        ({TODAY: ("7", 1)}, [TODAY, YESTERDAY, TODAY], ["5"], ["4", "6"]),
        ({TODAY: ("6", 1)}, [TODAY, YESTERDAY, TODAY], ["4", "5"], ["6"]),
        ({YESTERDAY: ("10", 9)}, [TODAY, YESTERDAY, TODAY], ["4", "6"], ["5"]),
    ],
)
def test_limits_are_of_each_local_day_with_what_it_came_to_before_s16(
    totals: Mapping[date, tuple[str, int]],
    dates: list[date],
    accepted: list[str],
    refused: list[str],
) -> None:
    arrivals = [arrival("pages", value, key=value) for value in ("4", "5", "6")]
    assert accept_days(arrivals, dates, totals) == (accepted, refused)


def test_a_duplicate_takes_no_room_and_needs_none_s11_s16() -> None:
    first, second = (arrival("quizzes", key=key) for key in "ab")
    days = Days(dates=dict.fromkeys((first.identity, second.identity), TODAY), totals={})
    accepted = accept([first, first, second, second, first], RULEBOOK, {}, {}, NOW, days)
    assert (accepted.new, accepted.duplicates, accepted.refused) == ([first, second], 3, [])


def test_a_refused_event_takes_no_room_s16() -> None:
    arrivals = [arrival("pages", "-1", key="a"), arrival("pages", "10", key="b")]
    days = Days(dates={one.identity: TODAY for one in arrivals}, totals={})
    accepted = accept(arrivals, RULEBOOK, {}, {}, NOW, days)
    assert [refusal.reason for _, refusal in accepted.refused] == [Reason.NEGATIVE]
    assert [one.key for one in accepted.new] == ["b"]


@pytest.mark.parametrize(
    ("name", "value", "total", "detail"),
    [
        ("quizzes", "1", ("2", 2), "2026-11-23 has 2 events of quizzes already"),
        ("pages", "1.5", ("9", 1), "1.5 more than the 9 of pages on 2026-11-23"),
    ],
)
def test_the_refusal_says_which_day_and_what_it_came_to_s16(
    name: str, value: str, total: tuple[str, int], detail: str
) -> None:
    one = arrival(name, value)
    days = Days(
        dates={one.identity: TODAY},
        totals={("u", name, TODAY): PeriodTotal(Decimal(total[0]), total[1])},
    )
    ((_, refusal),) = accept([one], RULEBOOK, {}, {}, NOW, days).refused
    assert detail in refusal.detail
