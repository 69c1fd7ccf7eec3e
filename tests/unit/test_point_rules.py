"""Points and levels as tables: what earns, multiplies, clips and takes back (S30 to S33)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.effects import NoticeKind
from models.rules.facts import Adjustment, Completion, Fact
from models.rules.levels import Level, level_of
from models.rules.points import (
    BoostRule,
    Entry,
    Occasion,
    PointsRule,
    Rounding,
    TriggerKind,
    TriggerRule,
    count,
    holds,
    pay,
    steps_of,
)
from models.rules.state import PointsState
from models.rules.timelines import Told
from tests.folding import (
    Folded,
    build,
    event,
    fold_all,
    lives,
    noons,
    november,
    pause,
    plain,
    tells,
    the,
    utc,
)

UNITS = st.integers(min_value=-300_000, max_value=300_000).map(lambda n: Decimal(n).scaleb(-4))
STEPS = st.integers(min_value=1, max_value=100_000).map(lambda n: Decimal(n).scaleb(-4))
METRICS = "[metrics.lessons]\n[metrics.coins]\nallow_negative = true\n"
LESSON = '[points.xp.triggers.lesson]\non = "metric"\nmetric = "lessons"\npoints = 10\n'
COIN = '[points.xp.triggers.coin]\non = "metric"\nmetric = "coins"\npoints = 10\n'
DAILY = '[streaks.daily]\nfrequency = "daily"\nmetrics = { lessons = 1 }\n'


def program(*parts: str, points: str = "") -> str:
    """Return a program of a points system with these keys, and of parts."""
    return f"{METRICS}[points.xp]\n{points}\n{''.join(parts)}"


def boost(
    name: str, multiplier: str, days: tuple[int, int] | None = None, where: str | None = None
) -> str:
    lines = [f"[points.xp.boosts.{name}]\nmultiplier = {multiplier}"]
    if days:
        lines.append(f"from = {the(days[0])}\nuntil = {the(days[1])}")
    if where:
        lines.append(f'where = {{ user = {{ plan = "{where}" }} }}')
    return "\n".join(lines) + "\n"


def coins(*values: str, day: int = 2, hour: int = 9) -> list[Fact]:
    """Return events a minute apart."""
    return [
        event(november(day, hour, minute), value, "coins") for minute, value in enumerate(values)
    ]


# Sums and their steps, S30


def trigger(every: str | Decimal = "1", award: str = "10") -> TriggerRule:
    return TriggerRule(
        name="coin",
        since=1,
        kind=TriggerKind.METRIC,
        award=Decimal(award),
        subject="coins",
        every=Decimal(every),
        where={},
        where_user={},
        falls=True,
    )


def points_rule(
    one: TriggerRule,
    *boosts: BoostRule,
    day_max: str | None = None,
    rounding: Rounding = Rounding.DOWN,
) -> PointsRule:
    return PointsRule(
        name="xp",
        triggers=[one],
        boosts=boosts,
        levels=(),
        day_max=None if day_max is None else Decimal(day_max),
        rounding=rounding,
    )


def times(multiplier: str, first: date | None = None, last: date | None = None) -> BoostRule:
    return BoostRule(
        name=f"by-{multiplier}",
        multiplier=Decimal(multiplier),
        first=first,
        last=last,
        where_user={},
    )


def occasion(minute: int = 0, day: int = 2) -> Occasion:
    return Occasion(f"k{minute:05}", november(day, 9) + timedelta(minutes=minute), the(day), {})


def count_all(
    rule: PointsRule, values: Sequence[str | Decimal], state: PointsState | None = None
) -> tuple[PointsState, list[Entry]]:
    """Count values a minute apart in the rule's one trigger."""
    state = state or PointsState()
    made = [
        count(rule, rule.triggers[0], state, Decimal(value), occasion(minute))
        for minute, value in enumerate(values)
    ]
    return state, [entry for entry in made if entry is not None]


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
        ("1", "-0.0001", -1),
        ("1", "-1", -1),
        ("1", "-1.0001", -2),
        ("2.5", "-2.5", -1),
        ("2.5", "-2.5001", -2),
        ("2.5", "-0.1", -1),
    ],
)
def test_the_steps_of_a_sum_are_the_floor_of_the_sum_by_every_s30(
    every: str, total: str, steps: int
) -> None:
    assert steps_of(Decimal(total), Decimal(every)) == steps


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
        ("5", ["20", "-8"], [("k00000", 40), ("k00001", -20)]),
        ("5", ["-0.5", "0.5"], [("k00000", -10), ("k00001", 10)]),
        ("5", ["-12", "12"], [("k00000", -30), ("k00001", 30)]),
        ("5", ["-12", "5", "12"], [("k00000", -30), ("k00001", 10), ("k00002", 30)]),
        ("5", ["12", "-24"], [("k00000", 20), ("k00001", -50)]),
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
        "half-the-way-back",
        "below-nothing-and-back",
        "far-below-and-back",
        "from-below-to-above",
        "from-above-to-below",
        "nothing",
    ],
)
def test_an_event_earns_the_steps_that_it_crosses_and_gives_them_back_s30(
    every: str, values: list[str], earned: list[tuple[str, int]]
) -> None:
    state, entries = count_all(points_rule(trigger(every)), values)
    assert [(entry.cause, int(entry.amount)) for entry in entries] == earned
    assert state.balance == sum(amount for _, amount in earned)


