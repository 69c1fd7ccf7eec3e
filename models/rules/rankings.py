"""The order of a board: better score, then who reached it earlier, then user id (S44)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from models.rules.points import TriggerKey, TriggerState
from models.rules.totals import Total

ALL = "all"
"""The run of a leaderboard that never resets, and the segment that everybody is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardName:
    """One run × one segment of a leaderboard, as of the definition that version `since` brought.

    `ascending` where the least score is the best.
    """

    leaderboard: str
    run: str
    segment: str
    since: int
    ascending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Board(BoardName):
    """A board that there is, with its number in Postgres."""

    board_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a user has on a board, and the instant at which that was reached."""

    user_id: str
    score: Decimal
    reached_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A user's place on a board; `rank` counts from 1, and no two users share one."""

    rank: int
    user_id: str
    score: Decimal
    reached_at: datetime


def score_by_metric(user_id: str, total: Total) -> Score | None:
    """Return what a metric's total is worth on a board; nothing while no event has moved it."""
    if total.reached_at is None:
        return None
    return Score(user_id=user_id, score=total.value, reached_at=total.reached_at)


def score_by_points(user_id: str, states: Mapping[TriggerKey, TriggerState]) -> Score | None:
    """Return what the triggers of one points system have earned; nothing before the first award."""
    reached = [state.reached_at for state in states.values() if state.reached_at is not None]
    if not reached:
        return None
    balance = sum((state.awarded for state in states.values()), start=Decimal(0))
    return Score(user_id=user_id, score=balance, reached_at=max(reached))
