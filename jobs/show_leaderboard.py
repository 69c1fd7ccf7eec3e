"""Standings of a board, from the live rankings or from Postgres, which decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import NoProgram, boards_in_force, read_history
from models.rules.rankings import Board, Standing
from models.statements import boards as statements
from streakline.contract import nearest


class Source(Enum):
    """Where standings are read."""

    REDIS = "redis"
    POSTGRES = "postgres"


class NoSuchBoard(LookupError):
    """There is no such leaderboard, run or segment; the message names what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some standings of a board, in order, and how many users are on it."""

    board: Board
    participants: int
    standings: Sequence[Standing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which standings of which board: the first ones, or those around a user.

    `limit` is how many are returned at most; around a user, half of them on each side.
    """

    leaderboard: str
    run: str | None = None
    limit: int = 10
    offset: int = 0
    around: str | None = None


def show_leaderboard(engine: Engine, rankings: Rankings, wanted: Wanted, source: Source) -> Page:
    """Return a page of standings. Raises NoSuchBoard, NoProgram."""
    with engine.connect() as connection:
        board = _find(connection, wanted)
        if source is Source.REDIS:
            return _from_redis(rankings, board, wanted)
        return _from_postgres(connection, board, wanted)


def _find(connection: Connection, wanted: Wanted) -> Board:
    history = read_history(connection)
    if not history:
        raise NoProgram
    boards = boards_in_force(history, statements.read_boards(connection))
    names = sorted({board.leaderboard for board in boards})
    of_name = [board for board in boards if board.leaderboard == wanted.leaderboard]
    if not of_name:
        raise NoSuchBoard(
            f"there is no leaderboard {wanted.leaderboard!r}{nearest(wanted.leaderboard, names)} "
            f"(there are: {', '.join(names) or 'none'})"
        )
    for board in of_name:
        if wanted.run in {None, board.run}:
            return board
    runs = ", ".join(board.run for board in of_name)
    raise NoSuchBoard(f"{wanted.leaderboard} has no run {wanted.run!r} (there are: {runs})")


def _from_redis(rankings: Rankings, board: Board, wanted: Wanted) -> Page:
    if wanted.around is not None:
        standings = rankings.around(board, wanted.around, wanted.limit // 2)
    else:
        standings = rankings.page(board, offset=wanted.offset, limit=wanted.limit)
    return Page(board=board, participants=rankings.count(board), standings=standings)


def _from_postgres(connection: Connection, board: Board, wanted: Wanted) -> Page:
    offset, limit = wanted.offset, wanted.limit
    if wanted.around is not None:
        standing = statements.read_standing(connection, board.board_id, wanted.around)
        reach = wanted.limit // 2
        offset = max(0, standing.rank - 1 - reach) if standing else 0
        limit = standing.rank + reach - offset if standing else 0
    return Page(
        board=board,
        participants=statements.count_scores(connection, board.board_id),
        standings=statements.read_page(connection, board.board_id, offset=offset, limit=limit),
    )