@pytest.mark.parametrize(
    ("award", "values", "balance"),
    [
        ("0.5", ["2", "-1"], "0.5"),
        ("2.5", ["4", "-1"], "7.5"),
        ("2.5", ["4", "-3"], "2.5"),
        ("0.0001", ["10", "-1"], "0.0009"),
        ("1.25", ["8", "-5", "2"], "6.25"),
        ("0.5", ["-2", "1"], "-0.5"),
        ("7", ["3", "-1"], "14"),
    ],
)
def test_points_with_decimals_are_taken_back_to_the_last_place_s30(
    award: str, values: list[str], balance: str
) -> None:
    """The whole of what some steps paid may be a round number: its parts are not."""
    state, entries = count_all(points_rule(trigger(award=award)), values)
    assert plain(state.balance) == balance
    assert sum(entry.amount for entry in entries) == state.balance


@given(
    values=st.lists(UNITS, min_size=1, max_size=12),
    every=STEPS,
    award=st.sampled_from(["10", "1", "2.5", "0.25", "0.0001"]),
)
def test_without_boosts_the_ledger_is_the_floor_of_the_sum_s30(
    values: list[Decimal], every: Decimal, award: str
) -> None:
    state, entries = count_all(points_rule(trigger(every, award)), values)
    steps = floor(Fraction(sum(values)) / Fraction(every))
    assert state.balance == steps * Decimal(award)
    assert sum(entry.amount for entry in entries) == state.balance
    assert all(entry.amount for entry in entries)


def test_an_award_is_of_the_event_that_earns_it_s30_s31() -> None:
    toml = program(LESSON + "every = 5\n")
    facts = [event(november(2, hour), value) for hour, value in ((9, 5), (10, 1), (11, 4), (12, 1))]
    folded = fold_all(build(toml), facts)
    assert [entry.occurred_at for entry in folded.entries()] == [november(2, 9), november(2, 11)]
    assert folded.state.points["xp"].reached_at == november(2, 11)
    assert [entry.cause for entry in folded.entries()] == [facts[0].key, facts[2].key]


def test_before_the_first_award_nothing_was_reached_s30() -> None:
    folded = fold_all(build(program(LESSON + "every = 5\n")), [event(november(2, 9), 4)])
    assert folded.entries() == []
    assert folded.state.points["xp"].reached_at is None


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
def test_a_filter_holds_where_all_of_its_attributes_do_s30(
    where: dict[str, str], attributes: dict[str, str], matches: bool
) -> None:
    assert holds(where, attributes) is matches


def test_a_trigger_sums_the_values_that_match_its_filters_alone_s30() -> None:
    toml = program(
        '[points.xp.triggers.french]\non = "metric"\nmetric = "lessons"\nevery = 2\npoints = 7\n'
        'where = { event = { lang = "fr" }, user = { plan = "pro" } }\n'
    )
    facts = [
        event(november(2, 9), lang="fr"),  # not pro yet
        event(november(2, 11), lang="fr"),
        event(november(2, 12), lang="de"),
        event(november(2, 13)),
        event(november(2, 14), 2, lang="fr"),  # 3 of 2
        event(november(2, 16), 5, lang="fr"),  # pro no more
        event(november(2, 18), lang="fr"),  # 4 of 2
    ]
    told = [
        tells(november(2, 10), plan="pro"),
        tells(november(2, 15), plan="free"),
        tells(november(2, 17), plan="pro"),
    ]
    folded = fold_all(build(toml), facts, told=told)
    assert folded.paid() == [("french", facts[4].key, "7"), ("french", facts[6].key, "7")]


