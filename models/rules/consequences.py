"""What follows from one moment, in order of dependency: points, levels, achievements (S35).

A moment is an event, a length that a streak reached, a word of an operator, or something that time
made due. Points systems and achievements are gone through in an order in which each comes after all
that it depends on, so once is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from models.rules.achievements import AchievementKind, AchievementRule, crosses
from models.rules.boards import BoardRule, add_value
from models.rules.effects import (
    Completed,
    Decided,
    DecidedScore,
    Effects,
    Notice,
    NoticeKind,
    Scored,
    ScoreKey,
)
from models.rules.facts import Event
from models.rules.keeping import Gain, Loss
from models.rules.levels import level_of
from models.rules.points import (
    Entry,
    Occasion,
    PointsRule,
    TriggerKind,
    TriggerRule,
    count,
    holds,
    pay,
    take_back,
)
from models.rules.rulebook import Node, Plan, Rulebook, Rules
from models.rules.runs import run_at
from models.rules.state import ZERO, PointsState, Total, UserState

ADJUSTMENT = "adjustment"
"""What stands in the ledger as the trigger of an operator's adjustment."""
# Looked at for each event: a member of an Enum is found more slowly than a name.
_METRIC, _STREAK = AchievementKind.METRIC, AchievementKind.STREAK
_POINTS, _ALL_OF = AchievementKind.POINTS, AchievementKind.ALL_OF


@dataclass(slots=True, kw_only=True)
class Moment:
    """Something that consequences are drawn from, and what has come of it so far.

    `due` are awards that the moment itself pays: (points system, trigger, points). `met` are the
    keys of achievements that it completes by itself. `moved` holds the balance of each points
    system before and after.
    """

    rules: Rules
    rulebook: Rulebook
    occasion: Occasion
    nodes: Sequence[Node]
    event: Event | None = None
    plan: Plan | None = None
    total_before: Total | None = None
    lost: Sequence[Loss] = ()
    gains: Sequence[Gain] = ()
    due: Sequence[tuple[str, TriggerRule, Decimal]] = ()
    adjusted: tuple[str, Decimal] | None = None
    met: frozenset[str] = frozenset()
    moved: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)


def draw(state: UserState, moment: Moment, effects: Effects) -> None:
    """Draw the consequences of a moment."""
    if moment.event is not None and moment.plan is not None:
        for board in moment.plan.boards:
            _score(state, board, moment.event.value, moment, effects)
    for loss in moment.lost:
        _drop_milestone(loss, effects)
    for gain in moment.gains:
        _tell_milestone(state, gain, effects)
        for board in moment.rulebook.streak_boards.get(gain.rule.name, ()):
            _score(state, board, Decimal(gain.length), moment, effects)
    for node in moment.nodes:
        if isinstance(node, PointsRule):
            _earn(state, node, moment, effects)
        elif node.key not in state.achievements:
            _achieve(state, node, moment, effects)


def meet_filters(
    state: UserState, rulebook: Rulebook, attributes: Mapping[str, str]
) -> frozenset[str]:
    """Return the achievements that the state meets and that ask for user attributes."""
    asking = (rule for rule in rulebook.achievements if rule.where_user)
    return _find_met(state, asking, attributes)


def meet_newer(
    state: UserState, rulebook: Rulebook, attributes: Mapping[str, str], version: int
) -> frozenset[str]:
    """Return the achievements that the state meets and that came after a version."""
    newer = (rule for rule in rulebook.achievements if rule.since > version)
    return _find_met(state, newer, attributes)


def _find_met(
    state: UserState, rules: Iterable[AchievementRule], attributes: Mapping[str, str]
) -> frozenset[str]:
    return frozenset(
        rule.key
        for rule in rules
        if rule.key not in state.achievements
        and holds(rule.where_user, attributes)
        and _meets(state, rule)
    )


def _meets(state: UserState, rule: AchievementRule) -> bool:
    """Tell whether what an achievement asks for is there, whenever it came."""
    match rule.kind:
        case AchievementKind.METRIC:
            if rule.where:
                return state.counters.get(rule.id, ZERO) >= rule.at
            total = state.totals.get(rule.subject)
            return total is not None and total.value >= rule.at
        case AchievementKind.STREAK:
            streak = state.streaks.get(rule.subject)
            return streak is not None and (
                max([streak.longest, streak.length, *streak.made.values()]) >= rule.at
            )
        case AchievementKind.POINTS:
            points = state.points.get(rule.subject)
            return points is not None and points.balance >= rule.at
        case AchievementKind.ALL_OF:
            return all(key in state.achievements for key in rule.all_of)
        case AchievementKind.ANNIVERSARY | AchievementKind.MANUAL:
            return False


