"""Folding: at once, fact by fact and from any checkpoint it comes to the same (S12, S14, S26).

So does advancing to any instants in between: what time causes happens at its own instant, whoever
looks and whenever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.rules import fold as fold_module
from models.rules.calendar import zone_at
from models.rules.due import next_due
from models.rules.effects import (
    Completed,
    Decided,
    DecidedScore,
    Effects,
    EndedChain,
    Notice,
    NoticeKind,
    ScoreKey,
)
from models.rules.facts import Adjustment, Completion, Event, Fact, Grant, Reset, Suspension
from models.rules.fold import advance, fold, sign_up
from models.rules.state import UserState
from models.rules.timelines import Pause, Timelines, Told
from models.statements.users import decode_state, encode_state
from tests.folding import (
    build,
    copied,
    event,
    fold_all,
    lives,
    november,
    pause,
    plain,
    tells,
    the,
    utc,
)

FIRST = """
[metrics.lessons]
[metrics.coins]
allow_negative = true
[metrics.best]
aggregate = "max"

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1, coins = 2 }
milestones = [2, 3]
[streaks.daily.freezes]
start = 1
max = 2
earn_every = 2
[streaks.gracious]
frequency = "daily"
mode = "all"
metrics = { lessons = 1, coins = 1 }
days_off = ["sunday"]
grace = "30h"
[streaks.weekly]
frequency = "weekly"
metrics = { coins = 3 }

[points.xp]
max_per_day = 60
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
where = { event = { lang = "fr" } }
[points.xp.triggers.coin]
on = "metric"
metric = "coins"
every = 2
points = 2.5
[points.xp.triggers.run]
on = "streak"
streak = "daily"
every = 2
points = 15
[points.xp.triggers.steady]
on = "streak"
streak = "gracious"
points = 4
[points.xp.triggers.welcome]
on = "signup"
points = 5
[points.xp.triggers.loyal]
on = "membership"
every = "3d"
points = 7
[points.xp.boosts.double]
multiplier = 2
from = 2026-11-05
until = 2026-11-07
[points.xp.boosts.pro]
multiplier = 1.3
where = { user = { plan = "pro" } }
[[points.xp.levels]]
key = "low"
at = 20
[[points.xp.levels]]
key = "high"
at = 80
[points.gems.triggers.rich]
on = "achievement"
achievement = "rich"
points = 3

[achievements.rich]
on = "metric"
metric = "coins"
at = 4
[achievements.three]
on = "streak"
streak = "daily"
at = 3
where = { user = { plan = "pro" } }
[achievements.high]
on = "level"
points = "xp"
level = "high"
[achievements.said]
on = "manual"
[achievements.all]
on = "achievements"
all = ["rich", "high"]

[leaderboards.coins]
rank_by = { metric = "coins" }
period = "day"
clock = "user"
[leaderboards.xp]
rank_by = { points = "xp" }
period = "week"
[leaderboards.length]
rank_by = { streak = "daily" }
period = "all"
"""
SECOND = (
    FIRST.replace("points = 10", "points = 12")
    .replace("lessons = 1, coins = 2", "lessons = 2, coins = 2")
    .replace("at = 4\n", "at = 3\n")
    + '[achievements.new]\non = "points"\npoints = "xp"\nat = 30\n'
)
CHANGED_AT = november(8, 6)
RULES = build(FIRST, (CHANGED_AT, SECOND))
END = november(24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What happened to a user: facts in their order, tellings and pauses."""

    facts: Sequence[Fact]
    told: Sequence[Told]
    pauses: Sequence[Pause]

    def after(self, instant: datetime) -> Life:
        """Return what lies after an instant."""
        return Life(
            facts=[fact for fact in self.facts if fact.at > instant],
            told=[one for one in self.told if one.at > instant],
            pauses=[one for one in self.pauses if one.at > instant],
        )


HOURS = st.builds(november, st.integers(2, 13), st.integers(0, 23))