@pytest.mark.parametrize(
    ("parts", "values", "amounts"),
    [
        # doubled on the 2nd: 20 a coin, and 20 are taken back
        ([boost("double", "2", (2, 2))], [(2, "2"), (3, "-1"), (3, "-1")], ["40", "-20", "-20"]),
        # the latest first: what the 3rd paid, then what the 2nd paid
        (
            [boost("double", "2", (2, 2))],
            [(2, "1"), (3, "2"), (4, "-2"), (4, "-1")],
            ["20", "20", "-20", "-20"],
        ),
        # one event over both: a coin at 10 and one at 20
        ([boost("double", "2", (2, 2))], [(2, "2"), (3, "1"), (4, "-2")], ["40", "10", "-30"]),
        # below zero nothing was ever paid: it costs what it gives back, boost or not
        (
            [boost("double", "2", (3, 4))],
            [(2, "-2"), (3, "1"), (3, "1"), (4, "1")],
            ["-20", "10", "10", "20"],
        ),
        # over zero from below in one event: 10 back without a boost, and 20 with it
        ([boost("double", "2", (3, 3))], [(2, "-1"), (3, "2")], ["-10", "30"]),
        # from above to below in one: the 20 that were paid, and 10 for the step below
        ([boost("double", "2", (2, 2))], [(2, "1"), (3, "-2"), (4, "1")], ["20", "-30", "10"]),
    ],
    ids=["boosted", "last-in-first-out", "two-prices", "below-zero", "from-below", "to-below"],
)
def test_a_falling_sum_takes_back_at_what_was_paid_s30(
    parts: list[str], values: list[tuple[int, str]], amounts: list[str]
) -> None:
    facts = [
        event(november(day, 9, minute), value, "coins")
        for minute, (day, value) in enumerate(values)
    ]
    assert fold_all(build(program(COIN, *parts)), facts).amounts() == amounts


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [boost("double", "2", (3, 9))],
        [boost("half", "0.5", (3, 9))],
        [boost("odd", "1.3", (3, 9)), boost("more", "1.7")],
    ],
)
@pytest.mark.parametrize("every", ["1", "3", "0.7"])
def test_nobody_farms_by_going_up_and_down_s30_s32(parts: list[str], every: str) -> None:
    """Twenty times down and up again, by one step or by several, while a boost is in force."""
    rules = build(program(COIN + f"every = {every}\n", *parts))
    honest = fold_all(rules, coins("10", day=2))
    for amount in ("1", "3", "9.9", "10", "14"):
        swings = [value for _ in range(20) for value in (f"-{amount}", amount)]
        folded = fold_all(rules, [*coins("10", day=2), *coins(*swings, day=4)])
        # what is taken off from the 2nd comes back at the price of the 4th, once and not twice
        twice = fold_all(rules, [*coins("10", day=2), *coins(*swings[:2], day=4)])
        assert folded.balance() == twice.balance()
        gained = Decimal(twice.balance()) - Decimal(honest.balance())
        boosted = fold_all(rules, coins("10", day=4))
        most = Decimal(boosted.balance()) - Decimal(honest.balance())
        assert gained <= max(most, Decimal(0)) + 1


@given(
    values=st.lists(st.integers(-6, 6).map(str), min_size=1, max_size=15),
    multiplier=st.sampled_from(["2", "1.5", "0.3", "3.7"]),
    day_max=st.sampled_from([None, "25", "7"]),
)
def test_back_at_nothing_is_back_at_no_points_whatever_was_in_between_s30_s32(
    values: list[str], multiplier: str, day_max: str | None
) -> None:
    rule = points_rule(trigger(), times(multiplier), day_max=day_max)
    back = str(-sum(map(int, values)))
    state, entries = count_all(rule, [*values, back])
    assert state.balance == 0
    assert sum(entry.amount for entry in entries) == 0


# Each kind of trigger, S31


STREAK = '[points.xp.triggers.run]\non = "streak"\nstreak = "daily"\nevery = {every}\npoints = 50\n'


@pytest.mark.parametrize(
    ("every", "diary", "days"),
    [
        (1, "xxx", [2, 3, 4]),
        (2, "x", []),
        (2, "xxxxx", [3, 5]),
        (3, "xxxxxxx", [4, 7]),
        # in each chain anew
        (2, "xx.xx", [3, 6]),
        (2, "xxx.x.xx", [3, 9]),
    ],
)
def test_a_streak_pays_at_each_multiple_in_each_chain_anew_s31(
    every: int, diary: str, days: list[int]
) -> None:
    folded = fold_all(build(program(DAILY, STREAK.format(every=every))), noons(diary))
    assert folded.paid() == [("run", f"{the(day)}", "50") for day in days]
    assert [entry.occurred_at for entry in folded.entries()] == [november(day, 12) for day in days]


