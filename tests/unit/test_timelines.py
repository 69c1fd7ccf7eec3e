"""What was told about a user: any order of telling, how far back it reaches, first zones.

S1, S6, S7, S12, S27.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.calendar import ZoneChange, zone_at
from models.rules.state import UserState
from models.rules.timelines import EVER, Pause, Timelines, Told, late_from
from tests.folding import build, event, fold_all, lives, november, pause, tells, the

NAMES = frozenset({"plan", "country"})
TOKYO, PARIS, HAVANA = "Asia/Tokyo", "Europe/Paris", "America/Havana"


def told_all(*told: Told) -> Timelines:
    timelines = Timelines()
    timelines.tell(told, NAMES)
    return timelines


def zones(timelines: Timelines) -> list[tuple[int, str]]:
    """Return the zones with days of November."""
    return [((since - november(1)).days + 1, tz) for since, tz in timelines.zones]


def plans(timelines: Timelines) -> list[tuple[int, str]]:
    found = timelines.attributes.get("plan", [])
    return [((since - november(1)).days + 1, value) for since, value in found]


# Telling


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], []),
        ([(1, TOKYO)], [(1, TOKYO)]),
        ([(1, TOKYO), (2, TOKYO)], [(1, TOKYO)]),
        ([(1, TOKYO), (2, PARIS)], [(1, TOKYO), (2, PARIS)]),
        ([(1, TOKYO), (2, PARIS), (3, TOKYO)], [(1, TOKYO), (2, PARIS), (3, TOKYO)]),
        ([(1, TOKYO), (2, PARIS), (3, PARIS), (4, TOKYO)], [(1, TOKYO), (2, PARIS), (4, TOKYO)]),
        # of two at one instant the greater stays, whichever came first
        ([(1, TOKYO), (1, PARIS)], [(1, PARIS)]),
        ([(1, TOKYO), (2, PARIS), (2, HAVANA)], [(1, TOKYO), (2, PARIS)]),
        # and something new before what held already
        ([(1, PARIS), (2, HAVANA), (2, PARIS)], [(1, PARIS), (2, HAVANA)]),
        ([(1, PARIS), (2, TOKYO), (2, PARIS)], [(1, PARIS), (2, TOKYO)]),
    ],
)
def test_zones_are_told_in_any_order_and_told_again_change_nothing_s1_s12(
    told: list[tuple[int, str]], expected: list[tuple[int, str]]
) -> None:
    for order in permutations(told):
        assert zones(told_all(*(lives(november(day), tz) for day, tz in order))) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([(1, "pro")], [(1, "pro")]),
        ([(1, "pro"), (2, "free"), (3, "free"), (4, "pro")], [(1, "pro"), (2, "free"), (4, "pro")]),
        ([(1, "free"), (1, "pro")], [(1, "pro")]),
        ([(1, "pro"), (2, "free"), (2, "pro")], [(1, "pro"), (2, "free")]),
        ([(1, "free"), (2, "free"), (2, "pro")], [(1, "free"), (2, "pro")]),
    ],
)
def test_attributes_are_told_in_any_order_too_s12(
    told: list[tuple[int, str]], expected: list[tuple[int, str]]
) -> None:
    for order in permutations(told):
        timelines = told_all(*(tells(november(day), plan=value) for day, value in order))
        assert plans(timelines) == expected


tellings = st.lists(
    st.builds(
        lambda day, tz, plan: Told(november(day), tz, {} if plan is None else {"plan": plan}),
        st.integers(1, 5),
        st.sampled_from([None, TOKYO, PARIS, HAVANA]),
        st.sampled_from([None, "free", "pro", "team"]),
    ),
    max_size=8,
)


@given(told=tellings, data=st.data())
def test_the_order_of_telling_never_matters_s12(told: list[Told], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(told))
    assert told_all(*shuffled) == told_all(*told)


@given(told=tellings, split=st.integers(0, 5))
def test_what_comes_after_all_that_was_told_can_be_told_apart_s12(
    told: list[Told], split: int
) -> None:
    """Up to an instant first, and then what was told after it."""
    timelines = told_all(*(one for one in told if one.at <= november(split)))
    timelines.tell([one for one in told if one.at > november(split)], NAMES)
    assert timelines == told_all(*told)


@given(told=tellings, split=st.integers(0, 6))
def test_until_an_instant_is_what_had_been_told_by_then_s26(told: list[Told], split: int) -> None:
    until = november(split)
    assert told_all(*told).until(until) == told_all(*(one for one in told if one.at <= until))


def test_only_what_rules_ask_for_is_kept_s45() -> None:
    timelines = told_all(tells(november(1), plan="pro", shoe_size="44"))
    assert list(timelines.attributes) == ["plan"]


# What holds when


def test_attributes_hold_from_their_instant_on_s1() -> None:
    timelines = told_all(
        tells(november(2), plan="pro", country="FR"),
        tells(november(5), plan="free"),
    )
    just_before = timedelta(microseconds=1)
    assert timelines.at(november(2) - just_before) == {}
    assert timelines.at(november(2)) == {"plan": "pro", "country": "FR"}
    assert timelines.at(november(5) - just_before) == {"plan": "pro", "country": "FR"}
    assert timelines.at(november(5)) == {"plan": "free", "country": "FR"}
    assert timelines.now() == {"plan": "free", "country": "FR"}


@pytest.mark.parametrize(
    ("after", "expected"), [(0, 2), (2, 5), (3, 5), (5, 7), (6, 7), (7, None), (9, None)]
)
def test_the_next_change_is_of_whichever_timeline_changes_first_s7(
    after: int, expected: int | None
) -> None:
    timelines = told_all(
        tells(november(2), plan="pro"), lives(november(5), TOKYO), tells(november(7), country="FR")
    )
    found = timelines.next_change(november(after))
    assert found == (None if expected is None else november(expected))


def test_where_nothing_was_told_nothing_ever_changes_s6() -> None:
    assert Timelines().next_change(EVER) is None


@pytest.mark.parametrize(
    ("changes", "day", "tz"),
    [
        # nothing is known: the program's zone is assumed (S6)
        ([], 3, "UTC"),
        # before the first zone that one holds: nothing better is known
        ([(5, TOKYO)], 1, TOKYO),
        ([(5, TOKYO)], 5, TOKYO),
        ([(5, TOKYO), (8, PARIS)], 1, TOKYO),
        ([(5, TOKYO), (8, PARIS)], 7, TOKYO),
        ([(5, TOKYO), (8, PARIS)], 8, PARIS),
        ([(5, TOKYO), (8, PARIS)], 99, PARIS),
    ],
)
def test_the_first_zone_holds_before_it_was_told_too_s1_s6_s7(
    changes: list[tuple[int, str]], day: int, tz: str
) -> None:
    known = [ZoneChange(november(since), name) for since, name in changes]
    assert zone_at(known, november(day), "UTC") == tz
    state = UserState()
    state.told.zones = known
    assert state.tz_at(november(day), "UTC") == tz


def test_a_zone_told_later_judges_what_was_folded_before_it_was_known_s1_s6() -> None:
    """16:00 UTC is the next day in Tokyo: for sign-up and for what closes when."""
    rules = build('[metrics.lessons]\n[streaks.daily]\nfrequency = "daily"\nmetrics.lessons = 1\n')
    done = event(november(2, 16), tz=TOKYO)
    folded = fold_all(rules, [done], told=[lives(november(9), TOKYO)])
    assert folded.state.signed_up_on == the(3)
    assert folded.read().expires_at == november(4, 15)


# From when on facts must be folded again


KNOWN = (lives(november(3), TOKYO), lives(november(6), PARIS), tells(november(4), plan="pro"))


@pytest.mark.parametrize(
    ("known", "told", "expected"),
    [
        (KNOWN, [], None),
        # a first zone reaches to the beginning
        ((), [lives(november(5), TOKYO)], EVER),
        ((tells(november(1), plan="pro"),), [lives(november(5), TOKYO)], EVER),
        # so does whatever comes before the last change and is no repetition
        (KNOWN, [lives(november(2), PARIS)], EVER),
        (KNOWN, [lives(november(2), TOKYO)], EVER),
        (KNOWN, [lives(november(4), PARIS)], EVER),
        (KNOWN, [tells(november(2), plan="pro")], EVER),
        (KNOWN, [lives(november(6), TOKYO)], EVER),
        # what held already reaches nowhere
        (KNOWN, [lives(november(4), TOKYO)], None),
        (KNOWN, [lives(november(9), PARIS)], None),
        (KNOWN, [tells(november(5), plan="pro")], None),
        # a new word reaches to its instant: what held may have been told again since, unseen here
        (KNOWN, [lives(november(7), TOKYO)], november(7)),
        (KNOWN, [lives(november(8), TOKYO)], november(8)),
        (KNOWN, [lives(november(9), TOKYO)], november(9)),
        (KNOWN, [tells(november(5), plan="free")], november(5)),
        (KNOWN, [tells(november(2), country="FR")], november(2)),
        (KNOWN, [tells(november(9), country="FR")], None),
        (KNOWN, [tells(november(2), shoe_size="44")], None),
        # the earliest of several
        (KNOWN, [lives(november(7), TOKYO), tells(november(5), plan="free")], november(5)),
        (KNOWN, [tells(november(5), plan="free"), lives(november(1), PARIS)], EVER),
    ],
)
def test_from_when_on_what_is_told_asks_for_folding_again_s7_s14(
    known: tuple[Told, ...], told: list[Told], expected: datetime | None
) -> None:
    """Facts are folded up to the 8th, inclusive."""
    assert late_from(told_all(*known), told, NAMES, november(8)) == expected


def test_before_any_fact_a_first_word_asks_for_nothing_s7() -> None:
    known = told_all(lives(november(3), TOKYO))
    assert late_from(Timelines(), [lives(november(3), TOKYO)], NAMES, None) is None
    assert late_from(known, [lives(november(5), TOKYO)], NAMES, None) is None
    assert late_from(known, [lives(november(5), PARIS)], NAMES, None) == november(5)
    assert late_from(known, [lives(november(2), PARIS)], NAMES, None) == EVER


@given(known=tellings, told=tellings, as_of=st.integers(0, 6))
def test_what_asks_for_nothing_can_simply_be_told_s7_s12_s14(
    known: list[Told], told: list[Told], as_of: int
) -> None:
    timelines, at_once = told_all(*known), told_all(*known, *told)
    before = told_all(*known)
    if late_from(timelines, told, NAMES, november(as_of)) is None:
        timelines.tell(told, NAMES)
        assert timelines == at_once
        for day in range(as_of + 1):
            assert at_once.at(november(day)) == before.at(november(day))
            tz = zone_at(at_once.zones, november(day), "UTC")
            assert tz == zone_at(before.zones, november(day), "UTC")


# Pauses


def test_pauses_are_told_in_any_order_s12_s27() -> None:
    pauses = [pause(5, 6), pause(2, 9, "daily"), pause(5, 5, "other", resets=("r1", "r2"))]
    ordered = [Timelines() for _ in range(6)]
    for timelines, order in zip(ordered, permutations(pauses), strict=True):
        for one in order:
            timelines.pause([one])
    assert all(timelines == ordered[0] for timelines in ordered)
    assert set(ordered[0].voided) == {"r1", "r2"}


def test_a_pause_may_hold_something_from_14_hours_before_its_first_date_on_s27() -> None:
    """That is when the date begins where it begins first; as of before, it is not known."""
    ahead = pause(5, 6, resets=("r",))
    assert ahead == Pause(november(4, 10), "pause-5-6", the(5), the(6), None, ("r",))
    timelines = Timelines()
    timelines.pause([ahead])
    assert timelines.until(november(4, 10)) == timelines
    assert timelines.until(november(4, 10) - timedelta(microseconds=1)) == Timelines()
