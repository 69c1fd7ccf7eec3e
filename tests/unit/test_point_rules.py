"""Points and levels as tables of cases: what a sum has earned, event by event (S30, S33)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.levels import Level, level_of
from models.rules.points import (
    Counted,
    Entry,
    TriggerRule,
    count,
    shifts_later_entries,
)

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
UNITS = st.integers(min_value=-300_000, max_value=300_000).map(lambda n: Decimal(n).scaleb(-4))
STEPS = st.integers(min_value=1, max_value=100_000).map(lambda n: Decimal(n).scaleb(-4))


def trigger(every: str | Decimal = "1", award: str = "10", **where: str) -> TriggerRule:
    return TriggerRule(
        points="xp",
        name="lesson",
        since=1,
        metric="lessons",
        every=Decimal(every),
        award=Decimal(award),
        where=where,
    )


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def counted(minute: int, value: str | Decimal, key: str | None = None) -> Counted:
    return Counted(occurred_at=at(minute), key=key or f"k{minute:05}", value=Decimal(value))


def counted_all(*values: str) -> list[Counted]:
    """Return events a minute apart."""
    return [counted(minute, value) for minute, value in enumerate(values)]


def amounts(entries: Sequence[Entry]) -> list[tuple[str, int]]:
    return [(entry.cause, int(entry.amount)) for entry in entries]


@pytest.mark.parametrize(
    ("every", "total", "steps"),
    [
        ("1", "0", 0),
        ("1", "0.9999", 0),
        ("1", "1", 1),
        ("1", "7", 7),
        ("2.5", "2.4999", 0),
        ("2.5", "2.5", 1),
        ("2.5", "7.4999", 2),
        ("2.5", "7.5", 3),
        ("0.0001", "1", 10_000),
        ("0.3", "0.9", 3),
        ("3", "900719925473.9999", 300_239_975_157),
        ("0.0001", "900719925474.0991", 9_007_199_254_740_991),
    ],
)
def test_awarded_is_the_floor_of_the_sum_by_every_s30(every: str, total: str, steps: int) -> None:
    assert trigger(every).awarded(Decimal(total)) == steps * 10


@pytest.mark.parametrize(
    ("every", "total", "steps"),
    [
        ("1", "-0.0001", -1),
        ("1", "-1", -1),
        ("1", "-1.0001", -2),
        ("2.5", "-2.5", -1),
        ("2.5", "-2.5001", -2),
        ("2.5", "-0.1", -1),
    ],
)
def test_the_floor_of_a_negative_sum_is_away_from_zero_s30(
    every: str, total: str, steps: int
) -> None:
    assert trigger(every).awarded(Decimal(total)) == steps * 10


@pytest.mark.parametrize(
    ("every", "values", "earned"),
    [
        ("1", ["1", "1", "1"], [("k00000", 10), ("k00001", 10), ("k00002", 10)]),
        ("5", ["4", "0.9999", "0.0001", "4"], [("k00002", 10)]),
        ("5", ["12"], [("k00000", 20)]),
        ("5", ["4", "12"], [("k00001", 30)]),
        ("2.5", ["2", "1", "2", "2.5"], [("k00001", 10), ("k00002", 10), ("k00003", 10)]),
        (
            "5",
            ["5", "-1", "1", "-1", "1"],
            [("k00000", 10), ("k00001", -10), ("k00002", 10), ("k00003", -10), ("k00004", 10)],
        ),
        ("5", ["20", "-20"], [("k00000", 40), ("k00001", -40)]),
        ("5", ["-0.5", "0.5"], [("k00000", -10), ("k00001", 10)]),
        ("5", ["-12", "12"], [("k00000", -30), ("k00001", 30)]),
        ("5", ["0", "0"], []),
    ],
    ids=[
        "each",
        "to-the-last-part",
        "several-at-once",
        "several-with-what-was-there",
        "two-and-a-half",
        "up-and-down",
        "back-to-nothing",
        "below-nothing-and-back",
        "far-below-and-back",
        "nothing",
    ],
)
def test_an_event_earns_the_steps_that_it_crosses_and_gives_them_back_s30(
    every: str, values: list[str], earned: list[tuple[str, int]]
) -> None:
    state, entries = count(trigger(every), None, counted_all(*values))
    assert amounts(entries) == earned
    assert state.awarded == sum(amount for _, amount in earned)
    assert state.counted == sum(map(Decimal, values))


def test_an_award_is_of_the_instant_of_the_event_that_earns_it_s30() -> None:
    state, entries = count(trigger("5"), None, counted_all("5", "1", "4", "1"))
    assert [entry.occurred_at for entry in entries] == [at(0), at(2)]
    assert state.reached_at == at(2)
    assert state.last == (at(3), "k00003")


def test_before_the_first_award_nothing_was_reached_s30() -> None:
    state, entries = count(trigger("5"), None, counted_all("4"))
    assert entries == []
    assert state.reached_at is None


@pytest.mark.parametrize(
    ("minute", "key", "value", "shifts"),
    [
        (5, "z", "1", False),
        (4, "z", "1", False),
        (4, "a", "1", True),
        (3, "z", "1", True),
        (3, "z", "-1", True),
        (3, "z", "2.5", False),
        (3, "z", "7.5", False),
        (3, "z", "-5", False),
        (3, "z", "0", False),
        (3, "z", "2.4999", True),
    ],
    ids=[
        "later",
        "same-instant-later-key",
        "same-instant-earlier-key",
        "late",
        "late-and-negative",
        "late-and-aligned",
        "late-and-a-multiple",
        "late-and-a-negative-multiple",
        "late-and-nothing",
        "late-and-nearly-aligned",
    ],
)
def test_only_a_late_event_that_is_no_multiple_shifts_what_later_ones_earned_s14_s30(
    minute: int, key: str, value: str, shifts: bool
) -> None:
    rule = trigger("2.5")
    state, _ = count(rule, None, [counted(4, "3", "m")])
    assert shifts_later_entries(rule, state, counted(minute, value, key)) is shifts


def test_a_late_aligned_event_earns_what_it_would_have_in_its_place_s14_s30() -> None:
    rule = trigger("2.5")
    on_time, entries = count(rule, None, [counted(1, "2"), counted(2, "5"), counted(3, "1")])
    state, first = count(rule, None, [counted(1, "2"), counted(3, "1")])
    late, second = count(rule, state, [counted(2, "5")])
    assert late == on_time
    assert sorted(amounts(first + second)) == sorted(amounts(entries))


def test_a_late_misaligned_event_would_earn_the_wrong_entry_if_counted_last_s14_s30() -> None:
    """Why such an event is refolded: who caused the award is another event."""
    rule = trigger("2.5")
    _, in_place = count(rule, None, [counted(1, "2"), counted(2, "1"), counted(3, "1")])
    assert amounts(in_place) == [("k00002", 10)]
    state, before = count(rule, None, [counted(1, "2"), counted(3, "1")])
    assert amounts(before) == [("k00003", 10)]
    assert shifts_later_entries(rule, state, counted(2, "1"))


@given(values=st.lists(UNITS, min_size=1, max_size=12), every=STEPS)
def test_entries_add_up_to_the_floor_of_the_sum_s30(values: list[Decimal], every: Decimal) -> None:
    events = [counted(minute, value) for minute, value in enumerate(values)]
    state, entries = count(trigger(every), None, events)
    assert state.awarded == 10 * floor(Fraction(sum(values)) / Fraction(every))
    assert sum(entry.amount for entry in entries) == state.awarded
    assert all(entry.amount for entry in entries)


@given(
    on_time=st.lists(UNITS, min_size=1, max_size=8),
    late=st.lists(st.tuples(st.integers(0, 8), st.integers(-3, 3)), min_size=1, max_size=4),
    every=STEPS,
)
def test_late_multiples_give_the_ledger_that_they_would_have_given_on_time_s12_s14_s30(
    on_time: list[Decimal], late: list[tuple[int, int]], every: Decimal
) -> None:
    rule = trigger(every)
    first = [counted(minute, value) for minute, value in enumerate(on_time)]
    rest = [
        counted(minute, every * steps, f"late{number}")
        for number, (minute, steps) in enumerate(late)
    ]
    whole, entries = count(rule, None, sorted([*first, *rest], key=lambda event: event.position))
    state, apart = count(rule, None, first)
    for event in rest:
        assert not shifts_later_entries(rule, state, event)
        state, more = count(rule, state, [event])
        apart = [*apart, *more]
    assert state == whole
    assert sorted(amounts(apart)) == sorted(amounts(entries))


@pytest.mark.parametrize(
    ("where", "attributes", "matches"),
    [
        ({}, {}, True),
        ({}, {"lang": "de"}, True),
        ({"lang": "de"}, {"lang": "de", "os": "ios"}, True),
        ({"lang": "de"}, {"lang": "en"}, False),
        ({"lang": "de"}, {}, False),
        ({"lang": "de", "os": "ios"}, {"lang": "de"}, False),
        ({"lang": ""}, {}, False),
    ],
)
def test_a_trigger_counts_events_with_all_its_attributes_s30(
    where: dict[str, str], attributes: dict[str, str], matches: bool
) -> None:
    assert trigger(**{"every": "1"}, **where).matches(attributes) is matches


LEVELS = tuple(
    Level(key=key, number=number, at=Decimal(least))
    for number, (key, least) in enumerate([("bronze", 0), ("silver", 100), ("gold", 250)], start=1)
)


@pytest.mark.parametrize(
    ("balance", "reached"),
    [
        ("-0.0001", None),
        ("0", "bronze"),
        ("99.9999", "bronze"),
        ("100", "silver"),
        ("249", "silver"),
        ("250", "gold"),
        ("1000000", "gold"),
    ],
)
def test_a_level_is_reached_at_its_threshold_and_lost_below_it_s33(
    balance: str, reached: str | None
) -> None:
    level = level_of(LEVELS, Decimal(balance))
    assert (level and level.key) == reached


def test_where_there_are_no_levels_none_is_reached_s33() -> None:
    assert level_of([], Decimal(1_000)) is None
