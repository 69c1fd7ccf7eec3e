"""Folding: a user's facts, one after the other, onto the state, with all that follows from each.

`fold` takes facts in the order of their positions, all after the state's own. What time causes in
between happens at its due instant, before any fact of that instant or later. Within a fact the
order of consequences is that of dependency: metric, streak, points, level, achievement, and points
for achievements (S35). Folding a few facts onto a state, or all of them onto an empty one, gives
the same state and the same effects: there is no other way in which a state changes.

What decides a fact is the version of the program that judged it; what time causes is decided by the
version in force then, or by that of the latest fact where it is newer.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from models.rules.calendar import local_date
from models.rules.consequences import Moment, draw, meet_filters, meet_newer
from models.rules.due import next_due, pay_what_is_due
from models.rules.effects import Checkpoint, Effects, EndedChain
from models.rules.facts import (
    BEFORE_FACTS,
    Adjustment,
    Completion,
    Event,
    Fact,
    Grant,
    Reset,
    Suspension,
)
from models.rules.keeping import Gain, Kept, Loss, refresh, refresh_all
from models.rules.periods import last_date, next_period, period_of
from models.rules.points import Occasion
from models.rules.rulebook import Plan, Rulebook, Rules
from models.rules.state import Activation, UserState
from models.rules.streaks import Life, begin, is_active, read
from models.rules.totals import add_to_period, add_to_total

INSTANT = timedelta(microseconds=1)
"""From one instant to the next."""
FACTS_PER_CHECKPOINT = 100
"""A late event costs at most so many facts more than those after it; one state in so many kept."""


def fold(state: UserState, facts: Iterable[Fact], rules: Rules, effects: Effects) -> None:
    """Fold facts onto a state, in place; they ascend by position and come after the state's own.

    What was told about the user stands in `state.told` already, for the time of the facts as well.
    """
    for fact in facts:
        if state.as_of is None:
            _sign_up(state, fact.at, fact.version, rules, effects)
        advance(state, fact.at, rules, effects)
        _keep_checkpoint(state, fact.at, effects)
        state.as_of = fact.position
        state.facts += 1
        is_newer = fact.version > state.version
        if is_newer:
            _enter_version(state, fact.version, rules, effects)
        if isinstance(fact, Event):
            moves_time = _fold_event(state, fact, rules, effects)
        else:
            _fold_word(state, fact, rules, effects)
            moves_time = True
        if moves_time or is_newer or state.facts == 1:
            state.due_at = next_due(state, rules)


def sign_up(state: UserState, at: datetime, rules: Rules, effects: Effects) -> None:
    """Begin the state of a user of whom there is no fact yet, but something was told."""
    _sign_up(state, at, rules.in_force(at).version, rules, effects)
    state.due_at = next_due(state, rules)


def reopen(state: UserState, version: int, rules: Rules, effects: Effects) -> None:
    """Go on from an opening that was made under a version, with the facts of before not at hand.

    What newer achievements find met there is completed at the first instant after it (S36).
    """
    assert state.as_of is not None
    at = state.as_of[0] + INSTANT
    rulebook, attributes = rules.of(state.version), state.told.at(at)
    met = meet_newer(state, rulebook, attributes, version)
    if met:
        state.as_of = (at, BEFORE_FACTS, "", "")
        occasion = Occasion("", at, local_date(at, state.tz(rulebook.tz)), attributes)
        draw(state, _moment(rules, rulebook, occasion, met=met), effects)


def advance(state: UserState, until: datetime, rules: Rules, effects: Effects) -> None:
    """Do what time alone causes up to an instant, inclusive, each thing at its own instant."""
    if state.as_of is not None and state.version < rules.latest.version:
        # A version may have come into force since the state was written.
        newer = rules.next_applied_at(state.version)
        if newer is not None and (state.due_at is None or newer < state.due_at):
            state.due_at = newer
    while state.due_at is not None and state.due_at <= until:
        due_at = state.due_at
        assert state.as_of is not None
        if state.as_of[0] < due_at:
            _keep_checkpoint(state, due_at, effects)
            state.as_of = (due_at, BEFORE_FACTS, "", "")
        newer = rules.next_applied_at(state.version)
        if newer is not None and newer <= due_at:
            _enter_version(state, rules.in_force(newer).version, rules, effects)
        rulebook = rules.of(state.version)
        _draw_kept(state, refresh_all(state, rulebook, due_at, effects), rules, effects)
        _draw_told(state, due_at, rulebook, rules, effects)
        pay_what_is_due(state, rules, due_at, effects)
        state.due_at = next_due(state, rules)


def _enter_version(state: UserState, version: int, rules: Rules, effects: Effects) -> None:
    """Go on under a newer version; a streak of another frequency under the old name begins anew."""
    before, after = rules.of(state.version), rules.of(version)
    state.version = version
    assert state.as_of is not None
    for name, streak in list(state.streaks.items()):
        old, new = before.streaks.get(name), after.streaks.get(name)
        if old is not None and new is not None and old.period != new.period:
            found = read(
                old, streak, Life(state.told.zones, before.tz, state.told.pauses), state.as_of[0]
            )
            effects.chains += [EndedChain(name, chain, state.as_of[0]) for chain in found.history]
            del state.streaks[name]


def _keep_checkpoint(state: UserState, following: datetime, effects: Effects) -> None:
    """Keep the state now and then, between two instants: a later correction can begin here."""
    if (
        effects.encode is not None
        and state.facts % FACTS_PER_CHECKPOINT == 0
        and state.as_of is not None
        and state.as_of[0] < following
        and state.as_of[1] != BEFORE_FACTS
    ):
        effects.checkpoints.append(Checkpoint(state.as_of[0], effects.encode(state)))


def _sign_up(state: UserState, at: datetime, version: int, rules: Rules, effects: Effects) -> None:
    rulebook = rules.of(version)
    state.as_of = (at, BEFORE_FACTS, "", "")
    state.version = version
    state.signed_up_at = at
    state.signed_up_on = local_date(at, state.tz(rulebook.tz))
    state.signed_up_version = version
    if rulebook.signups:
        due = [(rule.name, trigger, trigger.award) for rule, trigger in rulebook.signups]
        occasion = Occasion("signup", at, state.signed_up_on, state.told.at(at))
        draw(state, _moment(rules, rulebook, occasion, due=due), effects)


def _fold_event(state: UserState, event: Event, rules: Rules, effects: Effects) -> bool:
    """Fold an event; tell whether any period became active, or inactive again."""
    rulebook = rules.of(event.version)
    plan = rulebook.plans[event.metric]
    state.active_at = event.at
    before = state.totals.get(event.metric)
    state.totals[event.metric] = add_to_total(rulebook.metrics[event.metric], before, event)
    _add_to_periods(state, event, rulebook, plan, rules)
    kept = _activate(state, event, rulebook, plan, effects)
    here = [gain for gain in kept.gains if gain.activation.at == event.at]
    moment = Moment(
        rules=rules,
        rulebook=rulebook,
        occasion=Occasion(event.key, event.at, event.local_date, state.told.at(event.at)),
        nodes=plan.nodes if kept.gains or kept.lost else plan.plain_nodes,
        event=event,
        plan=plan,
        total_before=before,
        lost=kept.lost,
        gains=here,
    )
    draw(state, moment, effects)
    if len(here) < len(kept.gains):
        # Lengths that had waited for this period, each for the event that made it.
        apart = [gain for gain in kept.gains if gain.activation.at != event.at]
        _draw_kept(state, Kept(apart, []), rules, effects)
    return kept.refreshed


def _fold_word(state: UserState, fact: Fact, rules: Rules, effects: Effects) -> None:
    """Fold what an operator, or the backend, says."""
    rulebook = rules.of(fact.version)
    day = local_date(fact.at, state.tz(rulebook.tz))
    occasion = Occasion("", fact.at, day, state.told.at(fact.at))
    match fact:
        case Suspension():
            state.suspended = fact.suspended
        case Adjustment():
            occasion = occasion._replace(cause=fact.fact_id)
            adjusted = (fact.points, fact.amount)
            draw(state, _moment(rules, rulebook, occasion, adjusted=adjusted), effects)
        case Completion():
            met = frozenset({fact.achievement})
            draw(state, _moment(rules, rulebook, occasion, met=met), effects)
        case Grant() | Reset():
            _change_streaks(state, fact, rulebook)
            kept = refresh_all(state, rules.of(state.version), fact.at, effects)
            _draw_kept(state, kept, rules, effects)


def _change_streaks(state: UserState, fact: Grant | Reset, rulebook: Rulebook) -> None:
    """Take in what will hold a streak, or what ends it."""
    rule = rulebook.streaks.get(fact.streak)
    if rule is None:
        return
    day = local_date(fact.at, state.tz(rulebook.tz))
    current = period_of(day, rule.period)
    streak = state.streaks.get(rule.name)
    if streak is None:
        streak = state.streaks[rule.name] = begin(rule, day)
    if isinstance(fact, Grant):
        streak.grants.append((fact.at, fact.freezes))
    elif fact.fact_id not in state.told.voided:
        # Where something was done in this period already, the next one begins anew.
        done = current in streak.activated
        cut_on = next_period(current, rule.period) if done else current
        streak.cuts = sorted({*streak.cuts, cut_on})


def _draw_told(
    state: UserState, at: datetime, rulebook: Rulebook, rules: Rules, effects: Effects
) -> None:
    """Complete what only an attribute was missing for."""
    attributes = state.told.at(at)
    met = meet_filters(state, rulebook, attributes)
    if met:
        occasion = Occasion("told", at, local_date(at, state.tz(rulebook.tz)), attributes)
        draw(state, _moment(rules, rulebook, occasion, met=met), effects)


def _draw_kept(state: UserState, kept: Kept, rules: Rules, effects: Effects) -> None:
    """Draw the consequences of lengths whose time had to come, each for the event that made it."""
    assert state.as_of is not None
    if kept.lost:
        rulebook, at = rules.of(state.version), state.as_of[0]
        day = local_date(at, state.tz(rulebook.tz))
        occasion = Occasion("", at, day, state.told.at(at))
        draw(state, _moment(rules, rulebook, occasion, lost=kept.lost), effects)
    for gain in kept.gains:
        rulebook, made_by = rules.of(gain.activation.version), gain.activation
        attributes = state.told.at(made_by.at)
        occasion = Occasion("", made_by.at, made_by.local_date, attributes)
        draw(state, _moment(rules, rulebook, occasion, gains=[gain]), effects)


def _moment(rules: Rules, rulebook: Rulebook, occasion: Occasion, **what: Any) -> Moment:
    """Return a moment that may bear on everything."""
    return Moment(rules=rules, rulebook=rulebook, occasion=occasion, nodes=rulebook.nodes, **what)


def _add_to_periods(
    state: UserState, event: Event, rulebook: Rulebook, plan: Plan, rules: Rules
) -> None:
    metric = rulebook.metrics[event.metric]
    for key, rule in plan.periods:
        found = state.periods.get(key)
        if found is None:
            found = state.periods[key] = {}
        period = period_of(event.local_date, rule)
        totals = found.get(period)
        if totals is None:
            horizon = (event.at - rules.recent).date()
            for past in [old for old in found if last_date(old, rule) < horizon]:
                del found[past]
            totals = found[period] = {}
        totals[event.metric] = add_to_period(metric, totals.get(event.metric), event)


def _activate(
    state: UserState, event: Event, rulebook: Rulebook, plan: Plan, effects: Effects
) -> Kept:
    """Note which periods the event makes active, or inactive again, and go through their chains."""
    gains: list[Gain] = []
    lost: list[Loss] = []
    refreshed = False
    for key, rule in plan.streaks:
        period = period_of(event.local_date, rule.period)
        streak = state.streaks.get(rule.name)
        if streak is None:
            streak = state.streaks[rule.name] = begin(rule, event.local_date)
        if period < streak.next:
            continue  # no clock on earth shows such a date any more (S7)
        was_active = period in streak.activated
        if was_active and plan.keeps and event.value >= 0:
            # More is never less, also where the threshold was raised meanwhile.
            continue
        active = is_active(rule, state.periods[key][period])
        if active is was_active:
            continue
        if active:
            streak.activated[period] = Activation(event.at, event.local_date, event.version)
        else:
            del streak.activated[period]
        found = refresh(state, rule, streak, rulebook, event.at, effects)
        gains += found.gains
        lost += found.lost
        refreshed = True
    return Kept(gains, lost, refreshed)
