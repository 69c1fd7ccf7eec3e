"""A user's state as of an instant, in the shape of the interface (S26).

It is right without any sweep: what time has caused up to the instant is done to a copy. As of an
instant in the past it is folded anew, from the facts that had occurred by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from models.folding import refold
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.calendar import local_date
from models.rules.effects import Completed, Effects
from models.rules.fold import advance
from models.rules.levels import level_of
from models.rules.periods import last_date, period_of, starts_at
from models.rules.rankings import ALL
from models.rules.rulebook import Rules
from models.rules.runs import RunPeriod, run_at
from models.rules.state import ZERO, UserState
from models.rules.streaks import Chain, Life, StreakRule, begin, read
from models.rules.timelines import LAST
from models.statements import decided as decided_statements
from models.statements import told as told_statements
from models.statements import users as user_statements


def show_user(
    engine: Engine,
    rankings: Rankings,
    user_id: str,
    now: datetime,
    as_of: datetime | None = None,
) -> dict[str, Any] | None:
    """Return the user's state, or None for one never seen (until then).

    Raises NoProgram, and LedgerClosed for an instant of which the events have left.
    """
    with engine.connect() as connection:
        rules = Rulebooks().current(connection)
        users = user_statements.read_users(connection, [user_id], rules.stamp)
        if user_id not in users.states:
            return None
        state, effects, since = users.states[user_id], Effects(), LAST
        if as_of is not None or user_id in users.stale:
            found = refold(connection, rules, {user_id: effects}, as_of or now)[user_id]
            state, since = found.state, found.since
            if state.as_of is None:
                return None
        chains = decided_statements.read_chains(connection, user_id, since)
        completed = decided_statements.read_achievements(connection, user_id, since)
        advance(state, as_of or now, rules, effects)
        for ended in effects.chains:
            chains.setdefault(ended.streak, []).append(ended.chain)
        fields = told_statements.read_fields(connection, user_id)
        return {
            "user_id": user_id,
            "tz": state.tz_at(as_of or now, rules.latest.tz),
            "tz_assumed": not state.told.zones,
            "suspended": state.suspended,
            "fields": fields,
            "metrics": {name: {"total": total.value} for name, total in state.totals.items()},
            "streaks": {
                name: _streak(rules, rule, state, chains.get(name, []), as_of or now)
                for name, rule in rules.latest.streaks.items()
            },
            "points": _points(rules, state),
            "achievements": _achievements([*completed, *effects.completed]),
            "leaderboards": _places(rules, rankings, state, user_id, now) if as_of is None else {},
        }


def _streak(
    rules: Rules, rule: StreakRule, state: UserState, ended: Sequence[Chain], now: datetime
) -> dict[str, Any]:
    tz = state.tz_at(now, rules.latest.tz)
    today = local_date(now, tz)
    period = period_of(today, rule.period)
    streak = state.streaks.get(rule.name) or begin(rule, today)
    found = read(rule, streak, Life(state.told.zones, rules.latest.tz, state.told.pauses), now)
    return {
        "length": found.length,
        "longest": found.longest,
        "started_on": found.started_on,
        "active": period in streak.activated,
        "period_start": period,
        "period_end": last_date(period, rule.period),
        "period_starts_at": starts_at(period, rule.period, tz),
        "expires_at": found.expires_at if found.length else None,
        "freezes": found.freezes,
        "history": [
            {"start": chain.started_on, "end": chain.ended_on, "length": chain.length}
            for chain in (*ended, *found.history)
        ],
    }


def _points(rules: Rules, state: UserState) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, rule in rules.latest.points.items():
        points = state.points.get(name)
        balance = points.balance if points else ZERO
        level = level_of(rule.levels, balance)
        shown[name] = {
            "total": balance,
            "level": {"key": level.key, "number": level.number} if level else None,
        }
    return shown


def _achievements(completed: Sequence[Completed]) -> list[Mapping[str, Any]]:
    return [
        {"key": one.key, "completed_at": one.completed_at, "backdated": one.backdated}
        for one in sorted(completed, key=lambda one: (one.completed_at, one.key))
    ]


def _places(
    rules: Rules, rankings: Rankings, state: UserState, user_id: str, now: datetime
) -> dict[str, Any]:
    """Return the user's places in the runs that are open: by own clock, the user's."""
    found: dict[str, Any] = {}
    for rule in rules.latest.boards:
        today = local_date(now, rule.runs.tz or state.tz_at(now, rules.latest.tz))
        run = ALL if rule.runs.period is RunPeriod.ALL else run_at(rule.runs, now, today).name
        board = rule.board(run)
        standing = rankings.standing(board, user_id)
        if standing is not None:
            found[rule.name] = {
                "run": run,
                "rank": standing.rank,
                "score": standing.score,
                "participants": rankings.count(board),
            }
    return found
