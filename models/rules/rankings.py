"""The order of a board: better score, then who reached it earlier, then user id (S44)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

ALL = "all"
"""The run of a leaderboard that never resets, and the segment that everybody is in."""


class Board(NamedTuple):
    """One run × one segment of a leaderboard, as of the definition that version `since` brought.

    `ascending` where the least score is the best.
    """

    leaderboard: str
    run: str
    segment: str
    since: int
    ascending: bool


class Score(NamedTuple):
    """What a user has on a board, and the instant at which that was reached."""

    score: Decimal
    reached_at: datetime


Scores = Mapping[str, Score | None]
"""What users have on a board, by user id; None for one who has no place there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A user's place on a board; `rank` counts from 1, and no two users share one."""

    rank: int
    user_id: str
    score: Decimal
    reached_at: datetime


def rank(scores: Scores, *, ascending: bool) -> list[Standing]:
    """Return the standings of a whole board, best first; instants are cut to the second (S44)."""
    placed = [
        (score.score if ascending else -score.score, score.reached_at.replace(microsecond=0), user)
        for user, score in scores.items()
        if score is not None
    ]
    return [
        Standing(
            rank=place,
            user_id=user_id,
            score=sort_score if ascending else -sort_score,
            reached_at=reached_at,
        )
        for place, (sort_score, reached_at, user_id) in enumerate(sorted(placed), start=1)
    ]
