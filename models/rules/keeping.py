"""Keeping streaks up to date: what changed on the periods that may still change, and what is over.

After an event made a period active or inactive, or time closed one, the periods are gone through
anew and compared with what was drawn from them before.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from models.rules.effects import Effects, EndedChain, Notice, NoticeKind
from models.rules.periods import over_everywhere_at, period_key
from models.rules.rulebook import Rulebook
from models.rules.state import Activation, StreakState, UserState
from models.rules.streaks import (
    Chain,
    Life,
    PeriodKind,
    Step,
    StreakRule,
    settle,
    walk,
)


class Gain(NamedTuple):
    """A streak has reached a length on a period, for good as far as time has decided."""

    rule: StreakRule
    period: date
    length: int
    started_on: date
    activation: Activation


class Loss(NamedTuple):
    """A length that a period had reached is not reached on it any more."""

    rule: StreakRule
    period: date
    length: int


class Kept(NamedTuple):
    """What changed, each in the order of periods, and whether any streak was gone through."""

    gains: list[Gain]
    lost: list[Loss]
    refreshed: bool = True


def refresh_all(state: UserState, rulebook: Rulebook, now: datetime, effects: Effects) -> Kept:
    """Go through all streaks as of `now`."""
    kept = Kept(gains=[], lost=[])
    for rule in rulebook.streaks.values():
        streak = state.streaks.get(rule.name)
        if streak is not None:
            found = refresh(state, rule, streak, rulebook, now, effects)
            kept.gains.extend(found.gains)
            kept.lost.extend(found.lost)
    if state.told.pauses:
        earliest = min((streak.next for streak in state.streaks.values()), default=date.min)
        state.told.pauses = [one for one in state.told.pauses if one.last >= earliest]
    return kept


def refresh(
    state: UserState,
    rule: StreakRule,
    streak: StreakState,
    rulebook: Rulebook,
    now: datetime,
    effects: Effects,
) -> Kept:
    """Go through a streak as of `now`: return what changed, move on what nothing can change."""
    steps, streak.due_at, _ = walk(
        rule, streak, Life(state.told.zones_until(now), rulebook.tz, state.told.pauses), now
    )
    made = {
        step.period: step.length
        for step in steps
        if step.kind is PeriodKind.ACTIVE and step.decided
    }
    kept = Kept(gains=[], lost=[])
    if made != streak.made:
        kept = _compare(rule, streak, steps, made)
        streak.made = made
    _tell_closed(state, rule, streak, steps, now, effects)
    if effects.periods is not None:
        _record(state, rule, steps, now, effects)
    for chain in settle(rule, streak, steps, now):
        assert state.as_of is not None
        effects.chains.append(EndedChain(rule.name, chain, state.as_of[0]))
    return kept


def _compare(
    rule: StreakRule, streak: StreakState, steps: list[Step], made: dict[date, int]
) -> Kept:
    lost = [
        Loss(rule, period, length)
        for period, length in sorted(streak.made.items())
        if made.get(period) != length
    ]
    gains = [
        Gain(rule, step.period, step.length, step.started_on, streak.activated[step.period])
        for step in steps
        if step.period in made
        and step.started_on is not None
        and streak.made.get(step.period) != step.length
    ]
    return Kept(gains, lost)


def _tell_closed(
    state: UserState,
    rule: StreakRule,
    streak: StreakState,
    steps: list[Step],
    now: datetime,
    effects: Effects,
) -> None:
    """Tell that freezes held a chain and that one was lost; take back what is so no more."""
    closed = {
        step.period: step
        for step in steps
        if step.kind is PeriodKind.FROZEN or (step.kind is PeriodKind.MISSED and step.is_lost)
    }
    if not closed and not streak.closed:
        return
    assert state.as_of is not None
    for period, kind in list(streak.closed.items()):
        if period not in closed or closed[period].kind.value != kind:
            effects.drop_notice(_KINDS[kind], f"{rule.name}:{period}")
            del streak.closed[period]
    for period, step in closed.items():
        if period not in streak.closed:
            streak.closed[period] = step.kind.value
            lost: Chain | None = step.ended
            effects.put_notice(
                Notice(
                    _KINDS[step.kind.value],
                    f"{rule.name}:{period}",
                    now,
                    {
                        "streak": rule.name,
                        "period": period.isoformat(),
                        "length": lost.length if lost else step.length,
                        "freezes": step.freezes,
                    },
                    state.as_of[0],
                )
            )


_KINDS = {
    PeriodKind.FROZEN.value: NoticeKind.FREEZE_USED,
    PeriodKind.MISSED.value: NoticeKind.STREAK_LOST,
}


def _record(
    state: UserState, rule: StreakRule, steps: list[Step], now: datetime, effects: Effects
) -> None:
    """Collect the periods that are about to be settled, with what they came to."""
    assert effects.periods is not None
    totals = state.periods.get(period_key(rule.period), {})
    for step in steps:
        if not step.decided or over_everywhere_at(step.period, rule.period) + rule.grace > now:
            return
        effects.periods.setdefault(rule.name, []).append((step, dict(totals.get(step.period, {}))))