def test_a_streak_pays_for_the_event_that_makes_the_period_active_once_s31() -> None:
    toml = program(DAILY.replace("lessons = 1", "lessons = 3"), STREAK.format(every=1))
    facts = [event(november(2, hour)) for hour in (9, 10, 11, 12, 13)]
    folded = fold_all(build(toml), facts)
    assert [entry.occurred_at for entry in folded.entries()] == [november(2, 11)]


def test_a_streaks_award_is_taken_back_with_its_period_and_paid_again_s30_s31() -> None:
    daily = DAILY.replace("lessons", "coins")
    folded = fold_all(build(program(daily, STREAK.format(every=2))), coins("1", day=2))
    folded.more(coins("1", "-1", "1", day=3))
    assert folded.paid() == [("run", "2026-11-03", amount) for amount in ("50", "-50", "50")]


def test_a_streak_held_by_a_pause_pays_at_the_next_active_multiple_s31() -> None:
    toml = program(DAILY, STREAK.format(every=2))
    folded = fold_all(build(toml), noons("x..x.x"), pauses=[pause(3, 4), pause(6, 6)])
    assert folded.paid() == [("run", "2026-11-05", "50")]


def test_an_achievement_pays_once_at_its_instant_s31() -> None:
    toml = program(
        '[achievements.ten]\non = "metric"\nmetric = "coins"\nat = 10\n'
        '[points.xp.triggers.ten-coins]\non = "achievement"\nachievement = "ten"\npoints = 500\n'
    )
    folded = fold_all(build(toml), coins("9", "1", "-5", "5", "20"))
    assert folded.paid() == [("ten-coins", "ten", "500")]
    assert folded.entries()[0].occurred_at == november(2, 9, 1)


def test_a_sign_up_pays_once_with_the_first_fact_s31() -> None:
    toml = program('[points.xp.triggers.welcome]\non = "signup"\npoints = 25\n')
    folded = fold_all(build(toml), noons("x.x"))
    assert folded.paid() == [("welcome", "signup", "25")]
    assert folded.entries()[0].occurred_at == november(2, 12)


@pytest.mark.parametrize(
    ("told", "paid"),
    [
        ([], []),
        ([tells(november(2, 12), plan="pro")], [("welcome", "signup", "25")]),
        ([tells(november(2, 13), plan="pro")], []),
    ],
)
def test_a_sign_up_is_judged_by_what_is_known_then_s31(
    told: list[Told], paid: list[tuple[str, str, str]]
) -> None:
    toml = program(
        '[points.xp.triggers.welcome]\non = "signup"\npoints = 25\n'
        'where = { user = { plan = "pro" } }\n'
    )
    assert fold_all(build(toml), noons("x"), told=told).paid() == paid


@pytest.mark.parametrize(
    ("tz", "now", "instants"),
    [
        ("UTC", november(12) - timedelta(microseconds=1), []),
        # the 12th is 10 days after the 2nd, and begins at midnight
        ("UTC", november(12), [november(12)]),
        ("UTC", november(31, 23), [november(12), november(22)]),
        ("UTC", november(32), [november(12), november(22), november(32)]),
        # noon UTC on the 2nd is the evening of the 2nd in Tokyo, where the 12th begins at 15:00
        ("Asia/Tokyo", november(12), [november(11, 15)]),
        ("America/Los_Angeles", november(23), [november(12, 8), november(22, 8)]),
    ],
)
def test_membership_pays_at_the_start_of_each_nth_local_day_s31(
    tz: str, now: datetime, instants: list[datetime]
) -> None:
    toml = program('[points.xp.triggers.loyal]\non = "membership"\nevery = "10d"\npoints = 100\n')
    folded = fold_all(build(toml), noons("x"), told=[lives(november(1), tz)], now=now)
    assert [entry.occurred_at for entry in folded.entries()] == instants
    causes = [f"day-{number}0" for number in range(1, len(instants) + 1)]
    assert [entry.cause for entry in folded.entries()] == causes


def test_membership_is_judged_by_what_is_known_on_its_day_s31() -> None:
    toml = program(
        '[points.xp.triggers.loyal]\non = "membership"\nevery = "10d"\npoints = 100\n'
        'where = { user = { plan = "pro" } }\n'
    )
    told = [tells(november(15), plan="pro"), tells(november(25), plan="free")]
    folded = fold_all(build(toml), noons("x"), told=told, now=november(60))
    assert [entry.cause for entry in folded.entries()] == ["day-20"]


