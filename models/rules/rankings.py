"""The order of a board: better score, then who reached it earlier, then user id (S44)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

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


def rank(scores: Iterable[Score], *, ascending: bool) -> list[Standing]:
    """Return the standings of a whole board, best first; instants are cut to the second (S44)."""

    def order(score: Score) -> tuple[Decimal, datetime, str]:
        better = score.score if ascending else -score.score
        return (better, score.reached_at.replace(microsecond=0), score.user_id)

    return [
        Standing(
            rank=place,
            user_id=score.user_id,
            score=score.score,
            reached_at=score.reached_at.replace(microsecond=0),
        )
        for place, score in enumerate(sorted(scores, key=order), start=1)
    ]
