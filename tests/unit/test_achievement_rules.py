"""Achievements as tables of cases: what completes them, in which order, under which version.

S34 to S36; a program is written down whole only where several things depend on each other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from models.rules.effects import NoticeKind
from models.rules.facts import Adjustment, Completion, Fact
from models.rules.timelines import Told
from tests.folding import (
    APPLIED_AT,
    Folded,
    build,
    event,
    fold_all,
    lives,
    noons,
    november,
    plain,
    tells,
    utc,
)

METRICS = (
    '[metrics.lessons]\n[metrics.coins]\nallow_negative = true\n[metrics.best]\naggregate = "max"\n'
    '[metrics.mood]\naggregate = "latest"\n'
)
DAILY = '[streaks.daily]\nfrequency = "daily"\nmetrics = { lessons = 1 }\n'
XP = (
    '[points.xp.triggers.lesson]\non = "metric"\nmetric = "lessons"\npoints = 10\n'
    '[points.xp.triggers.coin]\non = "metric"\nmetric = "coins"\npoints = 1\n'
    '[[points.xp.levels]]\nkey = "low"\nat = 0\n[[points.xp.levels]]\nkey = "high"\nat = 30\n'
)
PROGRAM = METRICS + DAILY + XP
JUST_BEFORE = timedelta(microseconds=1)


def achievement(key: str, **what: object) -> str:
    """Return an achievement; text stands in quotes, numbers and tables do not."""
    lines = [
        f'{name} = "{value}"'
        if isinstance(value, str) and value[:1] not in "[{"
        else f"{name} = {value}"
        for name, value in what.items()
    ]
    return "\n".join([f"[achievements.{key}]", *lines]) + "\n"


def coins(*values: str, day: int = 2, version: int = 1) -> list[Fact]:
    """Return events a minute apart, from 9:00 on."""
    return [
        event(november(day, 9, minute), value, "coins", version=version)
        for minute, value in enumerate(values)
    ]


def said(at: datetime, key: str = "one", version: int = 1) -> Completion:
    return Completion(at, f"said-{at:%dT%H}", version, key)


def of(folded: Folded) -> list[tuple[str, datetime]]:
    """Return what was completed, in this order."""
    return [(one.key, one.completed_at) for one in folded.effects.completed]


# Each kind, S34


@pytest.mark.parametrize(
    ("what", "facts", "at"),
    [
        ({"on": "metric", "metric": "coins", "at": 10}, coins("9.9999"), None),
        ({"on": "metric", "metric": "coins", "at": 10}, coins("9", "1"), november(2, 9, 1)),
        ({"on": "metric", "metric": "coins", "at": 10}, coins("50"), november(2, 9)),
        ({"on": "metric", "metric": "coins", "at": 10}, coins("-5", "14"), None),
        ({"on": "metric", "metric": "coins", "at": 2.5}, coins("2.5"), november(2, 9)),
        (
            {"on": "metric", "metric": "best", "at": 10},
            [event(november(2, hour), 6, "best") for hour in (9, 10)],
            None,
        ),
        (
            {"on": "metric", "metric": "best", "at": 10},
            [event(november(2, hour), hour, "best") for hour in (9, 10, 8)],
            november(2, 10),
        ),
        (
            {"on": "metric", "metric": "mood", "at": 7},
            [event(november(2, hour), hour % 10, "mood") for hour in (16, 17, 18)],
            november(2, 17),
        ),
        ({"on": "streak", "streak": "daily", "at": 3}, noons("xx.xx"), None),
        ({"on": "streak", "streak": "daily", "at": 3}, noons("xx.xxxx"), november(7, 12)),
        ({"on": "streak", "streak": "daily", "at": 1}, noons("x"), november(2, 12)),
        ({"on": "points", "points": "xp", "at": 25}, noons("xxxx"), november(4, 12)),
        ({"on": "points", "points": "xp", "at": 20}, noons("xxxx"), november(3, 12)),
        ({"on": "level", "points": "xp", "level": "high"}, noons("xx"), None),
        ({"on": "level", "points": "xp", "level": "high"}, noons("xxx"), november(4, 12)),
        (
            {"on": "points", "points": "xp", "at": 100},
            [*noons("x"), Adjustment(november(3, 9), "a", 1, "xp", Decimal(100))],
            november(3, 9),
        ),
        ({"on": "manual"}, noons("x"), None),
        ({"on": "manual"}, [*noons("x"), said(november(3, 9))], november(3, 9)),
        ({"on": "manual"}, [said(november(2, 9))], november(2, 9)),
        ({"on": "manual"}, [*noons("x"), said(november(3, 9), "another")], None),
    ],
)
def test_each_kind_is_complete_at_the_instant_that_reaches_it_s34(
    what: dict[str, object], facts: list[Fact], at: datetime | None
) -> None:
    folded = fold_all(build(PROGRAM + achievement("one", **what)), facts)
    assert folded.completed() == ({} if at is None else {"one": at})
    assert folded.state.achievements == folded.completed()
    told = folded.told(NoticeKind.ACHIEVEMENT, "achievement")
    assert told == [(at, one) for one, at in folded.completed().items()]


def test_all_of_others_are_complete_with_the_last_of_them_s34() -> None:
    toml = (
        PROGRAM
        + achievement("lesson", on="metric", metric="lessons", at=1)
        + achievement("coin", on="metric", metric="coins", at=1)
        + achievement("tester", on="manual")
        + achievement("both", on="achievements", all='["lesson", "coin"]')
        + achievement("everything", on="achievements", all='["both", "tester"]')
    )
    folded = fold_all(build(toml), [said(november(1, 9), "tester"), *noons("x")])
    assert set(folded.completed()) == {"tester", "lesson"}
    folded.more(coins("1", day=5))
    assert of(folded)[2:] == [(key, november(5, 9)) for key in ("coin", "both", "everything")]


@pytest.mark.parametrize(
    ("signed_up", "tz", "years", "at"),
    [
        ("2026-11-02 12:00", "UTC", 1, "2027-11-02 00:00"),
        ("2026-11-02 12:00", "UTC", 3, "2029-11-02 00:00"),
        # the 2nd, 21:00 in Tokyo; and the 3rd, 5:00
        ("2026-11-02 12:00", "Asia/Tokyo", 1, "2027-11-01 15:00"),
        ("2026-11-02 20:00", "Asia/Tokyo", 1, "2027-11-02 15:00"),
        # 29 February counts as 1 March in years that have none
        ("2028-02-29 12:00", "UTC", 1, "2029-03-01 00:00"),
        ("2028-02-29 12:00", "UTC", 2, "2030-03-01 00:00"),
        ("2028-02-29 12:00", "UTC", 4, "2032-02-29 00:00"),
        ("2028-02-28 12:00", "UTC", 1, "2029-02-28 00:00"),
        # the day begins at 1:00 where midnight is missing: 6 September 2026 in Santiago
        ("2025-09-06 12:00", "America/Santiago", 1, "2026-09-06 04:00"),
    ],
)
def test_an_anniversary_is_at_the_start_of_the_local_day_s2_s34(
    signed_up: str, tz: str, years: int, at: str
) -> None:
    rules = build(METRICS + achievement("one", on="anniversary", years=years))
    first, instant = event(utc(signed_up), tz=tz), utc(at)
    told = [lives(utc("2020-01-01"), tz)]
    before = fold_all(rules, [first], told=told, now=instant - JUST_BEFORE)
    assert before.completed() == {}
    assert before.more(now=instant + timedelta(days=400)).completed() == {"one": instant}


def test_what_is_complete_stays_complete_and_is_told_once_s34() -> None:
    toml = (
        PROGRAM
        + achievement("rich", on="metric", metric="coins", at=10)
        + achievement("xp", on="points", points="xp", at=10)
        + achievement("run", on="streak", streak="daily", at=2)
        + achievement("tester", on="manual")
    )
    facts = [*coins("10", "-10", "10", "-3", "3"), *noons("xx.xx")]
    words = [said(november(8, hour), "tester") for hour in (9, 10)]
    folded = fold_all(build(toml), [*facts, *words])
    assert sorted(of(folded)) == [
        ("rich", november(2, 9)),
        ("run", november(3, 12)),
        ("tester", november(8, 9)),
        ("xp", november(2, 9)),
    ]
    assert len(folded.notices(NoticeKind.ACHIEVEMENT)) == 4


# Filters, S34


@pytest.mark.parametrize(
    ("where", "facts", "at"),
    [
        ("{ event = { lang = 'fr' } }", ["fr 9", "de 9"], None),
        ("{ event = { lang = 'fr' } }", ["fr 9", "de 9", "fr 1"], november(2, 9, 2)),
        ("{ event = { lang = 'fr', os = 'ios' } }", ["fr 10"], None),
        ("{}", ["fr 9", "de 1"], november(2, 9, 1)),
    ],
)
def test_the_values_that_match_are_summed_apart_s34(
    where: str, facts: list[str], at: datetime | None
) -> None:
    toml = METRICS + achievement("one", on="metric", metric="coins", at=10, where=where)
    events = [
        event(november(2, 9, minute), value, "coins", lang=lang)
        for minute, (lang, value) in enumerate(map(str.split, facts))
    ]
    assert fold_all(build(toml), events).completed() == ({} if at is None else {"one": at})


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ([], None),
        ([tells(november(1), plan="free")], None),
        ([tells(november(1), plan="pro")], november(2, 9)),
        ([tells(november(2, 9), plan="pro")], november(2, 9)),
        # what was missing only an attribute is complete when that is told
        ([tells(november(4, 6), plan="pro")], november(4, 6)),
        ([tells(november(1), plan="pro"), tells(november(2), plan="free")], None),
        (
            [tells(november(1), plan="free"), tells(november(9), plan="pro")],
            november(9),
        ),
    ],
)
@pytest.mark.parametrize(
    "what",
    [
        {"on": "metric", "metric": "coins", "at": 10},
        {"on": "points", "points": "xp", "at": 10},
        {"on": "level", "points": "xp", "level": "high"},
        {"on": "metric", "metric": "coins", "at": 10, "event": "{ lang = 'fr' }"},
    ],
)
def test_attributes_of_the_user_must_hold_s34(
    what: dict[str, str], told: list[Told], at: datetime | None
) -> None:
    filters = f"event = {what['event']}, " if "event" in what else ""
    kind = {name: value for name, value in what.items() if name != "event"}
    where = f"{{ {filters}user = {{ plan = 'pro' }} }}"
    facts = [event(november(2, 9), 30, "coins", lang="fr")]
    rules = build(PROGRAM + achievement("one", **kind, where=where))
    folded = fold_all(rules, facts, told=told, now=november(20))
    assert folded.completed() == ({} if at is None else {"one": at})


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ([], None),
        ([("2026-11-01", "pro")], "2027-11-02"),
        ([("2027-11-02", "pro")], "2027-11-02"),
        # pro only later: complete when it is told
        ([("2028-03-01", "pro")], "2028-03-01"),
        # pro on the day, and not any more afterwards
        ([("2026-11-01", "pro"), ("2028-03-01", "free")], "2027-11-02"),
        # pro before the day, and not on it
        ([("2026-11-01", "pro"), ("2027-03-01", "free")], None),
        ([("2026-11-01", "pro"), ("2027-03-01", "free"), ("2029-01-01", "pro")], "2029-01-01"),
    ],
    ids=["never", "before", "on-the-day", "later", "until-later", "not-on-the-day", "again"],
)
@pytest.mark.timeout(10)
def test_an_anniversary_for_some_users_is_judged_by_what_holds_then_s34(
    told: list[tuple[str, str]], at: str | None
) -> None:
    """What is told from then on is known to the fold from the start: it must not look ahead."""
    where = "{ user = { plan = 'pro' } }"
    rules = build(METRICS + achievement("one", on="anniversary", years=1, where=where))
    timeline = [tells(utc(since), plan=plan) for since, plan in told]
    folded = fold_all(rules, noons("x"), told=timeline, now=utc("2030-01-01"))
    assert set(folded.completed()) == ({"one"} if at else set())
    if at == "2027-11-02":
        assert folded.completed() == {"one": utc(at)}


# The order of consequences, S35


CHAIN = (
    METRICS
    + DAILY
    + '[points.xp.triggers.run]\non = "streak"\nstreak = "daily"\nevery = 2\npoints = 50\n'
    + '[[points.xp.levels]]\nkey = "high"\nat = 50\n'
    + achievement("reached-high", on="level", points="xp", level="high")
    + '[points.gems.triggers.high]\non = "achievement"\nachievement = "reached-high"\npoints = 3\n'
    + achievement("gem", on="points", points="gems", at=3)
    + '[points.stars.triggers.gem]\non = "achievement"\nachievement = "gem"\npoints = 1\n'
    + achievement("all", on="achievements", all='["gem", "reached-high"]')
)


def test_one_event_brings_all_that_depends_on_it_in_its_order_s35() -> None:
    """Metric, streak, points, level, achievement, and points again for achievements, twice."""
    folded = fold_all(build(CHAIN), noons("xx"))
    at = november(3, 12)
    assert folded.paid("xp") == [("run", "2026-11-03", "50")]
    assert folded.told(NoticeKind.LEVEL, "level") == [(at, "high")]
    assert of(folded) == [("reached-high", at), ("gem", at), ("all", at)]
    assert folded.paid("gems") == [("high", "reached-high", "3")]
    assert folded.paid("stars") == [("gem", "gem", "1")]
    decided = [one.entry.points for one in folded.effects.entries]
    assert decided == ["xp", "gems", "stars"]
    assert [(one.at, one.number) for one in folded.effects.entries] == [(at, 0), (at, 1), (at, 2)]


def test_the_order_in_the_file_does_not_matter_s35() -> None:
    """Tables of a program may stand in any order; what depends on what decides."""
    tables = [f"[{table}" for table in CHAIN.split("\n[") if table.strip()]
    tables = [table.replace("[[metrics", "[metrics") for table in tables]
    levels = [one for one in tables if one.startswith("[[")]
    others = [one for one in tables if not one.startswith("[[")]
    backwards = "\n".join([*reversed(others), *levels])
    ours, theirs = fold_all(build(CHAIN), noons("xx")), fold_all(build(backwards), noons("xx"))
    assert sorted(theirs.effects.completed) == sorted(ours.effects.completed)
    assert theirs.paid("stars") == ours.paid("stars") == [("gem", "gem", "1")]


def test_what_time_causes_brings_all_that_depends_on_it_too_s35() -> None:
    toml = (
        METRICS
        + '[points.xp.triggers.loyal]\non = "membership"\nevery = "7d"\npoints = 30\n'
        + achievement("loyal", on="points", points="xp", at=60)
        + '[points.gems.triggers.loyal]\non = "achievement"\nachievement = "loyal"\npoints = 1\n'
    )
    folded = fold_all(build(toml), noons("x"), now=november(20))
    assert of(folded) == [("loyal", november(16))]
    assert [entry.occurred_at for entry in folded.entries("gems")] == [november(16)]


def test_a_period_decided_by_time_brings_its_consequences_for_its_event_s25_s35() -> None:
    """The chain of the 4th and 5th is certain on the 6th, when the 3rd closes."""
    graced = CHAIN.replace("[streaks.daily]\n", '[streaks.daily]\ngrace = "2d"\n')
    folded = fold_all(build(graced), noons("x.xx"))
    assert of(folded) == []
    folded.more(now=november(6))
    at = november(5, 12)
    assert of(folded) == [("reached-high", at), ("gem", at), ("all", at)]
    assert [entry.occurred_at for entry in folded.entries("stars")] == [at]
    assert {one.at for one in folded.effects.entries} == {november(6)}


# Versions, S36


SECOND = november(5)
"""When the second version of a program comes into force."""


@pytest.mark.parametrize(
    ("what", "facts", "at"),
    [
        ({"on": "metric", "metric": "coins", "at": 10}, coins("6", "4", "5"), november(2, 9, 1)),
        ({"on": "metric", "metric": "coins", "at": 10}, coins("10", "-10"), november(2, 9)),
        (
            {"on": "metric", "metric": "coins", "at": 5, "where": "{ event = { lang = 'fr' } }"},
            [event(november(2, 9), 9, "coins"), event(november(3, 9), 5, "coins", lang="fr")],
            november(3, 9),
        ),
        ({"on": "streak", "streak": "daily", "at": 2}, noons("xx"), november(3, 12)),
        ({"on": "points", "points": "xp", "at": 20}, noons("xxx"), november(3, 12)),
        ({"on": "level", "points": "xp", "level": "high"}, noons("xxx"), november(4, 12)),
        ({"on": "achievements", "all": '["base"]'}, noons("xx"), november(2, 12)),
    ],
)
def test_a_new_achievement_is_backdated_silently_with_its_true_date_s36(
    what: dict[str, object], facts: list[Fact], at: datetime
) -> None:
    first = PROGRAM + achievement("base", on="metric", metric="lessons", at=1)
    rules = build(first, (SECOND, first + achievement("one", **what)))
    folded = fold_all(rules, facts, now=november(9))
    (found,) = (one for one in folded.effects.completed if one.key == "one")
    assert (found.completed_at, found.backdated, found.since) == (at, True, 2)
    told = [key for _, key in folded.told(NoticeKind.ACHIEVEMENT, "achievement")]
    assert "one" not in told


def test_an_anniversary_that_had_passed_when_it_came_is_backdated_s36() -> None:
    later = METRICS + achievement("one", on="anniversary", years=1)
    rules = build(METRICS, (utc("2028-01-01"), later))
    folded = fold_all(rules, noons("x"), now=utc("2029-01-01"))
    (found,) = folded.effects.completed
    assert (found.completed_at, found.backdated) == (utc("2027-11-02"), True)
    assert folded.notices(NoticeKind.ACHIEVEMENT) == []


def test_what_a_later_event_completes_is_no_backfill_s36() -> None:
    new = achievement("one", on="metric", metric="coins", at=10)
    rules = build(PROGRAM, (SECOND, PROGRAM + new))
    folded = fold_all(rules, [*coins("6"), *coins("4", day=6, version=2)])
    (found,) = folded.effects.completed
    assert (found.completed_at, found.backdated) == (november(6, 9), False)
    assert folded.told(NoticeKind.ACHIEVEMENT, "achievement") == [(november(6, 9), "one")]


def test_a_backdated_achievement_pays_nothing_for_the_time_before_its_trigger_s30_s36() -> None:
    new = achievement("one", on="metric", metric="lessons", at=1) + (
        '[points.gems.triggers.one]\non = "achievement"\nachievement = "one"\npoints = 5\n'
    )
    folded = fold_all(build(PROGRAM, (SECOND, PROGRAM + new)), noons("x"), now=november(9))
    assert folded.completed() == {"one": november(2, 12)}
    assert folded.paid("gems") == []


@pytest.mark.parametrize(
    ("later", "since", "at", "backdated"),
    [
        # easier than before: whoever meets it already gets it as of when that was
        (5, 2, november(2, 9), True),
        # harder: who had not completed the old one needs the new one
        (12, 2, november(6, 9), False),
    ],
)
def test_a_changed_achievement_is_a_new_one_s36(
    later: int, since: int, at: datetime, backdated: bool
) -> None:
    old = achievement("one", on="metric", metric="coins", at=10)
    new = achievement("one", on="metric", metric="coins", at=later)
    rules = build(PROGRAM + old, (SECOND, PROGRAM + new))
    folded = fold_all(rules, [*coins("6"), *coins("7", day=6, version=2)])
    (found,) = folded.effects.completed
    assert (found.since, found.completed_at, found.backdated) == (since, at, backdated)


@pytest.mark.parametrize("later", ["", achievement("one", on="metric", metric="coins", at=99)])
def test_what_was_complete_stays_when_its_achievement_changes_or_goes_s36(later: str) -> None:
    old = achievement("one", on="metric", metric="coins", at=10)
    rules = build(PROGRAM + old, (SECOND, PROGRAM + later))
    folded = fold_all(rules, [*coins("10"), *coins("100", day=6, version=2)])
    assert of(folded) == [("one", november(2, 9))]
    assert "one" in folded.state.achievements


def test_what_is_gone_completes_no_more_s36() -> None:
    old = achievement("one", on="metric", metric="coins", at=10)
    rules = build(PROGRAM + old, (SECOND, PROGRAM))
    assert of(fold_all(rules, [*coins("6"), *coins("9", day=6, version=2)])) == []


def test_events_are_judged_by_the_version_that_they_keep_s36() -> None:
    """An event that had come before the change keeps its version, when it is folded again too."""
    points = '[points.xp.triggers.lesson]\non = "metric"\nmetric = "lessons"\npoints = {}\n'
    rules = build(METRICS + points.format(10), (SECOND, METRICS + points.format(20)))
    facts = [
        event(november(4, 12), version=1),
        event(november(5, 12), version=1),  # came with the old version on its heels
        event(november(4, 13), version=2),  # a late one, which the new version judged
        event(november(6, 12), version=2),
    ]
    folded = fold_all(rules, facts)
    assert [(one.cause, plain(one.amount)) for one in folded.entries()] == [
        (facts[0].key, "10"),
        (facts[2].key, "20"),
        (facts[1].key, "10"),
        (facts[3].key, "20"),
    ]


def test_thresholds_of_a_streak_are_those_of_the_events_version_s20_s36() -> None:
    """One lesson made a day until the 5th, two do from then on: a day that was made stays so."""
    stricter = PROGRAM.replace("metrics = { lessons = 1 }", "metrics = { lessons = 2 }")
    rules = build(PROGRAM, (SECOND, stricter))
    facts = [*noons("xxx"), event(november(5, 12), version=2), event(november(5, 13), version=2)]
    folded = fold_all(rules, facts)
    assert folded.spans() == [(2, 5, 4)]


def test_the_first_version_holds_for_what_occurred_before_it_s36() -> None:
    rules = build(PROGRAM, (SECOND, PROGRAM))
    assert rules.in_force(APPLIED_AT - timedelta(days=999)).version == 1
    assert rules.in_force(SECOND - JUST_BEFORE).version == 1
    assert rules.in_force(SECOND).version == 2
    assert (rules.next_applied_at(1), rules.next_applied_at(2)) == (SECOND, None)