def test_an_operator_gives_and_takes_points_under_a_name_of_its_own_s31() -> None:
    facts = [
        Adjustment(november(2, 10), "a", 1, "xp", Decimal("12.5")),
        Adjustment(november(2, 11), "b", 1, "xp", Decimal(-20)),
    ]
    folded = fold_all(build(program(LESSON, boost("double", "2"))), [*noons("x"), *facts])
    assert folded.paid()[:2] == [("adjustment", "a", "12.5"), ("adjustment", "b", "-20")]
    assert folded.balance() == "12.5"  # with the 20 of a lesson, doubled


# Boosts, rounding, caps, S32


@pytest.mark.parametrize(
    ("rounding", "award", "multipliers", "amount"),
    [
        ("down", "10", [], "10"),
        ("down", "10", ["2"], "20"),
        ("down", "10", ["2", "1.5"], "30"),
        ("down", "10", ["0.5"], "5"),
        # 10 × 1.25 = 12.5
        ("down", "10", ["1.25"], "12"),
        ("half", "10", ["1.25"], "13"),
        ("up", "10", ["1.25"], "13"),
        # 10 × 1.24 = 12.4
        ("half", "10", ["1.24"], "12"),
        ("up", "10", ["1.24"], "13"),
        # 10 × 1.25 × 1.25 = 15.625: rounded once; rounding each would give 15, or 17 upwards
        ("down", "10", ["1.25", "1.25"], "15"),
        ("half", "10", ["1.25", "1.25"], "16"),
        ("up", "10", ["1.25", "1.25"], "16"),
        # 3 × 1.1 × 1.1 × 1.1 = 3.993
        ("down", "3", ["1.1", "1.1", "1.1"], "3"),
        ("up", "3", ["1.1", "1.1", "1.1"], "4"),
        # points with decimals are rounded to as many: 2.5 × 1.25 = 3.125
        ("down", "2.5", ["1.25"], "3.1"),
        ("up", "2.5", ["1.25"], "3.2"),
        ("half", "0.25", ["1.1"], "0.28"),
        # without a boost nothing is rounded
        ("up", "2.5", [], "2.5"),
    ],
)
def test_boosts_multiply_each_other_and_the_product_is_rounded_once_s32(
    rounding: str, award: str, multipliers: list[str], amount: str
) -> None:
    boosts = [boost(f"b{number}", by) for number, by in enumerate(multipliers)]
    lesson = LESSON.replace("points = 10", f"points = {award}")
    folded = fold_all(
        build(program(lesson, *boosts, points=f'rounding = "{rounding}"')), [*noons("x")]
    )
    assert folded.amounts() == [amount]


def test_several_steps_of_one_event_are_rounded_as_one_product_s32() -> None:
    """Three at once: 30 × 1.25 = 37.5, not three times 12."""
    rules = build(program(LESSON, boost("more", "1.25")))
    assert fold_all(rules, [event(november(2, 9), 3)]).amounts() == ["37"]


def test_an_entry_keeps_its_base_its_boosts_and_what_was_clipped_s32() -> None:
    parts = [LESSON, boost("pro", "1.25", where="pro"), boost("double", "2", (2, 2))]
    told = [tells(november(1), plan="pro")]
    rules = build(program(*parts, boost("over", "9", (3, 9)), points="max_per_day = 40"))
    facts = [event(november(2, 9), 1), event(november(2, 10), 1), event(november(2, 11), 1)]
    entries = fold_all(rules, facts, told=told).entries()
    assert [entry.base for entry in entries] == [10, 10, 10]
    assert [set(entry.boosts) for entry in entries] == [{"pro", "double"}] * 3
    # 25 each: the second has room for 15, the third for none
    assert [(plain(one.amount), plain(one.clipped)) for one in entries] == [
        ("25", "0"),
        ("15", "10"),
        ("0", "25"),
    ]


@pytest.mark.parametrize(
    ("tz", "at", "amount"),
    [
        ("UTC", november(3) - timedelta(microseconds=1), "10"),
        ("UTC", november(3), "20"),
        ("UTC", november(5) - timedelta(microseconds=1), "20"),
        ("UTC", november(5), "10"),
        # the 3rd begins at 15:00 UTC of the 2nd in Tokyo, and the 4th ends at 15:00 there
        ("Asia/Tokyo", november(2, 15), "20"),
        ("Asia/Tokyo", november(2, 14, 59), "10"),
        ("Asia/Tokyo", november(4, 14, 59), "20"),
        ("Asia/Tokyo", november(4, 15), "10"),
        ("America/Los_Angeles", november(3, 7, 59), "10"),
        ("America/Los_Angeles", november(5, 7, 59), "20"),
    ],
)
def test_a_boost_holds_on_the_users_local_dates_inclusive_s32(
    tz: str, at: datetime, amount: str
) -> None:
    rules = build(program(LESSON, boost("double", "2", (3, 4))))
    folded = fold_all(rules, [event(at, tz=tz)], told=[lives(november(1), tz)])
    assert folded.amounts() == [amount]