def _earn(state: UserState, rule: PointsRule, moment: Moment, effects: Effects) -> None:
    """Pay and take back what a points system's triggers say; notice a level that was reached."""
    points = state.points.get(rule.name)
    before = points.balance if points else ZERO
    entries: list[Entry] = []
    if moment.event is not None and moment.plan is not None:
        triggers = moment.plan.triggers.get(rule.name)
        if triggers:
            points = points or _points(state, rule)
            entries += _count(rule, triggers, points, moment)
    if moment.lost or moment.gains or moment.completed or moment.due or moment.adjusted:
        entries += _pay_others(state, rule, moment)
    if not entries:
        return
    after = state.points[rule.name].balance
    for entry in entries:
        _decide(state, entry, effects)
        if entry.amount:
            for board in moment.rulebook.points_boards.get(rule.name, ()):
                _score(state, board, entry.amount, moment, effects)
    if after != before:
        moment.moved[rule.name] = (before, after)
        _tell_level(state, rule, before, after, moment, effects)
    if rule.day_max is not None:
        _forget_days(state.points[rule.name], moment)


def _points(state: UserState, rule: PointsRule) -> PointsState:
    return state.points.setdefault(rule.name, PointsState())


def _count(
    rule: PointsRule, triggers: Sequence[TriggerRule], points: PointsState, moment: Moment
) -> list[Entry]:
    event = moment.event
    assert event is not None
    entries = []
    for trigger in triggers:
        if holds(trigger.where, event.attributes) and holds(
            trigger.where_user, moment.occasion.attributes
        ):
            entry = count(rule, trigger, points, event.value, moment.occasion)
            if entry is not None:
                entries.append(entry)
    return entries


def _pay_others(state: UserState, rule: PointsRule, moment: Moment) -> list[Entry]:
    entries = []
    occasion = moment.occasion
    if moment.lost and rule.name in state.points:
        entries += _take_back_lost(state.points[rule.name], rule, moment)
    for trigger in rule.triggers:
        if trigger.kind is TriggerKind.STREAK:
            entries += _pay_streak(state, rule, trigger, moment)
        elif (
            trigger.kind is TriggerKind.ACHIEVEMENT
            and trigger.subject in moment.completed
            and holds(trigger.where_user, occasion.attributes)
        ):
            cause = occasion._replace(cause=trigger.subject)
            entries.append(pay(rule, trigger, _points(state, rule), trigger.award, cause))
    for name, trigger, award in moment.due:
        if name == rule.name and holds(trigger.where_user, occasion.attributes):
            entries.append(pay(rule, trigger, _points(state, rule), award, occasion))
    if moment.adjusted is not None and moment.adjusted[0] == rule.name:
        entries.append(_adjust(rule, _points(state, rule), moment.adjusted[1], occasion))
    return entries


def _take_back_lost(points: PointsState, rule: PointsRule, moment: Moment) -> list[Entry]:
    """Take back what was paid for lengths that are not reached after all, by whichever version."""
    entries = []
    for loss in moment.lost:
        for trigger_id, paid in points.paid.items():
            trigger = moment.rules.trigger(rule.name, trigger_id)
            if loss.rule.name == trigger.subject and loss.period in paid:
                cause = moment.occasion._replace(cause=f"{loss.period}")
                entries.append(take_back(rule, trigger, points, paid.pop(loss.period), cause))
    return entries


def _pay_streak(
    state: UserState, rule: PointsRule, trigger: TriggerRule, moment: Moment
) -> list[Entry]:
    """Pay multiples that a streak reached."""
    entries = []
    for gain in moment.gains:
        if (
            gain.rule.name == trigger.subject
            and gain.length % trigger.every == 0
            and holds(trigger.where_user, moment.occasion.attributes)
        ):
            points = _points(state, rule)
            cause = moment.occasion._replace(cause=f"{gain.period}")
            entry = pay(rule, trigger, points, trigger.award, cause)
            paid = points.paid.setdefault(trigger.id, {})
            settled = state.streaks[gain.rule.name].next
            for period in [old for old in paid if old < settled]:
                del paid[period]
            paid[gain.period] = entry.amount
            entries.append(entry)
    return entries


def _adjust(rule: PointsRule, points: PointsState, amount: Decimal, occasion: Occasion) -> Entry:
    points.balance += amount
    if points.reached_at is None or points.reached_at < occasion.at:
        points.reached_at = occasion.at
    return Entry(rule.name, ADJUSTMENT, 0, occasion.cause, amount, amount, (), ZERO, occasion.at)


def _forget_days(points: PointsState, moment: Moment) -> None:
    if len(points.earned) > 1:
        horizon = (moment.occasion.at - moment.rules.recent).date()
        for day in [old for old in points.earned if old < horizon]:
            del points.earned[day]


def _decide(state: UserState, entry: Entry, effects: Effects) -> None:
    assert state.as_of is not None
    at = state.as_of[0]
    state.decided = state.decided + 1 if state.decided_at == at else 0
    state.decided_at = at
    effects.entries.append(Decided(at, state.decided, entry))


