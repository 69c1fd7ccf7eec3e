"""A user's state as of an instant, in the shape of the interface.

Streaks read right without any sweep: a chain whose deadline has passed reads 0 (S26).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine

from models.program import Program
from models.rankings import Rankings
from models.rulebooks import boards_in_force, build_rulebook, read_history
from models.rules.calendar import day_start, local_date, next_day
from models.rules.levels import Level, level_of
from models.rules.rankings import Board
from models.rules.rulebook import Rulebook
from models.rules.streaks import Chain, is_active
from models.statements import boards as board_statements
from models.statements import metrics as metric_statements
from models.statements import points as point_statements
from models.statements import streaks as streak_statements
from models.statements import users as user_statements
from models.statements.streaks import Latest


def show_user(
    engine: Engine, rankings: Rankings, user_id: str, now: datetime
) -> dict[str, Any] | None:
    """Return the user's state, or None for one never seen. Raises NoProgram."""
    with engine.connect() as connection:
        history = read_history(connection)
        boards = board_statements.read_boards(connection)
        rulebook = build_rulebook(history, boards)
        if not user_statements.is_known(connection, user_id):
            return None
        zones = user_statements.read_zones(connection, [user_id]).get(user_id, [])
        tz = zones[-1].tz if zones else rulebook.tz
        program = history[-1].program
        return {
            "user_id": user_id,
            "tz": tz,
            "tz_assumed": not zones,
            "fields": user_statements.read_fields(connection, user_id),
            "metrics": _metrics(connection, program, user_id),
            "streaks": _streaks(connection, rulebook, user_id, tz, now),
            "points": _points(connection, program, user_id),
            "achievements": [],
            "leaderboards": _leaderboards(rankings, boards_in_force(history, boards), user_id),
        }


def _metrics(connection: Connection, program: Program, user_id: str) -> dict[str, Any]:
    totals = metric_statements.read_user_totals(connection, user_id)
    return {name: {"total": totals[name]} for name in program.metrics if name in totals}


def _streaks(
    connection: Connection, rulebook: Rulebook, user_id: str, tz: str, now: datetime
) -> dict[str, Any]:
    latest = streak_statements.read_latest(connection, [user_id])
    history = streak_statements.read_history(connection, user_id)
    today = local_date(now, tz)
    days = metric_statements.read_days(connection, [(user_id, today)])
    values = {metric: day.value for (_, _, metric), day in days.items()}
    return {
        rule.name: {
            **_chain(latest.get((user_id, rule.name)), history.get(rule.name, []), now),
            "active": is_active(rule, values),
            "period_start": today,
            "period_end": today,
            "period_ends_at": day_start(next_day(today, tz), tz),
            "freezes": 0,
        }
        for rule in rulebook.streaks
    }


def _chain(latest: Latest | None, before: Sequence[Chain], now: datetime) -> dict[str, Any]:
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


def _points(connection: Connection, program: Program, user_id: str) -> dict[str, Any]:
    balances = point_statements.read_balances(connection, user_id)
    found: dict[str, Any] = {}
    for name, system in program.points.items():
        balance = balances.get(name, Decimal(0))
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


def _leaderboards(rankings: Rankings, boards: Sequence[Board], user_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for board in boards:
        standing = rankings.standing(board, user_id)
        if standing is not None:
            found[board.leaderboard] = {
                "run": board.run,
                "rank": standing.rank,
                "score": standing.score,
                "participants": rankings.count(board),
            }
    return found
