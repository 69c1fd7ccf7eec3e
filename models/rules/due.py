"""What time alone causes: periods that close, memberships that pay, anniversaries, new versions.

Memberships and anniversaries fall on the start of the user's local day (S31, S34).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from models.rules.achievements import AchievementRule
from models.rules.calendar import day_start, local_date, next_day
from models.rules.consequences import Moment, draw
from models.rules.effects import Effects
from models.rules.points import Occasion, TriggerRule, holds
from models.rules.rulebook import Rulebook, Rules
from models.rules.state import PointsState, UserState


def next_due(state: UserState, rules: Rules) -> datetime | None:
    """Return when time alone will next change anything about a user; None for never."""
    rulebook = rules.of(state.version)
    due: datetime | None = rules.next_applied_at(state.version)
    for name in rulebook.streaks:
        streak = state.streaks.get(name)
        if (
            streak is not None
            and streak.due_at is not None
            and (due is None or streak.due_at < due)
        ):
            due = streak.due_at
    for rule, trigger in rulebook.memberships:
        instant = _membership_at(state, rules, rulebook, rule.name, trigger)
        if due is None or instant < due:
            due = instant
    assert state.as_of is not None
    attributes = state.told.at(state.as_of[0]) if rulebook.anniversaries else {}
    for achievement in rulebook.anniversaries:
        if achievement.key not in state.achievements and holds(achievement.where_user, attributes):
            instant = anniversary_at(state, achievement, rulebook)
            if due is None or instant < due:
                due = instant
    return _earlier(due, state.told.next_change(state.as_of[0]))


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)


def pay_what_is_due(state: UserState, rules: Rules, now: datetime, effects: Effects) -> None:
    """Pay memberships and complete anniversaries that are due, each as of its own instant."""
    rulebook = rules.of(state.version)
    attributes = state.told.at(now)
    for rule, trigger in rulebook.memberships:
        at = _membership_at(state, rules, rulebook, rule.name, trigger)
        while at <= now:
            points = state.points.setdefault(rule.name, PointsState())
            number = _members(state, rules, points, trigger) + 1
            points.members[trigger.id] = number
            day = _day_after(state, number * int(trigger.every))
            if holds(trigger.where_user, attributes):
                moment = Moment(
                    rules=rules,
                    rulebook=rulebook,
                    occasion=Occasion(f"day-{number * int(trigger.every)}", at, day, attributes),
                    nodes=rulebook.nodes,
                    due=[(rule.name, trigger, trigger.award)],
                )
                draw(state, moment, effects)
            at = _membership_at(state, rules, rulebook, rule.name, trigger)
    for achievement in rulebook.anniversaries:
        if achievement.key in state.achievements:
            continue
        at = anniversary_at(state, achievement, rulebook)
        if at <= now and holds(achievement.where_user, attributes):
            moment = Moment(
                rules=rules,
                rulebook=rulebook,
                occasion=Occasion("anniversary", at, _years_after(state, achievement), attributes),
                nodes=rulebook.nodes,
                met=frozenset({achievement.key}),
            )
            draw(state, moment, effects)


def anniversary_at(state: UserState, rule: AchievementRule, rulebook: Rulebook) -> datetime:
    """Return the first instant of the user's local day on which so many years are over."""
    return _start(_years_after(state, rule), state.tz(rulebook.tz))


def _years_after(state: UserState, rule: AchievementRule) -> date:
    assert state.signed_up_on is not None
    day = state.signed_up_on
    try:
        return day.replace(year=day.year + int(rule.at))
    except ValueError:  # 29 February, and a year without one
        return date(day.year + int(rule.at), 3, 1)


def _membership_at(
    state: UserState, rules: Rules, rulebook: Rulebook, points: str, trigger: TriggerRule
) -> datetime:
    number = _members(state, rules, state.points.get(points), trigger) + 1
    return _start(_day_after(state, number * int(trigger.every)), state.tz(rulebook.tz))


def _members(
    state: UserState, rules: Rules, points: PointsState | None, trigger: TriggerRule
) -> int:
    """Return how many of its awards are paid, or were due before the trigger was there (S30)."""
    paid = points.members.get(trigger.id) if points else None
    if paid is not None:
        return paid
    assert state.signed_up_on is not None
    if state.signed_up_version >= trigger.since:
        return 0
    applied_at, every = rules.of(trigger.since).applied_at, int(trigger.every)
    tz = state.tz_at(applied_at, rules.of(trigger.since).tz)
    number = (local_date(applied_at, tz) - state.signed_up_on).days // every
    if number > 0 and _start(_day_after(state, number * every), tz) >= applied_at:
        number -= 1  # that day begins with the trigger
    return max(0, number)


def _day_after(state: UserState, days: int) -> date:
    assert state.signed_up_on is not None
    return state.signed_up_on + timedelta(days=days)


def _start(day: date, tz: str) -> datetime:
    """Return the first instant of a local day, of the next one where it never existed (S4)."""
    start = day_start(day, tz)
    if start is None:
        start = day_start(next_day(day, tz), tz)
    assert start is not None
    return start
