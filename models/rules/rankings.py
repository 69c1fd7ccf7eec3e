"""The order of a board: better score, then who reached it earlier, then user id (S44)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How a user's standing comes about.

    `better` have a better score; `earlier` have the same score and come first by the instant or by
    id. `ahead` are the nearest of them, best first.
    """

    own: Standing
    participants: int
    better: int
    earlier: int
    ahead: Sequence[Standing]


def rank(scores: Scores, *, ascending: bool) -> list[Standing]:
    """Return the standings of a whole board, best first; instants are cut to the second (S44)."""
    placed = sorted(
        _key(user_id, score, ascending) for user_id, score in scores.items() if score is not None
    )
    return [_standing(place, key, ascending) for place, key in enumerate(placed, start=1)]


def place(
    user_id: str,
    own: Score,
    others: Iterable[tuple[str, Score]],
    *,
    ascending: bool,
    neighbours: int,
) -> Place:
    """Return the place of one user among the others of a board, who come in any order."""
    mine = _key(user_id, own, ascending)
    better = earlier = participants = 0
    nearest: list[_Key] = []
    for other, score in others:
        if other == user_id:
            continue
        participants += 1
        key = _key(other, score, ascending)
        if key < mine:
            better += key[0] < mine[0]
            earlier += key[0] == mine[0]
            insort(nearest, key)
            del nearest[:-neighbours]
    rank = better + earlier + 1
    return Place(
        own=_standing(rank, mine, ascending),
        participants=participants + 1,
        better=better,
        earlier=earlier,
        ahead=[
            _standing(first, key, ascending)
            for first, key in enumerate(nearest, start=rank - len(nearest))
        ],
    )


_Key = tuple[Decimal, datetime, str]


def _key(user_id: str, score: Score, ascending: bool) -> _Key:
    """Return what users of a board are sorted by."""
    value = score.score if ascending else -score.score
    return (value, score.reached_at.replace(microsecond=0), user_id)


def _standing(rank: int, key: _Key, ascending: bool) -> Standing:
    score = key[0] if ascending else -key[0]
    return Standing(rank=rank, user_id=key[2], score=score, reached_at=key[1])