@pytest.mark.parametrize(
    ("bounds", "days"),
    [("", [2, 3, 4]), ("from = 2026-11-03\n", [3, 4]), ("until = 2026-11-03\n", [2, 3])],
)
def test_a_boost_without_an_end_has_none_s32(bounds: str, days: list[int]) -> None:
    parts = f"[points.xp.boosts.double]\nmultiplier = 2\n{bounds}"
    folded = fold_all(build(program(LESSON, parts)), noons("xxx"))
    expected = ["20" if day in days else "10" for day in (2, 3, 4)]
    assert folded.amounts() == expected


def test_a_boost_for_some_users_is_judged_at_the_instant_s32() -> None:
    rules = build(program(LESSON, boost("pro", "3", where="pro")))
    told = [tells(november(3), plan="pro"), tells(november(4), plan="free")]
    assert fold_all(rules, noons("xxx"), told=told).amounts() == ["10", "30", "10"]


def test_the_boost_of_an_award_that_waited_is_the_one_of_its_event_s25_s32() -> None:
    """The 4th waits until the 3rd closes on the 6th; it was doubled, and the 6th trebles."""
    graced = DAILY + 'grace = "2d"\n'
    parts = [boost("double", "2", (4, 4)), boost("treble", "3", (6, 6))]
    rules = build(program(graced, STREAK.format(every=1), *parts))
    folded = fold_all(rules, noons("x.x"), now=november(7))
    assert folded.amounts() == ["50", "100"]
    assert folded.entries()[1].occurred_at == november(4, 12)


@pytest.mark.parametrize(
    ("tz", "hours", "amounts"),
    [
        # 25 a day, 10 a lesson
        ("UTC", [(2, 9), (2, 10), (2, 11), (2, 12)], ["10", "10", "5", "0"]),
        ("UTC", [(2, 21), (2, 22), (2, 23), (3, 0)], ["10", "10", "5", "10"]),
        # midnight in Tokyo is 15:00 UTC
        ("Asia/Tokyo", [(2, 12), (2, 13), (2, 14), (2, 15)], ["10", "10", "5", "10"]),
        ("Asia/Tokyo", [(2, 22), (2, 23), (3, 0), (3, 1)], ["10", "10", "5", "0"]),
    ],
)
def test_caps_clip_what_is_earned_on_a_local_day_s32(
    tz: str, hours: list[tuple[int, int]], amounts: list[str]
) -> None:
    rules = build(program(LESSON, points="max_per_day = 25"))
    facts = [event(november(day, hour), tz=tz) for day, hour in hours]
    assert fold_all(rules, facts, told=[lives(november(1), tz)]).amounts() == amounts


def test_a_cap_is_of_a_system_and_over_all_of_its_triggers_s32() -> None:
    toml = program(
        LESSON,
        '[points.xp.triggers.welcome]\non = "signup"\npoints = 15\n',
        '[points.gems.triggers.lesson]\non = "metric"\nmetric = "lessons"\npoints = 10\n',
        points="max_per_day = 20",
    )
    folded = fold_all(build(toml), [event(november(2, 9)), event(november(2, 10))])
    assert folded.amounts() == ["15", "5", "0"]
    assert folded.amounts("gems") == ["10", "10"]


@pytest.mark.parametrize(
    ("values", "amounts"),
    [
        # what is taken back makes room again
        ([(2, "3"), (2, "-1"), (2, "1")], ["25", "-9", "9"]),
        # taken back on another day it makes room there, not before
        ([(2, "2"), (3, "-1"), (3, "3")], ["20", "-10", "25"]),
        ([(2, "9"), (2, "-9")], ["25", "-25"]),
        # all of what is over the cap was paid nothing, and is no entry when it is taken back
        ([(2, "2"), (2, "1"), (2, "5"), (2, "-5")], ["20", "5", "0"]),
    ],
)
def test_what_is_taken_back_is_what_was_paid_after_the_cap_s30_s32(
    values: list[tuple[int, str]], amounts: list[str]
) -> None:
    """25 a day. Of the 25 for three coins two keep 16, the whole part of two thirds."""
    facts = [
        event(november(day, 9, minute), value, "coins")
        for minute, (day, value) in enumerate(values)
    ]
    rules = build(program(COIN, points="max_per_day = 25"))
    assert fold_all(rules, facts).amounts() == amounts