@st.composite
def lives_lived(draw: st.DrawFn) -> Life:
    """Draw up to twenty facts; the first zone, if any, is known before the first of them."""
    zones = st.sampled_from(["Asia/Tokyo", "America/Los_Angeles", "Pacific/Auckland", "UTC"])
    told = [lives(november(1), draw(zones))] if draw(st.booleans()) else []
    if told:
        moves = draw(st.lists(st.tuples(HOURS, zones), max_size=2))
        told += [lives(at + timedelta(minutes=20), tz) for at, tz in moves]
    plans = draw(st.lists(st.tuples(HOURS, st.sampled_from(["pro", "free"])), max_size=3))
    told += [tells(at + timedelta(minutes=40), plan=plan) for at, plan in plans]
    known = Timelines()
    known.tell(told, RULES.attributes)
    instants = draw(st.lists(HOURS, min_size=1, max_size=20))
    facts = [
        draw(_fact(number, at, zone_at(known.zones, at, "UTC")))
        for number, at in enumerate(instants)
    ]
    first = draw(st.integers(2, 12))
    pauses = [pause(first, first + draw(st.integers(0, 2)))] if draw(st.booleans()) else []
    ordered = sorted(facts, key=lambda fact: fact.position)
    return Life(facts=ordered, told=sorted(told, key=lambda one: one.at), pauses=pauses)


@st.composite
def _fact(draw: st.DrawFn, number: int, at: datetime, tz: str) -> Fact:
    """Draw a fact, an event more often than not; a late one may be judged by the newer version."""
    newer = at >= CHANGED_AT or draw(st.integers(0, 9)) == 0
    version, fact_id = (2 if newer else 1), f"fact-{number:02}"
    kind = draw(st.integers(0, 13))
    match kind:
        case 0:
            return Grant(at, fact_id, version, "daily", draw(st.integers(1, 3)))
        case 1:
            return Reset(at, fact_id, version, draw(st.sampled_from(["daily", "gracious"])))
        case 2:
            return Adjustment(at, fact_id, version, "xp", Decimal(draw(st.integers(-30, 30))))
        case 3:
            return Completion(at, fact_id, version, "said")
        case 4:
            return Suspension(at, fact_id, version, draw(st.booleans()))
    metric = draw(st.sampled_from(["lessons", "coins", "coins", "best"]))
    value = draw(st.sampled_from(["-2", "-1", "2", "3"] if metric == "coins" else ["1", "2"]))
    language = draw(st.sampled_from([{}, {"lang": "fr"}]))
    return event(at, value, metric, key=fact_id, version=version, tz=tz, **language)


class Written:
    """What folds have decided, as it stands once each of them has been written."""

    def __init__(self) -> None:
        self.entries: list[Decided] = []
        self.completed: list[Completed] = []
        self.notices: dict[tuple[NoticeKind, str], Notice] = {}
        self.chains: list[EndedChain] = []
        self.scores: dict[ScoreKey, DecidedScore] = {}

    def write(self, effects: Effects) -> Written:
        self.entries += effects.entries
        self.completed += effects.completed
        for key in effects.dropped:
            self.notices.pop(key, None)
        self.notices.update(effects.notices)
        self.chains += effects.chains
        self.scores.update(effects.scores)
        return self

    def since(self, instant: datetime) -> Written:
        """Return what was decided after an instant."""
        found = Written()
        found.entries = [one for one in self.entries if one.at > instant]
        found.completed = [one for one in self.completed if one.decided_at > instant]
        found.notices = {key: one for key, one in self.notices.items() if one.decided_at > instant}
        found.chains = [one for one in self.chains if one.decided_at > instant]
        found.scores = {key: one for key, one in self.scores.items() if one.decided_at > instant}
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Written) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return repr(vars(self))


