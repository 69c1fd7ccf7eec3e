"""Derive what a user has from the facts, step by step (S37).

The user is folded from nothing, and every step that bears on the question is told: the events of a
metric, the periods of a streak, the entries of a ledger, what completed an achievement, the values
that made a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from models.folding import fold_ledger
from models.rulebooks import Rulebooks
from models.rules.achievements import AchievementKind, AchievementRule
from models.rules.boards import BoardRule
from models.rules.effects import Effects
from models.rules.facts import Event
from models.rules.fold import advance
from models.rules.levels import level_of
from models.rules.periods import period_key
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.rules.streaks import Life, StreakRule, walk
from models.rules.timelines import EVER
from models.statements import ledger as ledger_statements
from models.statements import users as user_statements
from models.statements.ledger import Ledger
from streakline.contract import nearest

SECTIONS = ("metric", "streak", "points", "achievement", "leaderboard")


class Unexplained(LookupError):
    """There is nothing of that name to explain; the message says what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A user, folded from nothing, with all that was decided on the way."""

    rules: Rules
    ledger: Ledger
    state: UserState
    effects: Effects
    now: datetime


def explain(
    engine: Engine, user_id: str, what: str, now: datetime, as_of: datetime | None = None
) -> dict[str, Any] | None:
    """Return the derivation of `what`, or None for a user never seen. Raises Unexplained.

    `what` is `points.xp`, `streak.daily`, `metric.lessons`, `achievement.scholar`, or
    `leaderboard.weekly`, of one run with a `/` and its name; the section may be left out where the
    name is in one alone.
    """
    until = as_of or now
    with engine.connect() as connection:
        rules = Rulebooks().current(connection)
        section, name, run = _read(rules, what)
        if user_id not in user_statements.read_users(connection, [user_id], rules.stamp).states:
            return None
        ledger = ledger_statements.read_after(connection, {user_id: EVER}, until)[user_id]
    effects = Effects(periods={}, scored=[])
    state = fold_ledger(ledger, rules, effects)
    advance(state, until, rules, effects)
    case = _Case(rules=rules, ledger=ledger, state=state, effects=effects, now=until)
    derived = _DERIVATIONS[section](case, name) if section != "leaderboard" else {}
    if section == "leaderboard":
        derived = _leaderboard(case, name, run)
    return {"user_id": user_id, "what": f"{section}.{name}", "as_of": until, **derived}


def _read(rules: Rules, what: str) -> tuple[str, str, str | None]:
    """Find what is asked for. Raises Unexplained."""
    path, _, run = what.partition("/")
    section, _, name = path.rpartition(".")
    section = {"metrics": "metric", "streaks": "streak"}.get(section, section.rstrip("s"))
    section = "points" if section == "point" else section
    names = _names(rules)
    wanted = [section] if section else list(SECTIONS)
    found = [one for one in wanted if name in names.get(one, ())]
    if len(found) == 1:
        return found[0], name, run or None
    if found:
        choices = " or ".join(f"{one}.{name}" for one in found)
        raise Unexplained(f"{name!r} is several things; say {choices}")
    known = [f"{one}.{other}" for one in SECTIONS for other in names[one]]
    raise Unexplained(f"there is no {what!r}{nearest(what, known)}; there are: {', '.join(known)}")


def _names(rules: Rules) -> Mapping[str, list[str]]:
    latest = rules.latest
    return {
        "metric": list(latest.metrics),
        "streak": list(latest.streaks),
        "points": list(latest.points),
        "achievement": list(dict.fromkeys(rule.key for rule in latest.achievements)),
        "leaderboard": [rule.name for rule in latest.boards],
    }


def _metric(case: _Case, name: str) -> dict[str, Any]:
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


def _events(case: _Case, metric: str) -> Iterator[Event]:
    for fact in case.ledger.facts:
        if isinstance(fact, Event) and fact.metric == metric:
            yield fact


def _streak(case: _Case, name: str) -> dict[str, Any]:
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
        "steps": steps,
    }


def _period(rule: StreakRule, step: Any, totals: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "period": step.period,
        "state": step.kind.value,
        "totals": {
            metric: one.value for metric, one in totals.items() if metric in rule.thresholds
        },
        "length": step.length,
        "freezes": step.freezes,
    }


def _points(case: _Case, name: str) -> dict[str, Any]:
    rule = case.rules.latest.points[name]
    steps = []
    balance: Any = 0
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
    points = case.state.points.get(name)
    level = level_of(rule.levels, points.balance) if points else None
    return {
        "value": points.balance if points else 0,
        "level": level.key if level else None,
        "steps": steps,
    }


def _achievement(case: _Case, name: str) -> dict[str, Any]:
    rules = [rule for rule in case.rules.latest.achievements if rule.key == name]
    rule = rules[-1]
    found = next((one for one in case.effects.completed if one.key == name), None)
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


def _towards(
    case: _Case, rule: AchievementRule, completed_at: datetime | None
) -> list[dict[str, Any]]:
    """Return the steps that led there: those of what the achievement is about, until it was met."""
    match rule.kind:
        case AchievementKind.METRIC:
            steps = _metric(case, rule.subject)["steps"]
        case AchievementKind.POINTS:
            steps = _points(case, rule.subject)["steps"]
        case AchievementKind.STREAK:
            steps = _streak(case, rule.subject)["steps"]
            return [step for step in steps if step["length"] <= rule.at]
        case AchievementKind.ALL_OF:
            return [
                {"achievement": key, "completed_at": case.state.achievements.get(key)}
                for key in rule.all_of
            ]
        case AchievementKind.ANNIVERSARY:
            return [{"signed_up_at": case.state.signed_up_at, "on": case.state.signed_up_on}]
        case AchievementKind.MANUAL:
            return []
    return [step for step in steps if completed_at is None or step["occurred_at"] <= completed_at]


def _leaderboard(case: _Case, name: str, run: str | None) -> dict[str, Any]:
    rule = next(rule for rule in case.rules.latest.boards if rule.name == name)
    if rule.follows_totals:
        derived = _DERIVATIONS[rule.kind.value](case, rule.subject)
        return {"run": "all", **_board(rule), **derived}
    assert case.effects.scored is not None
    scored = [one for one in case.effects.scored if one.board == rule.id]
    runs = list(dict.fromkeys(one.run for one in scored))
    wanted = run or (runs[-1] if runs else None)
    of_run = [one for one in scored if one.run == wanted]
    return {
        "run": wanted,
        "runs": runs,
        **_board(rule),
        "value": of_run[-1].score if of_run else None,
        "steps": [
            {"occurred_at": one.occurred_at, "value": one.value, "score": one.score}
            for one in of_run
        ],
    }


def _board(rule: BoardRule) -> dict[str, Any]:
    return {
        "ranked_by": f"{rule.kind.value}.{rule.subject}",
        "aggregate": rule.aggregate.value,
        "order": "asc" if rule.ascending else "desc",
    }


_DERIVATIONS: dict[str, Callable[[_Case, str], dict[str, Any]]] = {
    "metric": _metric,
    "streak": _streak,
    "points": _points,
    "achievement": _achievement,
}
