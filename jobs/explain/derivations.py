"""How a metric, a streak, a balance and an achievement come about, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from operator import itemgetter
from typing import Any

from jobs.explain.case import Case, Step, order_steps
from models.rules.achievements import AchievementKind, AchievementRule
from models.rules.calendar import local_date
from models.rules.facts import Event
from models.rules.levels import level_of
from models.rules.periods import period_key, period_of
from models.rules.streaks import Life, StreakRule, walk
from models.statements.ledger import FactKind


def _metric(case: Case, name: str) -> dict[str, Any]:
    total = case.state.totals.get(name)
    return {
        "value": total.value if total else 0,
        "aggregate": case.rules.latest.metrics[name].aggregate.value,
        "steps": [
            {
                "occurred_at": event.at,
                "local_date": event.local_date,
                "key": event.key,
                "value": event.value,
            }
            for event in _events(case, name)
        ],
    }


def _events(case: Case, metric: str) -> Iterator[Event]:
    for fact in case.ledger.facts:
        if isinstance(fact, Event) and fact.metric == metric:
            yield fact


def _streak(case: Case, name: str) -> dict[str, Any]:
    rule = case.rules.latest.streaks[name]
    assert case.effects.periods is not None
    steps = [_period(rule, step, totals) for step, totals in case.effects.periods.get(name, [])]
    streak = case.state.streaks.get(name)
    if streak is not None:
        life = Life(case.state.told.zones, case.rules.latest.tz, case.state.told.pauses)
        totals = case.state.periods.get(period_key(rule.period), {})
        for step in walk(rule, streak, life, case.now).steps:
            steps.append(_period(rule, step, totals.get(step.period, {})))
    return {
        "value": steps[-1]["length"] if steps else 0,
        "needs": {"mode": rule.mode.value, "metrics": dict(rule.thresholds)},
        "steps": _with_orders(case, rule, steps),
    }


def _with_orders(case: Case, rule: StreakRule, steps: list[Step]) -> list[Step]:
    """Put what operators did before the first period that it concerns."""
    orders = order_steps(case, FactKind.GRANT, FactKind.RESET, FactKind.PAUSE, streak=rule.name)
    orders += [one for one in order_steps(case, FactKind.TOLD) if "tz" in one]
    dated = [(period_of(_date(case, one), rule.period), 0, one) for one in orders]
    dated += [(step["period"], 1, step) for step in steps]
    return [step for _, _, step in sorted(dated, key=itemgetter(0, 1))]


def _date(case: Case, order: Step) -> date:
    """Return the local date that an order concerns first: of a pause, the first of its dates."""
    if "first" in order:
        return date.fromisoformat(order["first"])
    given_at: datetime = order["given_at"]
    return local_date(given_at, case.state.tz_at(given_at, case.rules.latest.tz))


def _period(rule: StreakRule, step: Any, totals: Mapping[str, Any]) -> Step:
    return {
        "period": step.period,
        "state": step.kind.value,
        "totals": {
            metric: one.value for metric, one in totals.items() if metric in rule.thresholds
        },
        "length": step.length,
        "freezes": step.freezes,
    }


def _points(case: Case, name: str) -> dict[str, Any]:
    rule = case.rules.latest.points[name]
    steps = []
    opened = case.opening.points.get(name)
    balance: Any = opened.balance if opened else 0
    adjusted = {one.fact_id: one for one in case.orders if one.kind == FactKind.ADJUSTMENT}
    for one in case.effects.entries:
        entry = one.entry
        if entry.points != name:
            continue
        balance += entry.amount
        steps.append(
            {
                "occurred_at": entry.occurred_at,
                "trigger": entry.trigger,
                "cause": entry.cause,
                "base": entry.base,
                "boosts": list(entry.boosts),
                "clipped": entry.clipped,
                "amount": entry.amount,
                "balance": balance,
            }
        )
        order = adjusted.get(entry.cause)
        if order is not None:
            steps[-1] |= {"actor": order.actor, "reason": order.reason}
    points = case.state.points.get(name)
    level = level_of(rule.levels, points.balance) if points else None
    return {
        "value": points.balance if points else 0,
        "level": level.key if level else None,
        "steps": steps,
    }


def _achievement(case: Case, name: str) -> dict[str, Any]:
    rules = [rule for rule in case.rules.latest.achievements if rule.key == name]
    rule = rules[-1]
    found = next((one for one in case.completed if one.key == name), None)
    return {
        "value": found is not None,
        "completed_at": found.completed_at if found else None,
        "backdated": found.backdated if found else False,
        "needs": _needs(rule),
        "steps": _towards(case, rule, found.completed_at if found else None),
    }


def _needs(rule: AchievementRule) -> dict[str, Any]:
    needs: dict[str, Any] = {"on": rule.kind.value}
    if rule.kind is AchievementKind.ALL_OF:
        needs["all"] = list(rule.all_of)
    elif rule.kind is not AchievementKind.MANUAL:
        needs |= {"of": rule.subject, "at": rule.at} if rule.subject else {"years": rule.at}
    where = {"event": dict(rule.where), "user": dict(rule.where_user)}
    return needs | {"where": {key: value for key, value in where.items() if value}}


def _towards(case: Case, rule: AchievementRule, completed_at: datetime | None) -> list[Step]:
    """Return the steps that led there: those of what the achievement is about, until it was met."""
    match rule.kind:
        case AchievementKind.METRIC:
            steps = _metric(case, rule.subject)["steps"]
        case AchievementKind.POINTS:
            steps = _points(case, rule.subject)["steps"]
        case AchievementKind.STREAK:
            steps = _streak(case, rule.subject)["steps"]
            return [step for step in steps if step.get("length", 0) <= rule.at]
        case AchievementKind.ALL_OF:
            return [
                {"achievement": key, "completed_at": case.state.achievements.get(key)}
                for key in rule.all_of
            ]
        case AchievementKind.ANNIVERSARY:
            return [{"signed_up_at": case.state.signed_up_at, "on": case.state.signed_up_on}]
        case AchievementKind.MANUAL:
            return order_steps(case, FactKind.COMPLETION, achievement=rule.key)
    return [step for step in steps if completed_at is None or step["occurred_at"] <= completed_at]


DERIVATIONS: dict[str, Callable[[Case, str], dict[str, Any]]] = {
    "metric": _metric,
    "streak": _streak,
    "points": _points,
    "achievement": _achievement,
}