def test_a_cap_is_no_limit_for_operators_s32() -> None:
    rules = build(program(LESSON, points="max_per_day = 25"))
    given_points = Adjustment(november(2, 8), "a", 1, "xp", Decimal(1_000))
    folded = fold_all(rules, [given_points, event(november(2, 9), 3)])
    assert folded.amounts() == ["1000", "25"]


@pytest.mark.parametrize(
    ("boosts", "local", "amount", "names"),
    [
        ([times("2")], the(2), 20, ("by-2",)),
        ([times("2", the(3), None)], the(2), 10, ()),
        ([times("2", None, the(1))], the(2), 10, ()),
        ([times("2", the(2), the(2)), times("1.5")], the(2), 30, ("by-2", "by-1.5")),
    ],
)
def test_paying_is_one_entry_with_the_boosts_of_the_day_s32(
    boosts: list[BoostRule], local: date, amount: int, names: tuple[str, ...]
) -> None:
    state = PointsState()
    moment = occasion()._replace(local_date=local)
    entry = pay(points_rule(trigger(), *boosts), trigger(), state, Decimal(10), moment)
    assert (plain(entry.amount), plain(entry.base)) == (f"{amount}", "10")
    assert (entry.boosts, plain(entry.clipped)) == (names, "0")
    assert plain(state.balance) == f"{amount}"
    assert state.reached_at == moment.at


# Levels, S33


LEVELS = tuple(
    Level(key=key, number=number, at=Decimal(least))
    for number, (key, least) in enumerate([("bronze", 0), ("silver", 100), ("gold", 250)], start=1)
)
LEVELLED = "".join(
    f'[[points.xp.levels]]\nkey = "{level.key}"\nat = {level.at}\n' for level in LEVELS
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


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["9"], []),
        (["10"], ["silver"]),
        (["9", "1"], ["silver"]),
        (["24", "1"], ["silver", "gold"]),
        # over two at once: the one that was reached
        (["30"], ["gold"]),
        # a demotion is not told, the next promotion is
        (["30", "-10"], ["gold"]),
        (["30", "-10", "10"], ["gold", "gold"]),
        (["30", "-30", "10"], ["gold", "silver"]),
        # from below nothing up to the lowest
        (["-1", "1"], ["bronze"]),
    ],
)
def test_going_up_is_told_and_falling_demotes_s33(values: list[str], told: list[str]) -> None:
    folded = fold_all(build(program(COIN, LEVELLED)), coins(*values))
    assert [level for _, level in folded.told(NoticeKind.LEVEL, "level")] == told
    level = level_of(folded.rules.latest.points["xp"].levels, folded.state.points["xp"].balance)
    expected = level_of(LEVELS, Decimal(10) * sum(map(int, values)))
    assert level == expected


def test_a_level_is_of_the_event_that_reaches_it_s33() -> None:
    folded = fold_all(build(program(COIN, LEVELLED)), coins("5", "5", "5"))
    (notice,) = folded.notices(NoticeKind.LEVEL)
    assert notice.at == november(2, 9, 1)
    assert notice.body == {"points": "xp", "level": "silver", "number": 2}


def test_a_level_is_told_once_whatever_arrives_late_and_again_after_a_demotion_s53() -> None:
    rules, events = build(program(COIN, LEVELLED)), coins("5", "5", "5", "-10", "10")
    [early], [moved] = (
        fold_all(rules, some).notices(NoticeKind.LEVEL) for some in (events[1:3], events[:3])
    )
    assert moved.at < early.at
    assert moved.cause == early.cause, "its email has been planned by then"
    first, second = fold_all(rules, events).notices(NoticeKind.LEVEL)
    assert first == moved
    assert second.cause != first.cause


def test_an_operators_points_reach_levels_too_s33() -> None:
    given_points = Adjustment(november(2, 10), "a", 1, "xp", Decimal(100))
    folded = fold_all(build(program(COIN, LEVELLED)), [*coins("1"), given_points])
    assert folded.told(NoticeKind.LEVEL, "level") == [(november(2, 10), "silver")]


