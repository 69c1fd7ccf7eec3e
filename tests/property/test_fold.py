"""Idea 1 of the design without a database: a fold in parts, from anywhere, is the fold of all.

Whole programs in several versions; facts over weeks in zones with odd dates. What the database adds
(what is late, what is cut and written anew) is in `test_apply_order`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from models.rules import fold as folding
from models.rules.boards import Aggregate, BoardKind
from models.rules.due import next_due
from models.rules.effects import Effects, NoticeKind
from models.rules.facts import Event, Fact
from models.rules.fold import advance, fold
from models.rules.rulebook import Rulebook, Rules
from models.rules.runs import RunPeriod
from models.rules.state import ZERO, UserState
from models.rules.streaks import Life as StreakLife
from models.rules.streaks import Reading, read
from models.rules.timelines import Timelines
from models.statements.users import decode_state, encode_state
from tests.property.generating import Life, examples, lives, tellings

Everything = dict[str, Any]

checked = settings(
    max_examples=examples(150),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def fold_at_once(life: Life, rules: Rules) -> tuple[UserState, Effects]:
    """Fold everything from nothing, as one recomputation does."""
    state, effects = UserState(), new_effects()
    state.told.tell(life.told, rules.attributes)
    state.told.pause(life.pauses)
    fold(state, life.facts, rules, effects)
    advance(state, life.until, rules, effects)
    return state, effects


def new_effects() -> Effects:
    return Effects(encode=encode_state, periods={}, scored=[])


def kept(state: UserState) -> UserState:
    """Return a state as it comes back from where it is kept."""
    return decode_state(encode_state(state))


def join(parts: Sequence[Effects]) -> Everything:
    """Return what is written of effects, one after the other."""
    notices: dict[tuple[NoticeKind, str], Any] = {}
    scores: dict[Any, Any] = {}
    for part in parts:
        for key in part.dropped:
            notices.pop(key, None)
        notices.update(part.notices)
        scores.update(part.scores)
    return {
        "entries": [row for part in parts for row in part.entries],
        "completed": [row for part in parts for row in part.completed],
        "chains": [row for part in parts for row in part.chains],
        "notices": notices,
        "scores": scores,
        "touched": {name for part in parts for name in part.touched},
        "scored": [row for part in parts for row in part.scored or []],
        "periods": [
            (name, row)
            for part in parts
            for name, rows in sorted((part.periods or {}).items())
            for row in rows
        ],
    }


def must_equal(found: Everything, expected: Everything) -> None:
    """Compare name by name: what differs comes first in the message."""
    found["periods"].sort(key=lambda one: one[0])
    expected["periods"].sort(key=lambda one: one[0])
    for name, rows in expected.items():
        assert found[name] == rows, name


def must_be_same(found: UserState, expected: UserState) -> None:
    """Compare states field by field."""
    for name in UserState.__dataclass_fields__:
        assert getattr(found, name) == getattr(expected, name), name


@checked
@given(data=st.data())
def test_telling_between_parts_is_telling_beforehand_s7_s34(data: st.DataObject) -> None:
    """Who comes in order is told of in order: what changes later changes nothing before it."""
    life = data.draw(lives())
    rules = life.rules
    state, at_once = fold_at_once(life, rules)
    found, parts = UserState(), []
    told, paused = list(life.told), list(life.pauses)
    # Before the first zone that is known that one held: it reaches to the beginning.
    known_at = next((one.at for one in told if one.tz is not None), life.facts[0].at)
    found.told.tell([one for one in told if one.at <= known_at], rules.attributes)
    told = [one for one in told if one.at > known_at]
    for facts, until in data.draw(splits(life)):
        effects = new_effects()
        found = kept(found)
        found.told.tell([one for one in told if one.at <= until], rules.attributes)
        found.told.pause([one for one in paused if one.at <= until])
        told = [one for one in told if one.at > until]
        paused = [one for one in paused if one.at > until]
        _look_ahead(found, rules)
        fold(found, facts, rules, effects)
        advance(found, until, rules, effects)
        parts.append(effects)
    last = new_effects()
    found.told.tell(told, rules.attributes)
    found.told.pause(paused)
    _look_ahead(found, rules)
    advance(found, life.until, rules, last)
    must_equal(join([*parts, last]), join([at_once]))
    must_be_same(found, state)


def _look_ahead(state: UserState, rules: Rules) -> None:
    """What was told may make something due."""
    if state.as_of is not None:
        state.due_at = next_due(state, rules)


@st.composite
def splits(draw: st.DrawFn, life: Life) -> list[tuple[list[Fact], datetime]]:
    """Draw parts of the facts, and to which instant after each the state is brought."""
    cuts = sorted(draw(st.sets(st.integers(0, len(life.facts)), max_size=6)))
    parts = []
    for first, last in pairwise([0, *cuts, len(life.facts)]):
        until = life.facts[last].at if last < len(life.facts) else life.until
        since = life.facts[last - 1].at if last else life.facts[0].at
        share = draw(st.floats(0, 1))
        parts.append((list(life.facts[first:last]), since + (until - since) * share))
    return [part for part in parts if part[0]]


@checked
@given(data=st.data())
def test_folding_in_parts_is_folding_at_once_s12_s26(data: st.DataObject) -> None:
    life = data.draw(lives())
    rules = life.rules
    state, at_once = fold_at_once(life, rules)
    event(f"{len(life.versions)} versions, {len(at_once.chains) > 1=}")
    found, parts = UserState(), []
    found.told.tell(life.told, rules.attributes)
    found.told.pause(life.pauses)
    for facts, until in data.draw(splits(life)):
        effects = new_effects()
        found = kept(found)
        fold(found, facts, rules, effects)
        advance(found, until, rules, effects)
        parts.append(effects)
    last = new_effects()
    advance(found, life.until, rules, last)
    must_equal(join([*parts, last]), join([at_once]))
    must_be_same(found, state)


@checked
@given(life=lives())
def test_folding_from_any_checkpoint_is_folding_from_nothing_s14(life: Life) -> None:
    rules = life.rules
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "FACTS_PER_CHECKPOINT", 2)
        state, at_once = fold_at_once(life, rules)
    for as_of, text in at_once.checkpoints:
        found = decode_state(text)
        found.told = found.told.until(as_of)
        found.told.tell([one for one in life.told if one.at > as_of], rules.attributes)
        found.told.pause([one for one in life.pauses if one.at > as_of])
        effects = new_effects()
        fold(found, [fact for fact in life.facts if fact.at > as_of], rules, effects)
        advance(found, life.until, rules, effects)
        must_be_same(found, state)
        assert [
            *(one for one in at_once.entries if one.at <= as_of),
            *effects.entries,
        ] == at_once.entries
        for name in ("completed", "chains"):
            before = [one for one in getattr(at_once, name) if one.decided_at <= as_of]
            assert [*before, *getattr(effects, name)] == getattr(at_once, name), name
        scores = {key: one for key, one in at_once.scores.items() if one.decided_at <= as_of}
        assert scores | effects.scores == at_once.scores
        notices = {key: one for key, one in at_once.notices.items() if one.decided_at <= as_of}
        for key in effects.dropped:
            notices.pop(key, None)
        assert notices | effects.notices == at_once.notices


@checked
@given(data=st.data())
def test_reading_at_an_instant_is_reading_after_the_sweeps_s26(data: st.DataObject) -> None:
    life = data.draw(lives(versions_max=1))
    rules = life.rules
    state = UserState()
    state.told.tell(life.told, rules.attributes)
    state.told.pause(life.pauses)
    fold(state, life.facts, rules, new_effects())
    last = life.facts[-1].at
    swept = kept(state)
    for hours in sorted(data.draw(st.lists(st.integers(0, 24 * 40), min_size=1, max_size=4))):
        now = last + timedelta(hours=hours)
        effects = new_effects()
        before = _readings(rules, state, now)
        advance(swept, now, rules, effects)
        after = _readings(rules, swept, now)
        assert before.keys() == after.keys()
        for name, reading in after.items():
            assert before[name]._replace(history=()) == reading._replace(history=()), name


def _readings(rules: Rules, state: UserState, now: datetime) -> dict[str, Reading]:
    life = StreakLife(state.told.zones, rules.latest.tz, state.told.pauses)
    return {
        name: read(rule, state.streaks[name], life, now)
        for name, rule in rules.latest.streaks.items()
        if name in state.streaks
    }


@checked
@given(life=lives())
def test_what_holds_of_every_state_s21_s23_s24_s33_s40(life: Life) -> None:
    rules = life.rules
    state, effects = fold_at_once(life, rules)
    for name, points in state.points.items():
        entries = [one.entry for one in effects.entries if one.entry.points == name]
        assert sum((entry.amount for entry in entries), ZERO) == points.balance, name
        for entry in entries:
            assert entry.clipped >= 0 or entry.base < 0
    _check_streaks(life, rules, state, effects)
    _check_boards(life, rules, effects)
    assert {one.key for one in effects.completed} == state.achievements.keys()
    assert len(effects.completed) == len(state.achievements), "once only (S34)"


def _check_streaks(life: Life, rules: Rules, state: UserState, effects: Effects) -> None:
    most = {
        name: max((_freezes_max(book, name) for book in _books(rules)), default=0)
        for name in state.streaks
    }
    for name, streak in state.streaks.items():
        assert 0 <= streak.freezes <= most[name]
    for name, reading in _readings(rules, state, life.until).items():
        ended = [one.chain for one in effects.chains if one.streak == name]
        chains = [*ended, *reading.history]
        for chain in chains:
            assert chain.started_on <= chain.ended_on
            assert chain.length >= 1
        assert 0 <= reading.freezes <= most[name]
        if _is_of_one_period(rules, name):
            for one, other in pairwise(chains):
                assert one.ended_on < other.started_on, name
            assert reading.longest >= max((chain.length for chain in chains), default=0)


def _is_of_one_period(rules: Rules, name: str) -> bool:
    """Tell whether all versions have the same periods: with others a streak begins anew."""
    return len({book.streaks[name].period for book in _books(rules) if name in book.streaks}) == 1


def _books(rules: Rules) -> list[Rulebook]:
    return [rules.of(version) for version in range(1, rules.latest.version + 1)]


def _freezes_max(book: Rulebook, name: str) -> int:
    rule = book.streaks.get(name)
    return rule.freezes.max if rule is not None and rule.freezes is not None else 0


def _check_boards(life: Life, rules: Rules, effects: Effects) -> None:
    """All that a metric's events come to on a board of sums is in its runs, and nothing twice."""
    for board in rules.latest.boards:
        if board.kind is not BoardKind.METRIC or board.aggregate is not Aggregate.SUM:
            continue
        if board.runs.period is RunPeriod.ALL:
            continue
        found = sum((o.score.score for k, o in effects.scores.items() if k.board == board.id), ZERO)
        judging = {
            book.version for book in _books(rules) if any(one.id == board.id for one in book.boards)
        }
        values = [
            fact.value
            for fact in life.facts
            if isinstance(fact, Event) and fact.metric == board.subject and fact.version in judging
        ]
        assert found == sum(values, ZERO), board.id


@checked
@given(data=st.data())
def test_what_is_told_is_the_same_in_any_order_s12(data: st.DataObject) -> None:
    told = data.draw(tellings(datetime.fromisoformat("2026-03-01T00:00:00+00:00")))
    names = frozenset({"plan", "team"})
    at_once, shuffled = Timelines(), Timelines()
    at_once.tell(told, names)
    shuffled.tell(data.draw(st.permutations(told)), names)
    assert shuffled == at_once