def lived(life: Life, effects: Effects | None = None) -> tuple[UserState, Written]:
    """Fold a life at once."""
    effects = effects or Effects()
    state = UserState()
    state.told.tell(life.told, RULES.attributes)
    state.told.pause(life.pauses)
    fold(state, life.facts, RULES, effects)
    advance(state, END, RULES, effects)
    return state, Written().write(effects)


FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(life=lives_lived())
def test_fact_by_fact_is_all_at_once_s12(life: Life) -> None:
    """Each fact in a fold of its own, and the state kept as text in between."""
    state, written = UserState(), Written()
    state.told.tell(life.told, RULES.attributes)
    state.told.pause(life.pauses)
    for fact in life.facts:
        effects = Effects()
        fold(state, [fact], RULES, effects)
        written.write(effects)
        state = copied(state)
    effects = Effects()
    advance(state, END, RULES, effects)
    assert (encode_state(state), written.write(effects)) == _compared(lived(life))


def _compared(outcome: tuple[UserState, Written]) -> tuple[str, Written]:
    return encode_state(outcome[0]), outcome[1]


@FEW
@given(life=lives_lived(), instants=st.lists(HOURS, max_size=8), minutes=st.integers(0, 59))
def test_advancing_in_between_changes_nothing_s26(
    life: Life, instants: list[datetime], minutes: int
) -> None:
    """Whoever reads the user at some instants, or sweeps, leaves the outcome as it is."""
    state, written = UserState(), Written()
    state.told.tell(life.told, RULES.attributes)
    state.told.pause(life.pauses)
    remaining = list(life.facts)
    for instant in sorted(one + timedelta(minutes=minutes) for one in instants):
        due = [fact for fact in remaining if fact.at <= instant]
        remaining = remaining[len(due) :]
        effects = Effects()
        fold(state, due, RULES, effects)
        advance(state, instant, RULES, effects)
        written.write(effects)
    effects = Effects()
    fold(state, remaining, RULES, effects)
    advance(state, END, RULES, effects)
    assert (encode_state(state), written.write(effects)) == _compared(lived(life))


@FEW
@given(life=lives_lived(), every=st.integers(1, 4))
def test_from_any_checkpoint_it_is_what_it_is_from_nothing_s14(life: Life, every: int) -> None:
    """What was decided up to a checkpoint stays; the rest is decided again, and is the same."""
    with patch.object(fold_module, "FACTS_PER_CHECKPOINT", every):
        effects = Effects(encode=encode_state)
        whole, written = lived(life, effects)
    for checkpoint in effects.checkpoints:
        state, rest = decode_state(checkpoint.state), life.after(checkpoint.as_of)
        state.told = state.told.until(checkpoint.as_of)
        state.told.tell(rest.told, RULES.attributes)
        state.told.pause(rest.pauses)
        state.due_at = next_due(state, RULES)
        again = Effects()
        fold(state, rest.facts, RULES, again)
        advance(state, END, RULES, again)
        assert encode_state(state) == encode_state(whole)
        assert Written().write(again) == written.since(checkpoint.as_of)


@FEW
@given(life=lives_lived())
def test_what_is_told_when_its_instant_comes_is_what_was_known_all_along_s1_s7(life: Life) -> None:
    """A fold never looks ahead in what was told: nothing depends on what is told later."""
    state, written = UserState(), Written()
    known = [one for one in life.told if one.at < life.facts[0].at]
    state.told.tell(known, RULES.attributes)
    state.told.pause(life.pauses)
    later: list[Fact | Told] = [*life.facts, *life.told[len(known) :]]
    for one in sorted(later, key=lambda one: one.at):
        effects = Effects()
        if isinstance(one, Told):
            state.told.tell([one], RULES.attributes)
            state.due_at = next_due(state, RULES)
            advance(state, one.at, RULES, effects)
        else:
            fold(state, [one], RULES, effects)
        written.write(effects)
    effects = Effects()
    advance(state, END, RULES, effects)
    assert (encode_state(state), written.write(effects)) == _compared(lived(life))