def _achieve(state: UserState, rule: AchievementRule, moment: Moment, effects: Effects) -> None:
    if rule.key not in moment.met and not _reaches(state, rule, moment):
        return
    if not holds(rule.where_user, moment.occasion.attributes):
        return
    at = moment.occasion.at
    assert state.as_of is not None
    state.achievements[rule.key] = at
    moment.completed.add(rule.key)
    backdated = moment.rulebook.version < rule.since
    effects.completed.append(Completed(rule.key, rule.since, at, backdated, state.as_of[0]))
    if not backdated:
        body = {"achievement": rule.key}
        notice = Notice(NoticeKind.ACHIEVEMENT, rule.key, at, body, state.as_of[0])
        effects.put_notice(notice)


def _reaches(state: UserState, rule: AchievementRule, moment: Moment) -> bool:
    """Tell whether the moment brings what the achievement is about over its threshold."""
    kind = rule.kind
    if kind is _METRIC:
        return _counts(state, rule, moment)
    if kind is _STREAK:
        return any(
            gain.rule.name == rule.subject
            and crosses(rule, Decimal(gain.length - 1), Decimal(gain.length))
            for gain in moment.gains
        )
    if kind is _POINTS:
        moved = moment.moved.get(rule.subject)
        return moved is not None and crosses(rule, *moved)
    if kind is _ALL_OF:
        return not moment.completed.isdisjoint(rule.all_of) and _meets(state, rule)
    return False


def _counts(state: UserState, rule: AchievementRule, moment: Moment) -> bool:
    """Tell whether the event brings its metric over the threshold; count what only some match."""
    event = moment.event
    if event is None or event.metric != rule.subject:
        return False
    if not rule.where:
        before = moment.total_before
        reached = state.totals[event.metric].value
        return crosses(rule, before.value, reached) if before else reached >= rule.at
    if not holds(rule.where, event.attributes):
        return False
    counted = state.counters.get(rule.id, ZERO)
    state.counters[rule.id] = counted + event.value
    return crosses(rule, counted, counted + event.value)


def _score(
    state: UserState, rule: BoardRule, value: Decimal, moment: Moment, effects: Effects
) -> None:
    """Bring a value into the run that it belongs to."""
    if rule.follows_totals:
        effects.touched.add(rule.id)
        return
    assert state.as_of is not None
    run = run_at(rule.runs, moment.occasion.at, moment.occasion.local_date)
    runs = state.runs.get(rule.id)
    if runs is None:
        runs = state.runs[rule.id] = {}
    before = runs.get(run.name)
    after = add_value(rule, before, value, moment.occasion.at, run)
    if after is None:
        return
    if before is None:
        horizon = state.as_of[0] - moment.rules.recent
        for name in [
            name
            for name, old in runs.items()
            if old.closes_at is not None and old.closes_at < horizon
        ]:
            del runs[name]
    runs[run.name] = after
    if effects.scored is not None:
        at = moment.occasion.at
        effects.scored.append(Scored(rule.id, run.name, value, at, after.score))
    if run.closes_at is None:
        effects.touched.add(rule.id)
    else:
        effects.scores[ScoreKey(rule.id, run.name)] = DecidedScore(run, after, state.as_of[0])


def _tell_level(
    state: UserState,
    rule: PointsRule,
    before: Decimal,
    after: Decimal,
    moment: Moment,
    effects: Effects,
) -> None:
    if not rule.levels:
        return
    was, now = level_of(rule.levels, before), level_of(rule.levels, after)
    if now is None or (was is not None and now.number <= was.number):
        return
    assert state.as_of is not None
    at = moment.occasion.at
    # Which time it is, not when it was: an event that comes a little late often moves the instant,
    # and it would be told again.
    promoted = _points(state, rule).promoted
    promoted[now.key] = promoted.get(now.key, 0) + 1
    cause = f"{rule.name}:{now.key}:{promoted[now.key]}"
    body = {"points": rule.name, "level": now.key, "number": now.number}
    effects.put_notice(Notice(NoticeKind.LEVEL, cause, at, body, state.as_of[0]))


def _tell_milestone(state: UserState, gain: Gain, effects: Effects) -> None:
    if gain.length not in gain.rule.milestones:
        return
    assert state.as_of is not None
    effects.put_notice(
        Notice(
            NoticeKind.MILESTONE,
            _milestone(gain),
            gain.activation.at,
            {"streak": gain.rule.name, "length": gain.length, "period": f"{gain.period}"},
            state.as_of[0],
        )
    )


def _drop_milestone(loss: Loss, effects: Effects) -> None:
    if loss.length in loss.rule.milestones:
        effects.drop_notice(NoticeKind.MILESTONE, _milestone(loss))


def _milestone(reached: Gain | Loss) -> str:
    return f"{reached.rule.name}:{reached.period}:{reached.length}"