def test_a_word_of_the_backend_pays_what_its_achievement_is_worth_s31_s34() -> None:
    toml = program(
        '[achievements.tester]\non = "manual"\n'
        '[points.xp.triggers.thanks]\non = "achievement"\nachievement = "tester"\npoints = 5\n'
    )
    said = [Completion(november(3, hour), f"said-{hour}", 1, "tester") for hour in (9, 10)]
    folded: Folded = fold_all(build(toml), [*noons("x"), *said])
    assert folded.paid() == [("thanks", "tester", "5")]
    assert folded.entries()[0].occurred_at == november(3, 9)


# Versions, S30 and S36


def test_a_trigger_sums_from_the_moment_it_enters_the_program_s30_s36() -> None:
    """Four lessons before; then 5 make an award, and the next 5."""
    every_five = LESSON + "every = 5\n"
    rules = build(program(), (november(5), program(every_five)))
    before = [event(november(2, hour)) for hour in (9, 10, 11, 12)]
    after = [event(november(6, hour), version=2) for hour in range(1, 12)]
    folded = fold_all(rules, [*before, *after])
    assert [entry.cause for entry in folded.entries()] == [after[4].key, after[9].key]
    assert {entry.since for entry in folded.entries()} == {2}


def test_a_changed_trigger_is_a_new_one_and_what_the_old_one_gave_stays_s36() -> None:
    every_five = LESSON + "every = 5\n"
    rules = build(
        program(every_five),
        (november(5), program(every_five.replace("= 10", "= 20"))),
        (november(9), program(every_five.replace("= 10", "= 20"), LEVELLED)),
    )
    facts = [
        event(november(2, 9), 9),
        event(november(6, 9), 4, version=2),
        # one more makes 14 of the old sum and 5 of the new one, which version 3 left alone
        event(november(10, 9), 1, version=3),
    ]
    folded = fold_all(rules, facts)
    assert [(entry.since, plain(entry.amount)) for entry in folded.entries()] == [
        (1, "10"),
        (2, "20"),
    ]


def test_a_streaks_award_is_taken_back_by_a_later_version_too_s30_s36() -> None:
    """The trigger paid for the 3rd, and was changed at noon; then the 3rd became inactive."""
    daily = DAILY.replace("lessons", "coins")
    old, new = STREAK.format(every=1), STREAK.format(every=1).replace("= 50", "= 70")
    rules = build(program(daily, old), (november(3, 12), program(daily, new)))
    facts = [*coins("1", day=3), event(november(3, 13), "-1", "coins", version=2)]
    assert fold_all(rules, facts).balance() == "0"


def test_a_membership_that_enters_later_does_not_pay_for_days_before_s30_s31() -> None:
    loyal = '[points.xp.triggers.loyal]\non = "membership"\nevery = "10d"\npoints = 100\n'
    rules = build(program(), (november(15), program(loyal)))
    folded = fold_all(rules, noons("x"), now=november(33))
    assert [(one.cause, one.occurred_at) for one in folded.entries()] == [
        ("day-20", november(22)),
        ("day-30", november(32)),
    ]


@pytest.mark.parametrize(
    ("tz", "entered", "causes"),
    [
        ("UTC", november(11, 23, 59), ["2 day-10", "2 day-20"]),
        # the day begins with the new trigger: it pays, the old one does not any more
        ("UTC", november(12), ["2 day-10", "2 day-20"]),
        ("UTC", november(12, 0, 1), ["1 day-10", "2 day-20"]),
        # the 12th begins at 5:00 UTC in New York, and at 15:00 UTC of the 11th in Tokyo
        ("America/New_York", november(12, 1), ["2 day-10", "2 day-20"]),
        ("Asia/Tokyo", november(11, 16), ["1 day-10", "2 day-20"]),
    ],
)
def test_a_day_of_membership_is_paid_by_the_trigger_in_force_as_it_begins_s31_s36(
    tz: str, entered: datetime, causes: list[str]
) -> None:
    """Neither by none nor by both: where a day begins is up to the user's zone."""
    loyal = '[points.xp.triggers.loyal]\non = "membership"\nevery = "10d"\npoints = {}\n'
    rules = build(program(loyal.format(10)), (entered, program(loyal.format(20))))
    told = [lives(november(1), tz)]
    facts = [event(november(2, 14), tz=tz)]
    folded = fold_all(rules, facts, told=told, now=november(25))
    assert [f"{one.since} {one.cause}" for one in folded.entries()] == causes


def test_instants_of_membership_survive_a_leap_day_s31() -> None:
    toml = program('[points.xp.triggers.loyal]\non = "membership"\nevery = "30d"\npoints = 1\n')
    folded = fold_all(build(toml), [event(utc("2028-02-10 12:00"))], now=utc("2028-03-11"))
    assert [entry.occurred_at for entry in folded.entries()] == [utc("2028-03-11")]