@FEW
@given(life=lives_lived())
def test_the_ledger_adds_up_to_the_balance_s33(life: Life) -> None:
    state, written = lived(life)
    for name in ("xp", "gems"):
        earned = sum(one.entry.amount for one in written.entries if one.entry.points == name)
        balance = state.points[name].balance if name in state.points else 0
        assert earned == balance
    assert len({(one.at, one.number) for one in written.entries}) == len(written.entries)


@FEW
@given(life=lives_lived())
def test_what_was_folded_is_due_after_where_the_state_stands_s26(life: Life) -> None:
    """Otherwise time would never move on."""
    state, _ = lived(life)
    assert state.as_of is not None
    assert state.due_at is None or state.due_at > END >= state.as_of[0]


@FEW
@given(life=lives_lived())
def test_a_state_survives_its_text_s26(life: Life) -> None:
    state, _ = lived(life)
    assert copied(state) == state


# Checkpoints


def test_checkpoints_lie_between_two_instants_s14() -> None:
    """Never between two facts of one instant: a late fact of that instant could come before."""
    rules = build(FIRST)
    facts: list[Fact] = [event(november(2, 9), key=f"{number:03}") for number in range(150)]
    facts += [event(november(2, 10), key=f"{number:03}") for number in range(50)]
    facts += [event(november(2, 11), key=f"{number:03}") for number in range(101)]
    facts += [event(november(2, 12)), event(november(2, 13))]
    effects = Effects(encode=encode_state)
    folded = fold_all(rules, facts, effects=effects)
    # after 200 facts; 100 and 300 fall in the midst of an instant
    assert [one.as_of for one in effects.checkpoints] == [november(2, 10)]
    assert decode_state(effects.checkpoints[0].state).facts == 200
    assert folded.state.facts == len(facts)


def test_a_checkpoint_holds_nothing_that_time_caused_after_its_instant_s14() -> None:
    """The 3rd closes before the next fact: the checkpoint was made before that."""
    facts = [event(november(2, 9), key=f"{number:03}") for number in range(100)]
    effects = Effects(encode=encode_state)
    fold_all(build(FIRST), [*facts, event(november(9, 9))], effects=effects)
    (checkpoint,) = effects.checkpoints
    state = decode_state(checkpoint.state)
    assert checkpoint.as_of == november(2, 9)
    assert state.as_of is not None
    assert state.as_of[0] == november(2, 9)
    assert state.streaks["daily"].length + len(state.streaks["daily"].made) == 1


# Sign-up


WELCOME = (
    '[metrics.lessons]\n[points.xp.triggers.welcome]\non = "signup"\npoints = 25\n'
    '[points.xp.triggers.loyal]\non = "membership"\nevery = "7d"\npoints = 1\n'
)


@pytest.mark.parametrize(
    ("tz", "signed_up_on", "member_on"),
    [
        ("UTC", the(2), november(9)),
        ("Asia/Tokyo", the(3), november(9, 15)),
        ("America/Los_Angeles", the(2), november(9, 8)),
    ],
)
def test_a_user_signs_up_with_the_first_fact_on_its_local_date_s31(
    tz: str, signed_up_on: object, member_on: datetime
) -> None:
    first = event(november(2, 16), tz=tz)
    folded = fold_all(build(WELCOME), [first], told=[lives(november(1), tz)])
    state = folded.state
    assert (state.signed_up_at, state.signed_up_on) == (november(2, 16), signed_up_on)
    assert state.due_at == member_on
    assert [one.at for one in folded.effects.entries] == [november(2, 16)]


def test_a_user_of_whom_something_was_told_first_signs_up_then_s31() -> None:
    state, effects = UserState(), Effects()
    sign_up(state, november(2, 9), build(WELCOME), effects)
    assert state.signed_up_at == november(2, 9)
    assert state.as_of is not None
    assert state.due_at == november(9)
    fold(state, [event(november(4, 9))], build(WELCOME), effects)
    assert state.signed_up_at == november(2, 9)
    assert [one.entry.cause for one in effects.entries] == ["signup"]
    advance(state, november(9), build(WELCOME), effects)
    assert [plain(one.entry.amount) for one in effects.entries] == ["25", "1"]


