"""Streaks as tables of cases: active periods, what holds a chain, and how it reads (S20 to S29).

A diary is one letter a day from Monday, 2 November 2026: `x` where something was done. What came of
it reads the same way (`Folded.diary`): `x` active, `o` off, `p` paused, `f` frozen, `m` missed, `?`
pending.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from models.rules.effects import NoticeKind
from models.rules.facts import Event, Fact, Grant, Reset
from models.rules.periods import Frequency, PeriodRule
from models.rules.state import PeriodTotal, PeriodTotals, StreakState
from models.rules.streaks import Life, Mode, StreakRule, is_active, read, settle, walk
from models.rules.timelines import Pause, Told
from tests.folding import (
    Folded,
    build,
    chain,
    event,
    fold_all,
    lives,
    noons,
    november,
    pause,
    the,
    utc,
)

METRICS = "[metrics.lessons]\nallow_negative = true\n[metrics.minutes]\nallow_negative = true\n"
DAILY = f'{METRICS}[streaks.daily]\nfrequency = "daily"\nmetrics = {{ lessons = 1 }}\n'
WEEKEND_OFF = DAILY + 'days_off = ["saturday", "sunday"]\n'
MICROSECOND = timedelta(microseconds=1)


def freezes(start: int = 0, most: int = 2, every: int = 0, earn: int = 1) -> str:
    """Return a daily streak with freezes; `every` 0 means that none is earned."""
    earning = f"earn_every = {every}\nearn = {earn}\n" if every else ""
    return f"{DAILY}[streaks.daily.freezes]\nstart = {start}\nmax = {most}\n{earning}"


def live(
    toml: str,
    diary: str,
    *facts: Fact,
    now: datetime | None = None,
    pauses: tuple[Pause, ...] = (),
    told: tuple[Told, ...] = (),
) -> Folded:
    """Fold a diary, as of the noon of its last day unless told otherwise."""
    last = november(1 + len(diary), 12)
    return fold_all(build(toml), [*noons(diary), *facts], now=now or last, pauses=pauses, told=told)


def reset(at: datetime, fact_id: str = "reset") -> Reset:
    return Reset(at, fact_id, 1, "daily")


def grant(at: datetime, number: int, fact_id: str = "grant") -> Grant:
    return Grant(at, fact_id, 1, "daily", number)


# When a period is active (S20)


def rule(mode: Mode, **least: str) -> StreakRule:
    thresholds = {metric: Decimal(value) for metric, value in least.items()}
    period = PeriodRule(frequency=Frequency.DAILY)
    return StreakRule(name="daily", period=period, mode=mode, thresholds=thresholds)


def totals(**came_to: str) -> PeriodTotals:
    return {metric: PeriodTotal(Decimal(value), 1) for metric, value in came_to.items()}


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
def test_a_period_is_active_when_any_or_all_thresholds_are_reached_s20(
    came_to: dict[str, str], of_any: bool, of_all: bool
) -> None:
    came = totals(**came_to)
    assert is_active(rule(Mode.ANY, lessons="1", minutes="10"), came) is of_any
    assert is_active(rule(Mode.ALL, lessons="1", minutes="10"), came) is of_all


@pytest.mark.parametrize("mode", Mode)
def test_a_threshold_of_zero_needs_an_event_s20(mode: Mode) -> None:
    at_zero = rule(mode, balance="0")
    assert not is_active(at_zero, {})
    assert is_active(at_zero, totals(balance="0"))
    assert not is_active(at_zero, totals(balance="-0.0001"))


@pytest.mark.parametrize(
    ("values", "lengths"),
    [
        (["1"], [1]),
        (["0.5", "0.5"], [0, 1]),
        (["1", "-0.0001"], [1, 0]),
        (["1", "-1", "1"], [1, 0, 1]),
        (["-2", "2.9999", "0.0001"], [0, 0, 1]),
        (["5", "-4", "-0.5"], [1, 1, 0]),
    ],
)
def test_negative_values_count_so_a_period_becomes_inactive_again_s20(
    values: list[str], lengths: list[int]
) -> None:
    folded = fold_all(build(DAILY), [event(november(2, 8), "0")])
    for hour, (value, length) in enumerate(zip(values, lengths, strict=True), start=9):
        folded.more([event(november(2, hour), value)], now=november(2, hour))
        assert folded.length() == length


@pytest.mark.parametrize(("mode", "spans"), [("any", [(2, 4, 3)]), ("all", [(3, 3, 1)])])
def test_a_streak_of_two_metrics_counts_days_with_any_or_all_of_them_s20(
    mode: str, spans: list[tuple[int, int, int]]
) -> None:
    toml = (
        f'{METRICS}[streaks.daily]\nfrequency = "daily"\nmode = "{mode}"\n'
        "metrics = { lessons = 1, minutes = 10 }\n"
    )
    facts = [
        event(november(2, 9)),
        event(november(3, 9)),
        event(november(3, 10), 10, "minutes"),
        event(november(4, 9), 10, "minutes"),
    ]
    assert fold_all(build(toml), facts).spans() == spans


# What counts, what holds, what breaks (S21, S23)


@pytest.mark.parametrize(
    ("toml", "diary", "became", "spans"),
    [
        (DAILY, "xxx", "xxx", [(2, 4, 3)]),
        (DAILY, "xx.x", "xxmx", [(2, 3, 2), (5, 5, 1)]),
        (DAILY, "x...xx.", "xm..xx", [(2, 2, 1), (6, 7, 2)]),
        (WEEKEND_OFF, "xxxxx..x", "xxxxxoox", [(2, 9, 6)]),
        (WEEKEND_OFF, "xxxxx.xx", "xxxxxoxx", [(2, 9, 7)]),
        (WEEKEND_OFF, ".....x.x", "xox", [(7, 9, 2)]),
        (WEEKEND_OFF, "xxxx...x", "xxxxm..x", [(2, 5, 4), (9, 9, 1)]),
    ],
    ids=[
        "every-day",
        "a-miss",
        "only-the-first-miss-breaks",
        "held-by-days-off",
        "activity-on-a-day-off-adds",
        "a-chain-may-start-on-a-day-off",
        "a-day-off-mends-nothing",
    ],
)
def test_length_counts_active_periods_of_an_unbroken_chain_s21_s23(
    toml: str, diary: str, became: str, spans: list[tuple[int, int, int]]
) -> None:
    folded = live(toml, diary)
    assert folded.diary() == became
    assert folded.spans() == spans


@pytest.mark.parametrize(
    ("start", "diary", "became", "spans", "left"),
    [
        (1, "xx.x", "xxfx", [(2, 5, 3)], 0),
        (2, "xx..x", "xxffx", [(2, 6, 3)], 0),
        (2, "xx...x", "xxffmx", [(2, 3, 2), (7, 7, 1)], 0),
        (2, "xx.x.x", "xxfxfx", [(2, 7, 4)], 0),
        (2, "xx.x.x.x", "xxfxfxmx", [(2, 7, 4), (9, 9, 1)], 0),
        (2, "xx.x.x..xx", "xxfxfxm.xx", [(2, 7, 4), (10, 11, 2)], 0),
        (0, "x.x", "xmx", [(2, 2, 1), (4, 4, 1)], 0),
    ],
    ids=[
        "one",
        "two-in-a-row",
        "the-third-breaks",
        "apart",
        "apart-and-the-third-breaks",
        "nothing-is-spent-after-a-break",
        "none",
    ],
)
def test_periods_close_one_by_one_and_each_miss_takes_a_freeze_s23(
    start: int, diary: str, became: str, spans: list[tuple[int, int, int]], left: int
) -> None:
    folded = live(freezes(start), diary)
    assert folded.diary() == became
    assert folded.spans() == spans
    assert folded.read().freezes == left


@pytest.mark.parametrize(
    ("facts", "diary"),
    [
        ([], "x"),
        # not enough was done on the 2nd: the user is known, but there is no chain yet
        ([event(november(2, 9), "0.5")], "...x"),
        # the chain of the 2nd ended by a reset, with both freezes left
        ([reset(november(2, 13))], "x...x"),
    ],
    ids=["at-sign-up", "before-the-first-chain", "after-a-reset"],
)
def test_no_freeze_is_spent_for_a_chain_of_length_0_s23(facts: list[Fact], diary: str) -> None:
    folded = live(freezes(start=2), diary, *facts)
    assert (folded.length(), folded.read().freezes) == (1, 2)


@pytest.mark.parametrize(
    ("pauses", "became", "left"),
    [
        ((), "xxxxxooff", 0),
        # Saturday is a day off even where it is paused
        ((pause(7, 9),), "xxxxxoopf", 1),
        ((pause(7, 10),), "xxxxxoopp", 2),
        ((pause(10, 10),), "xxxxxoofp", 1),
    ],
)
def test_a_day_off_comes_before_a_pause_and_a_pause_before_a_freeze_s23(
    pauses: tuple[Pause, ...], became: str, left: int
) -> None:
    toml = WEEKEND_OFF + "[streaks.daily.freezes]\nstart = 2\nmax = 2\n"
    folded = live(toml, "xxxxx.....", pauses=pauses)
    assert folded.diary().rstrip("?") == became
    assert folded.read().freezes == left
    assert folded.length() == 5


# Frequencies, S22


@pytest.mark.parametrize(
    ("week_starts_on", "days", "chains"),
    [
        # weeks of 2, 9, 16, 23 November
        ("monday", [3, 15, 16], [(2, 16, 3)]),
        ("monday", [3, 16], [(2, 2, 1), (16, 16, 1)]),
        ("monday", [8, 9], [(2, 9, 2)]),
        ("monday", [2, 8], [(2, 2, 1)]),
        # weeks of 1, 8, 15, 22 November: the 7th and the 8th are in two of them
        ("sunday", [7, 8], [(1, 8, 2)]),
        ("sunday", [8, 14], [(8, 8, 1)]),
        ("wednesday", [3, 4], [(-3, 4, 2)]),
    ],
)
def test_weeks_start_on_the_day_that_the_program_says_s5_s22(
    week_starts_on: str, days: list[int], chains: list[tuple[int, int, int]]
) -> None:
    toml = (
        f'week_starts_on = "{week_starts_on}"\n{METRICS}'
        '[streaks.weekly]\nfrequency = "weekly"\nmetrics = { lessons = 1 }\n'
    )
    folded = fold_all(build(toml), [event(november(day, 12)) for day in days])
    assert folded.spans("weekly") == chains


@pytest.mark.parametrize(
    ("days", "chains"),
    [
        # 5 lessons in each calendar month
        (["2026-01-31 5", "2026-02-01 5", "2026-03-31 5"], [("2026-01-01", "2026-03-01", 3)]),
        (["2026-01-01 3", "2026-01-31 2", "2026-02-28 4"], [("2026-01-01", "2026-01-01", 1)]),
        (["2026-11-30 5", "2026-12-31 5", "2027-01-01 5"], [("2026-11-01", "2027-01-01", 3)]),
        (
            ["2026-11-30 5", "2027-01-01 5"],
            [("2026-11-01", "2026-11-01", 1), ("2027-01-01", "2027-01-01", 1)],
        ),
    ],
)
def test_a_monthly_streak_counts_calendar_months_s5_s22(
    days: list[str], chains: list[tuple[str, str, int]]
) -> None:
    toml = f'{METRICS}[streaks.monthly]\nfrequency = "monthly"\nmetrics = {{ lessons = 5 }}\n'
    facts = [event(utc(f"{day} 12:00"), value) for day, value in map(str.split, days)]
    expected = [
        (date.fromisoformat(first), date.fromisoformat(last), length)
        for first, last, length in chains
    ]
    assert fold_all(build(toml), facts).chains("monthly") == expected


def test_streaks_of_all_frequencies_stand_side_by_side_s22() -> None:
    toml = DAILY + "".join(
        f'[streaks.{name}]\nfrequency = "{name}"\nmetrics = {{ lessons = 1 }}\n'
        for name in ("weekly", "monthly")
    )
    folded = live(toml, "xx......x")
    assert folded.spans() == [(2, 3, 2), (10, 10, 1)]
    assert folded.spans("weekly") == [(2, 9, 2)]
    assert folded.spans("monthly") == [(1, 1, 1)]


def test_freezes_and_pauses_hold_weeks_too_s22_s23() -> None:
    """A pause that covers any date of a week holds it."""
    toml = (
        f'{METRICS}[streaks.weekly]\nfrequency = "weekly"\nmetrics = {{ lessons = 1 }}\n'
        "[streaks.weekly.freezes]\nstart = 1\nmax = 1\n"
    )
    facts = [event(november(day, 12)) for day in (2, 23)]
    folded = fold_all(build(toml), facts, pauses=[pause(15, 15)])
    # the week of the 9th is held by its last day, the week of the 16th by the freeze
    assert [step.kind.value for step in folded.steps("weekly")] == [
        "active",
        "paused",
        "frozen",
        "active",
    ]
    assert folded.spans("weekly") == [(2, 23, 2)]


# Freezes earned and given (S24)


@pytest.mark.parametrize(
    ("toml", "diary", "became", "left"),
    [
        (freezes(every=3), "xx", "xx", 0),
        (freezes(every=3), "xxx", "xxx", 1),
        (freezes(every=3), "xxx.x", "xxxfx", 0),
        # the third active day after the miss earns another one
        (freezes(every=3), "xxx.xxx", "xxxfxxx", 1),
        (freezes(every=3), "xxxxxx", "xxxxxx", 2),
        (freezes(every=3), "xxxxxxxxx", "xxxxxxxxx", 2),
        # the 4th would be needed a day before it is earned
        (freezes(every=3), "xx.x", "xxmx", 0),
        (freezes(every=3, earn=2), "xxx", "xxx", 2),
        (freezes(most=3, every=3, earn=2), "xxxxxx", "xxxxxx", 3),
        (freezes(start=2, every=2), "xxxx", "xxxx", 2),
        # the multiple counts active days: the frozen 4th adds nothing
        (freezes(start=1, every=3), "xx.x", "xxfx", 1),
        # each chain earns anew, and keeps what was left
        (freezes(every=2), "xx..xx", "xxfmxx", 1),
    ],
    ids=[
        "not-yet",
        "at-the-multiple",
        "helps-from-the-next-period-on",
        "at-the-next-multiple",
        "twice",
        "at-most-two",
        "too-late",
        "two-at-once",
        "clipped",
        "clipped-from-the-start",
        "frozen-days-do-not-count",
        "in-each-chain",
    ],
)
def test_a_freeze_is_earned_at_each_multiple_up_to_the_most_s24(
    toml: str, diary: str, became: str, left: int
) -> None:
    folded = live(toml, diary)
    assert folded.diary() == became
    assert folded.read().freezes == left


def test_a_freeze_earned_while_a_period_is_pending_does_not_hold_that_one_s24_s25() -> None:
    """The 4th may still be done until the 7th; the length of 3 on the 5th earns a freeze."""
    toml = freezes(every=3).replace("metrics = { lessons", 'grace = "2d"\nmetrics = { lessons')
    folded = live(toml, "xx.x")
    assert (folded.diary(), folded.length(), folded.read().freezes) == ("xx?x", 3, 0)
    folded.more(now=november(7))
    assert folded.spans() == [(2, 3, 2), (5, 5, 1)]
    assert folded.read().freezes == 0


@pytest.mark.parametrize(
    ("grants", "diary", "became", "left"),
    [
        ([(2, 13, 1)], "x.x", "xfx", 0),
        ([(2, 13, 2)], "x..x", "xffx", 0),
        ([(2, 13, 9)], "x...x", "xffmx", 0),
        # given after the 3rd had closed, or just when it did
        ([(4, 1, 1)], "x.x", "xmx", 1),
        ([(4, 0, 1)], "x.x", "xmx", 1),
        ([(3, 23, 1)], "x.x", "xfx", 0),
        ([(2, 13, 1), (4, 13, 1)], "x.x.x", "xfxfx", 0),
        ([(2, 13, 1), (2, 14, 1), (2, 15, 1)], "x", "x", 2),
        # before anything was done
        ([(1, 12, 1)], "x.x", "xfx", 0),
    ],
    ids=[
        "one",
        "two",
        "over-the-most-is-clipped",
        "too-late",
        "at-the-close",
        "in-time",
        "one-by-one",
        "three-are-clipped-to-two",
        "before-the-first-chain",
    ],
)
def test_granted_freezes_help_from_then_on_and_are_clipped_s24(
    grants: list[tuple[int, int, int]], diary: str, became: str, left: int
) -> None:
    facts = [
        grant(november(day, hour), number, f"grant-{day}-{hour}") for day, hour, number in grants
    ]
    folded = live(freezes(), diary, *facts)
    assert folded.diary() == became
    assert folded.read().freezes == left


def test_what_a_grant_gives_over_the_most_is_gone_when_it_is_given_s24() -> None:
    """Two are the most. The third is not kept for the time after the first is spent."""
    folded = live(freezes(start=2), "x..x", grant(november(2, 13), 1))
    assert folded.read().freezes == 0


# Grace, S25


GRACES = ["0m", "6h", "30h", "3d", "7d"]


def graced(toml: str, grace: str) -> str:
    return toml.replace("metrics = { lessons", f'grace = "{grace}"\nmetrics = {{ lessons')


@pytest.mark.parametrize("grace", GRACES)
@pytest.mark.parametrize(
    ("toml", "diary"),
    [
        (DAILY, "xx.xx..x"),
        (WEEKEND_OFF, "xxxx..x.xxxxx"),
        (freezes(start=1), "x.x.x..xx"),
        (freezes(every=2), "xxxx.x...xx.xxx"),
        (freezes(every=3, earn=2), "xx.xxxx.xx..x"),
    ],
)
def test_grace_changes_no_outcome_once_everything_is_in_s25(
    toml: str, diary: str, grace: str
) -> None:
    end = november(40)
    plainly, graciously = live(toml, diary, now=end), live(graced(toml, grace), diary, now=end)
    assert graciously.spans() == plainly.spans()
    assert graciously.diary().rstrip("m.") == plainly.diary().rstrip("m.")
    assert graciously.read().freezes == plainly.read().freezes


@pytest.mark.parametrize(
    ("grace", "closes"),
    [("0m", november(4)), ("6h", november(4, 6)), ("30h", november(5, 6)), ("7d", november(11))],
)
def test_a_break_is_announced_when_grace_is_over_s25(grace: str, closes: datetime) -> None:
    folded = live(graced(DAILY, grace), "x", now=closes - MICROSECOND)
    assert folded.length() == 1
    assert folded.read().expires_at == closes
    assert folded.notices(NoticeKind.STREAK_LOST) == []
    folded.more(now=closes)
    assert folded.length() == 0
    (lost,) = folded.notices(NoticeKind.STREAK_LOST)
    assert (lost.at, lost.body["length"], lost.body["period"]) == (closes, 1, "2026-11-03")


def test_consequences_of_later_periods_wait_until_the_pending_one_is_decided_s25() -> None:
    toml = (
        graced(DAILY, "2d").replace("[streaks.daily]", "[streaks.daily]\nmilestones = [2, 3]")
        + '[points.xp.triggers.days]\non = "streak"\nstreak = "daily"\npoints = 5\n'
    )
    folded = live(toml, "x.xx")
    assert folded.diary() == "x?xx"
    assert folded.length() == 3
    assert folded.paid() == [("days", "2026-11-02", "5")]
    assert folded.notices(NoticeKind.MILESTONE) == []
    # the 3rd closes on the 6th: the two later days are lengths 1 and 2 of a chain of their own
    folded.more(now=november(6))
    assert folded.paid()[1:] == [("days", "2026-11-04", "5"), ("days", "2026-11-05", "5")]
    assert [entry.occurred_at for entry in folded.entries()[1:]] == [
        november(4, 12),
        november(5, 12),
    ]
    assert folded.told(NoticeKind.MILESTONE, "length") == [(november(5, 12), 2)]


def test_what_was_done_offline_within_grace_counts_in_its_period_s25() -> None:
    """Facts are folded by when they occurred; with the 3rd in it, the chain was never in doubt."""
    folded = live(graced(DAILY, "6h"), "xxx", now=november(4, 12))
    assert (folded.spans(), folded.notices(NoticeKind.STREAK_LOST)) == ([(2, 4, 3)], [])


# Reading, S26


@pytest.mark.parametrize(
    ("toml", "now", "length", "left"),
    [
        (DAILY, november(3, 12), 2, 0),
        (DAILY, november(5) - MICROSECOND, 2, 0),
        (DAILY, november(5), 0, 0),
        (DAILY, november(90), 0, 0),
        (freezes(start=2), november(5) - MICROSECOND, 2, 2),
        (freezes(start=2), november(5), 2, 1),
        (freezes(start=2), november(6), 2, 0),
        (freezes(start=2), november(7) - MICROSECOND, 2, 0),
        (freezes(start=2), november(7), 0, 0),
        (WEEKEND_OFF, november(5), 0, 0),
    ],
)
def test_a_chain_whose_deadline_passed_reads_0_or_held_without_any_sweep_s26(
    toml: str, now: datetime, length: int, left: int
) -> None:
    folded = live(toml, "xx")
    unswept = folded.read(now)
    assert (unswept.length, unswept.freezes) == (length, left)
    swept = folded.more(now=now).read(now)
    assert (swept.length, swept.freezes, swept.started_on, swept.expires_at) == (
        unswept.length,
        unswept.freezes,
        unswept.started_on,
        unswept.expires_at,
    )


@pytest.mark.parametrize(
    ("tz", "ended_on", "deadline"),
    [
        ("UTC", the(23), november(25)),
        ("Asia/Tokyo", the(23), november(24, 15)),
        # the clocks go back on 1 November: the day that must be missed has 25 hours
        ("America/New_York", date(2026, 10, 31), november(2, 5)),
        # 6 September starts at 01:00, and so does what ends at its start
        ("America/Santiago", date(2026, 9, 4), utc("2026-09-06 04:00")),
        # the 30th never was: the 31st is the day to miss
        ("Pacific/Apia", date(2011, 12, 29), utc("2011-12-31 10:00")),
    ],
)
def test_a_chain_is_over_when_the_day_after_its_last_has_passed_s2_s4_s26(
    tz: str, ended_on: date, deadline: datetime
) -> None:
    rule_of_days = build(DAILY).latest.streaks["daily"]
    streak = StreakState(next=ended_on + timedelta(1), length=3, started_on=ended_on)
    streak.ended_on = ended_on
    life = Life([], tz, [])
    before = read(rule_of_days, streak, life, deadline - MICROSECOND)
    assert (before.length, before.expires_at) == (3, deadline)
    assert read(rule_of_days, streak, life, deadline).length == 0


def test_without_a_chain_nothing_expires_s26() -> None:
    folded = fold_all(build(DAILY), [event(november(2, 12), "0.5")])
    assert (folded.length(), folded.read().expires_at) == (0, None)


@pytest.mark.parametrize(
    ("pauses", "now", "expires_at"),
    [
        ((), november(6, 12), november(10)),
        ((), november(7, 12), november(10)),
        ((), november(8, 12), november(10)),
        ((pause(9, 11),), november(6, 12), november(13)),
        ((pause(9, 11),), november(9, 12), november(13)),
    ],
)
def test_what_expires_is_the_next_period_in_which_something_must_be_done_s23_s26(
    pauses: tuple[Pause, ...], now: datetime, expires_at: datetime
) -> None:
    """Nobody need be reminded on a day off: after Friday, 6 November, Monday is the day."""
    assert live(WEEKEND_OFF, "xxxxx", pauses=pauses).read(now).expires_at == expires_at


def test_what_was_done_ahead_of_an_open_day_off_does_not_expire_s25_s26() -> None:
    """With 2 days of grace Saturday is open on Monday still; Monday is done, and Tuesday is next.

    Tuesday, 10 November, is over at midnight and closes two days later.
    """
    toml = graced(WEEKEND_OFF, "2d")
    folded = live(toml, "xxxxx..x", now=november(9, 13))
    assert folded.diary() == "xxxxx??x"
    assert folded.read().expires_at == november(13)


def test_as_of_an_instant_in_the_past_only_what_had_occurred_counts_s26() -> None:
    facts = noons("xxx.xx")
    rules = build(DAILY)
    lengths = {}
    for day in range(2, 9):
        now = november(day, 18)
        until = [fact for fact in facts if fact.at <= now]
        lengths[day] = fold_all(rules, until, now=now).length()
    assert lengths == {2: 1, 3: 2, 4: 3, 5: 3, 6: 1, 7: 2, 8: 2}


# Pauses, amnesties, resets, restored chains (S27)


@pytest.mark.parametrize(
    ("pauses", "diary", "became"),
    [
        ((pause(4, 5),), "xx..x", "xxppx"),
        ((pause(4, 4),), "xx..x", "xxpmx"),
        ((pause(5, 5),), "xx..x", "xxm.x"),
        ((pause(4, 4), pause(5, 5)), "xx..x", "xxppx"),
        ((pause(3, 6), pause(4, 5)), "x....x", "xppppx"),
        # what is done in a pause adds
        ((pause(3, 5),), "x.x.x", "xpxpx"),
        ((pause(4, 5, "daily"),), "xx..x", "xxppx"),
        ((pause(4, 5, "another"),), "xx..x", "xxm.x"),
        # a pause before the chain holds nothing
        ((pause(1, 2),), ".x.x", "xmx"),
    ],
)
def test_pauses_are_inclusive_dates_of_one_streak_or_all_s27(
    pauses: tuple[Pause, ...], diary: str, became: str
) -> None:
    assert live(DAILY, diary, pauses=pauses).diary() == became


def test_a_pause_set_ahead_holds_nothing_before_it_begins_s27() -> None:
    folded = live(DAILY, "x", pauses=(pause(4, 9),), now=november(4))
    assert folded.diary().startswith("xm")
    assert folded.length() == 0


def test_dates_of_a_pause_are_local_ones_s27() -> None:
    """In Tokyo the 5th begins at 15:00 UTC on the 4th; nothing was done on the 6th."""
    told = (lives(november(1), "Asia/Tokyo"),)
    facts = [event(november(day, 3), tz="Asia/Tokyo") for day in (3, 4)]
    rules = build(DAILY)
    folded = fold_all(rules, facts, told=told, pauses=[pause(5, 5)], now=november(6, 15))
    assert folded.diary() == "xxpm"
    assert folded.length(november(6, 15) - MICROSECOND) == 2


def test_an_amnesty_over_the_past_is_what_a_pause_would_have_been_s27() -> None:
    """The outage of the 4th and 5th broke the chain and took the freeze; then both come back."""
    toml = freezes(start=1)
    without = live(toml, "xx..xx")
    assert (without.diary(), without.spans()) == ("xxfmxx", [(2, 3, 2), (6, 7, 2)])
    amnesty = live(toml, "xx..xx", pauses=(pause(4, 5),))
    assert (amnesty.diary(), amnesty.spans()) == ("xxppxx", [(2, 7, 4)])
    assert amnesty.read().freezes == 1
    assert amnesty.notices(NoticeKind.STREAK_LOST) == []
    assert amnesty.notices(NoticeKind.FREEZE_USED) == []


@pytest.mark.parametrize(
    ("reset_at", "later", "spans", "lengths"),
    [
        # nothing was done on the 4th yet: what is done there begins a new chain
        (november(4, 9), "x", [(2, 3, 2), (5, 5, 1)], (0, 1)),
        (november(4, 9), "", [(2, 3, 2)], (0, 0)),
        # the 3rd was done before the reset: the 4th begins a new chain
        (november(3, 13), ".x", [(2, 3, 2), (5, 5, 1)], (0, 1)),
        (november(3, 13), "x", [(2, 3, 2), (5, 5, 1)], (0, 1)),
    ],
)
def test_a_reset_ends_the_chain_now_s27(
    reset_at: datetime,
    later: str,
    spans: list[tuple[int, int, int]],
    lengths: tuple[int, int],
) -> None:
    folded = live(DAILY, "xx", reset(reset_at), now=reset_at)
    assert folded.length() == lengths[0]
    folded.more(noons("x" if "x" in later else "", first=5), now=november(5, 12))
    assert folded.spans() == spans
    assert folded.length() == lengths[1]


def test_a_reset_ends_the_chain_also_in_the_period_in_which_something_was_done_s27() -> None:
    folded = live(DAILY, "xx", reset(november(3, 13)), now=november(3, 14))
    assert (folded.length(), folded.spans()) == (0, [(2, 3, 2)])
    # more of the same day changes nothing: it stands in the chain that ended
    folded.more([event(november(3, 15))], now=november(3, 15))
    assert (folded.length(), folded.spans()) == (0, [(2, 3, 2)])
    folded.more([event(november(4, 9))], now=november(4, 9))
    assert (folded.length(), folded.spans()) == (1, [(2, 3, 2), (4, 4, 1)])


def test_what_is_done_after_a_reset_on_a_fresh_day_begins_a_chain_on_that_day_s27() -> None:
    folded = live(DAILY, "xx", reset(november(4, 9)), event(november(4, 10)), now=november(4, 11))
    assert (folded.length(), folded.spans()) == (1, [(2, 3, 2), (4, 4, 1)])


def test_a_reset_leaves_freezes_alone_and_loses_nothing_by_a_miss_s27() -> None:
    folded = live(freezes(start=2), "xx", reset(november(4, 9)), now=november(20))
    assert (folded.length(), folded.read().freezes) == (0, 2)
    assert folded.notices(NoticeKind.STREAK_LOST) == []
    assert folded.notices(NoticeKind.FREEZE_USED) == []


def test_each_of_several_resets_ends_a_chain_s27() -> None:
    resets = [reset(november(4, 9), "first"), reset(november(5, 9), "second")]
    folded = live(DAILY, "xxx.x", *resets)
    assert folded.spans() == [(2, 3, 2), (4, 4, 1), (6, 6, 1)]


def test_a_restored_chain_counts_on_over_a_break_s27() -> None:
    """The pause is over the gap: the 4th and 5th."""
    restored = live(DAILY, "xx..xx", pauses=(pause(4, 5, "daily"),))
    assert restored.spans() == [(2, 7, 4)]
    assert restored.diary() == "xxppxx"


@pytest.mark.parametrize(
    ("reset_at", "gap", "diary", "became"),
    [
        # reset with nothing done that day
        (november(4, 9), (4, 4), "xx.xx", "xxpxx"),
        # reset after something was done that day: there is no gap
        (november(3, 13), (4, 3), "xxxx", "xxxx"),
    ],
)
def test_a_restored_chain_counts_on_over_a_reset_s27(
    reset_at: datetime, gap: tuple[int, int], diary: str, became: str
) -> None:
    undone = pause(*gap, "daily", resets=("reset",))
    folded = live(DAILY, diary, reset(reset_at), pauses=(undone,))
    assert folded.diary() == became
    assert [span[0] for span in folded.spans()] == [2]
    assert folded.length() == diary.count("x")


# Dates that never were, and travel (S4, S7)


@pytest.mark.parametrize(
    ("tz", "at", "dates", "length", "left"),
    [
        # noon in Apia, 10 hours behind UTC on the 29th and 14 ahead on the 31st
        (
            "Pacific/Apia",
            ["2011-12-29 22:00", "2011-12-30 22:00"],
            ["2011-12-29", "2011-12-31"],
            2,
            1,
        ),
        (
            "Pacific/Apia",
            ["2011-12-28 22:00", "2011-12-30 22:00"],
            ["2011-12-28", "2011-12-31"],
            2,
            0,
        ),
        # noon on Kwajalein, 12 hours behind UTC on the 20th and 12 ahead on the 22nd
        (
            "Pacific/Kwajalein",
            ["1993-08-21 00:00", "1993-08-22 00:00"],
            ["1993-08-20", "1993-08-22"],
            2,
            1,
        ),
        ("UTC", ["2011-12-29 12:00", "2011-12-31 12:00"], ["2011-12-29", "2011-12-31"], 2, 0),
    ],
)
def test_a_date_that_never_existed_is_no_period_and_takes_no_freeze_s4(
    tz: str, at: list[str], dates: list[str], length: int, left: int
) -> None:
    facts = [event(utc(instant), tz=tz) for instant in at]
    assert [f"{fact.local_date}" for fact in facts] == dates
    folded = fold_all(build(freezes(start=1)), facts, told=[lives(utc("1990-01-01"), tz)])
    assert (folded.length(), folded.read().freezes) == (length, left)


def test_moving_west_and_living_a_date_twice_extends_a_streak_once_s7() -> None:
    """The 3rd in Tokyo, then the flight to Los Angeles, where it is the 2nd and then the 3rd."""
    told = [lives(november(1), "Asia/Tokyo"), lives(november(3, 3), "America/Los_Angeles")]
    tokyo, west = "Asia/Tokyo", "America/Los_Angeles"
    facts = [
        event(november(2, 1), tz=tokyo),  # the 2nd, 10:00
        event(november(3, 1), tz=tokyo),  # the 3rd, 10:00
        event(november(3, 5), tz=west),  # the 2nd, 21:00
        event(november(3, 18), tz=west),  # the 3rd, 10:00
        event(november(4, 18), tz=west),  # the 4th, 10:00
    ]
    assert [fact.local_date for fact in facts] == [the(day) for day in (2, 3, 2, 3, 4)]
    folded = fold_all(build(DAILY), facts, told=told)
    assert folded.spans() == [(2, 4, 3)]


def test_moving_west_gives_the_open_day_the_hours_of_the_new_zone_s7() -> None:
    """Nothing on the 3rd in Tokyo; there it would be over at 15:00 UTC, in Los Angeles at 8:00."""
    west = "America/Los_Angeles"
    told = [lives(november(1), "Asia/Tokyo"), lives(november(3, 14), west)]
    done = event(november(2, 1), tz="Asia/Tokyo")
    folded = fold_all(build(DAILY), [done], told=told, now=november(3, 16))
    assert (folded.length(), folded.read().expires_at) == (1, november(4, 8))
    folded.more([event(november(4, 7), tz=west)], now=november(4, 7))
    assert folded.spans() == [(2, 3, 2)]


def test_moving_east_does_not_shorten_the_day_that_is_open_s7() -> None:
    """On the 3rd, 10:00, from Los Angeles to Tokyo, where it is the 4th: the 3rd stays open."""
    west, tokyo = "America/Los_Angeles", "Asia/Tokyo"
    told = [lives(november(1), west), lives(november(3, 18), tokyo)]
    done = event(november(2, 20), tz=west)
    folded = fold_all(build(DAILY), [done], told=told, now=november(3, 19))
    # the 3rd is over in Tokyo (since 15:00 UTC), but in Los Angeles only at 8:00 on the 4th
    assert (folded.length(), folded.read().expires_at) == (1, november(4, 8))
    folded.more([event(november(3, 20), tz=tokyo)], now=november(3, 20))
    assert (folded.diary(), folded.length()) == ("x?x", 2)
    assert folded.more(now=november(4, 8)).spans() == [(2, 2, 1), (4, 4, 1)]


def test_what_has_closed_stays_closed_when_its_user_moves_west_but_can_be_made_good_s7_s8() -> None:
    """The 3rd was missed in Tokyo. Back where it is still the 3rd, it is lived once more."""
    west = "America/Los_Angeles"
    told = [lives(november(1), "Asia/Tokyo"), lives(november(3, 20), west)]
    done = event(november(2, 1), tz="Asia/Tokyo")
    folded = fold_all(build(DAILY), [done], told=told, now=november(3, 16))
    assert folded.length() == 0
    assert len(folded.notices(NoticeKind.STREAK_LOST)) == 1
    assert folded.more(now=november(3, 21)).length() == 0
    folded.more([event(november(3, 22), tz=west)], now=november(3, 22))
    assert folded.spans() == [(2, 3, 2)]
    assert folded.notices(NoticeKind.STREAK_LOST) == []


def test_no_day_stays_open_past_its_end_in_utc_minus_12_s7() -> None:
    """Wherever the user flies at 23:00 on the 3rd, it is over at noon UTC on the 4th."""
    told = [lives(november(3, 23), "Etc/GMT+12")]
    folded = fold_all(build(DAILY), noons("x"), told=[lives(november(1), "UTC"), *told])
    assert folded.length(november(4, 12) - MICROSECOND) == 1
    assert folded.length(november(4, 12)) == 0


# Milestones, S28


MILESTONES = DAILY.replace("[streaks.daily]", "[streaks.daily]\nmilestones = [2, 4]")


@pytest.mark.parametrize(
    ("diary", "told"),
    [
        ("x", []),
        ("xx", [(3, 2)]),
        ("xxx", [(3, 2)]),
        ("xxxxx", [(3, 2), (5, 4)]),
        ("xx.xx", [(3, 2), (6, 2)]),
        ("xxxx.xxxx", [(3, 2), (5, 4), (8, 2), (10, 4)]),
    ],
)
def test_a_milestone_is_told_once_per_chain_and_mark_s28(
    diary: str, told: list[tuple[int, int]]
) -> None:
    folded = live(MILESTONES, diary)
    expected = [(november(day, 12), length) for day, length in told]
    assert folded.told(NoticeKind.MILESTONE, "length") == expected
    assert len({one.cause for one in folded.notices(NoticeKind.MILESTONE)}) == len(told)


def test_a_mark_that_was_not_reached_after_all_is_taken_back_and_told_once_when_it_is_s28() -> None:
    folded = live(MILESTONES, "xx")
    folded.more([event(november(3, 13), -1)], now=november(3, 13))
    assert folded.notices(NoticeKind.MILESTONE) == []
    folded.more([event(november(3, 14), 1)], now=november(3, 14))
    assert folded.told(NoticeKind.MILESTONE, "length") == [(november(3, 14), 2)]


def test_held_periods_tell_no_milestone_again_s28() -> None:
    toml = freezes(start=2).replace("[streaks.daily]\n", "[streaks.daily]\nmilestones = [2]\n")
    folded = live(toml, "xx.x.x")
    assert folded.told(NoticeKind.MILESTONE, "length") == [(november(3, 12), 2)]


# History, and the notices of what closed (S29)


def test_history_has_each_chain_and_each_periods_state_s29() -> None:
    toml = WEEKEND_OFF + "[streaks.daily.freezes]\nstart = 1\nmax = 1\n"
    #       MTWTFSSMTWTFSSMT
    diary = "xx.xx..x..xx...."
    folded = live(toml, diary, pauses=(pause(10, 10),), now=november(18, 12))
    # the 4th frozen, the 7th and 8th off, the 10th paused, the 11th missed, the 14th and 15th off
    assert folded.diary() == "xxfxxooxpmxxoom"
    assert folded.spans() == [(2, 9, 5), (12, 13, 2)]
    reading = folded.read()
    assert (reading.length, reading.longest, reading.started_on) == (0, 5, None)


def test_it_is_told_when_a_freeze_held_and_when_a_chain_was_lost_s29() -> None:
    folded = live(freezes(start=1), "xx", now=november(10))
    (used,) = folded.notices(NoticeKind.FREEZE_USED)
    assert (used.at, used.cause) == (november(5), "daily:2026-11-04")
    assert (used.body["length"], used.body["freezes"]) == (2, 0)
    (lost,) = folded.notices(NoticeKind.STREAK_LOST)
    assert (lost.at, lost.cause, lost.body["length"]) == (november(6), "daily:2026-11-05", 2)


def test_the_longest_is_kept_when_later_chains_are_shorter_s29() -> None:
    folded = live(DAILY, "xxxx.xx.x")
    assert [length for _, _, length in folded.spans()] == [4, 2, 1]
    assert (folded.read().length, folded.read().longest) == (1, 4)


def test_settling_moves_on_only_over_what_no_clock_can_change_any_more_s7_s29() -> None:
    """The 2nd is over everywhere at noon on the 3rd, UTC."""
    rule_of_days = build(DAILY).latest.streaks["daily"]
    folded = live(DAILY, "xx.x")
    streak = StreakState(next=the(2), activated=dict(folded.state.streaks["daily"].activated))
    made_by = streak.activated[the(5)]
    streak.activated |= {the(2): made_by, the(3): made_by}
    life = Life([], "UTC", [])
    now = november(5, 12) - MICROSECOND
    steps = walk(rule_of_days, streak, life, now).steps
    assert settle(rule_of_days, streak, steps, now) == []
    assert (streak.next, streak.length) == (the(4), 2)
    now = november(5, 12)
    steps = walk(rule_of_days, streak, life, now).steps
    assert settle(rule_of_days, streak, steps, now) == [chain(2, 3, 2)]
    assert (streak.next, streak.length, streak.longest) == (the(5), 0, 2)
    assert list(streak.activated) == [the(5)]


# Another frequency under the same name (S36)


def test_a_streak_that_becomes_weekly_counts_weeks_from_then_on_s22_s36() -> None:
    """However it goes on from the days before: the weeks of the 9th, 16th and 23rd are a chain."""
    weekly = DAILY.replace('"daily"', '"weekly"')
    rules = build(DAILY, (november(9), weekly))
    after: list[Event] = [event(november(day, 12), version=2) for day in (10, 17, 24)]
    folded = fold_all(rules, [*noons("xxxxxxx"), *after])
    assert folded.read().ended_on == the(23)
    assert folded.length() >= 3
