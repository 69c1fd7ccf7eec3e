"""A user's state as of an instant, in the shape of the interface.

Streaks read right without any sweep: a chain whose deadline has passed reads 0 (S26).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from models.program import Program
from models.rankings import Rankings
from models.rulebooks import build_rulebook, read_history
from models.rules.calendar import day_start, local_date, next_day
from models.rules.levels import Level, level_of
from models.rules.points import balance_of
from models.rules.rulebook import Rulebook
from models.rules.state import UserState
from models.rules.streaks import Chain, LatestChain, is_active
from models.statements import boards as board_statements
from models.statements import chains as chain_statements
from models.statements import told as told_statements
from models.statements import users as user_statements


def show_user(
    engine: Engine, rankings: Rankings, user_id: str, now: datetime
) -> dict[str, Any] | None:
    """Return the user's state, or None for one never seen. Raises NoProgram."""
    with engine.connect() as connection:
        history = read_history(connection)
        rulebook = build_rulebook(history, board_statements.read_boards(connection))
        state = user_statements.read_state(connection, user_id)
        if state is None:
            return None
        program = history[-1].program
        return {
            "user_id": user_id,
            "tz": state.tz(rulebook.tz),
            "tz_assumed": not state.zones,
            "fields": told_statements.read_fields(connection, user_id),
            "metrics": _metrics(program, state),
            "streaks": _streaks(
                rulebook, state, chain_statements.read_history(connection, user_id), now
            ),
            "points": _points(program, state),
            "achievements": [],
            "leaderboards": _leaderboards(rulebook, rankings, user_id),
        }


def _metrics(program: Program, state: UserState) -> dict[str, Any]:
    return {
        name: {"total": state.totals[name].value}
        for name in program.metrics
        if name in state.totals
    }


def _streaks(
    rulebook: Rulebook, state: UserState, history: Mapping[str, Sequence[Chain]], now: datetime
) -> dict[str, Any]:
    tz = state.tz(rulebook.tz)
    today = local_date(now, tz)
    totals = state.day.totals if state.day and state.day.date == today else {}
    return {
        rule.name: {
            **_chain(state.streaks.get(rule.name), history.get(rule.name, []), now),
            "active": is_active(rule, totals),
            "period_start": today,
            "period_end": today,
            "period_ends_at": day_start(next_day(today, tz), tz),
            "freezes": 0,
        }
        for rule in rulebook.streaks
    }


def _chain(latest: LatestChain | None, before: Sequence[Chain], now: datetime) -> dict[str, Any]:
    chains = [*before, *([latest.chain] if latest else [])]
    alive = latest if latest and now < latest.deadline_at else None
    return {
        "length": alive.chain.length if alive else 0,
        "longest": max((chain.length for chain in chains), default=0),
        "started_on": alive.chain.started_on if alive else None,
        "expires_at": alive.deadline_at if alive else None,
        "history": [
            {"start": chain.started_on, "end": chain.ended_on, "length": chain.length}
            for chain in chains
        ],
    }


def _points(program: Program, state: UserState) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, system in program.points.items():
        balance = balance_of(state.points.get(name, {}).values())
        levels = [
            Level(key=level.key, number=number, at=level.at)
            for number, level in enumerate(system.levels, start=1)
        ]
        level = level_of(levels, balance)
        found[name] = {
            "total": balance,
            "level": {"key": level.key, "number": level.number} if level else None,
        }
    return found


def _leaderboards(rulebook: Rulebook, rankings: Rankings, user_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for board in (rule.board for rule in rulebook.boards):
        standing = rankings.standing(board, user_id)
        if standing is not None:
            found[board.leaderboard] = {
                "run": board.run,
                "rank": standing.rank,
                "score": standing.score,
                "participants": rankings.count(board),
            }
    return found