def test_a_pause_signs_nobody_up_s27_s31() -> None:
    """An amnesty may lie before a user was ever seen."""
    folded = fold_all(build(WELCOME), [event(november(9, 9))], pauses=[pause(2, 4)])
    assert folded.state.signed_up_at == november(9, 9)


def test_who_signed_up_is_judged_by_the_version_of_the_first_fact_s31_s36() -> None:
    rules = build("[metrics.lessons]\n", (november(5), WELCOME))
    before = fold_all(rules, [event(november(4)), event(november(6), version=2)])
    assert before.paid() == []
    after = fold_all(rules, [event(november(6), version=2)])
    assert after.paid() == [("welcome", "signup", "25")]


# Facts of one instant


def test_facts_of_one_instant_have_one_order_whichever_came_first_s12() -> None:
    """Events by metric and key, then grants, resets, adjustments, completions, suspensions."""
    at = november(2, 9)
    facts: list[Fact] = [
        event(at, metric="coins", key="b"),
        event(at, metric="lessons", key="a"),
        event(at, metric="lessons", key="b"),
        Grant(at, "g", 1, "daily", 1),
        Reset(at, "r", 1, "daily"),
        Adjustment(at, "a", 1, "xp", Decimal(1)),
        Completion(at, "c", 1, "said"),
        Suspension(at, "s", 1, True),
    ]
    backwards = facts[::-1]
    assert sorted(backwards, key=lambda fact: fact.position) == facts


def test_what_time_causes_comes_before_a_fact_of_the_same_instant_s23() -> None:
    """The 3rd closes at midnight; what is done at that very instant begins a new chain."""
    rules = build('[metrics.lessons]\n[streaks.daily]\nfrequency = "daily"\nmetrics.lessons = 1\n')
    folded = fold_all(rules, [event(november(2, 9)), event(november(4))])
    assert folded.spans() == [(2, 2, 1), (4, 4, 1)]


@pytest.mark.parametrize(
    ("aggregate", "values", "total", "reached_at"),
    [
        ("sum", ["1", "2", "0"], "3", november(2, 10)),
        ("sum", ["0"], "0", None),
        ("sum", ["2", "-2"], "0", november(2, 10)),
        ("max", ["1", "3", "2", "3"], "3", november(2, 10)),
        ("max", ["0"], "0", november(2, 9)),
        ("max", ["-5", "-7"], "-5", november(2, 9)),
        ("latest", ["1", "3", "2"], "2", november(2, 11)),
        ("latest", ["1", "2", "2"], "2", november(2, 10)),
    ],
)
def test_metrics_add_up_or_keep_the_largest_or_the_latest_s15_s44(
    aggregate: str, values: list[str], total: str, reached_at: datetime | None
) -> None:
    rules = build(f'[metrics.coins]\nallow_negative = true\naggregate = "{aggregate}"\n')
    facts: list[Event] = [
        event(november(2, hour), value, "coins") for hour, value in enumerate(values, start=9)
    ]
    found = fold_all(rules, facts).state.totals["coins"]
    assert (plain(found.value), found.events, found.reached_at) == (total, len(values), reached_at)


@pytest.mark.timeout(20)
def test_years_without_a_fact_are_advanced_over_s26() -> None:
    """Every day of a membership is due once, and closing periods end where nothing is left."""
    rules = build(FIRST)
    state, effects = UserState(), Effects()
    fold(state, [event(november(2, 9), 3)], rules, effects)
    advance(state, utc("2030-11-02"), rules, effects)
    paid = [one for one in effects.entries if one.entry.trigger == "loyal"]
    # four years are 1461 days
    assert len(paid) == 487
    assert state.streaks["daily"].length == 0
