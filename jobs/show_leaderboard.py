"""Standings of a board, from the live rankings or from Postgres, which decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import build_rulebook, read_history
from models.rules.rankings import Board, Standing, rank
from models.rules.rulebook import BoardRule
from models.rules.scores import score_of
from models.statements import boards as statements
from models.statements import users as user_statements
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
        rulebook = build_rulebook(read_history(connection), statements.read_boards(connection))
        rule = _find(rulebook.boards, wanted)
        if source is Source.REDIS:
            return _from_redis(rankings, rule.board, wanted)
        return _from_postgres(connection, rule, wanted)


def _find(rules: Sequence[BoardRule], wanted: Wanted) -> BoardRule:
    names = sorted({rule.board.leaderboard for rule in rules})
    of_name = [rule for rule in rules if rule.board.leaderboard == wanted.leaderboard]
    if not of_name:
        raise NoSuchBoard(
            f"there is no leaderboard {wanted.leaderboard!r}{nearest(wanted.leaderboard, names)} "
            f"(there are: {', '.join(names) or 'none'})"
        )
    for rule in of_name:
        if wanted.run in {None, rule.board.run}:
            return rule
    runs = ", ".join(rule.board.run for rule in of_name)
    raise NoSuchBoard(f"{wanted.leaderboard} has no run {wanted.run!r} (there are: {runs})")


def _from_redis(rankings: Rankings, board: Board, wanted: Wanted) -> Page:
    if wanted.around is not None:
        standings = rankings.around(board, wanted.around, wanted.limit // 2)
    else:
        standings = rankings.page(board, offset=wanted.offset, limit=wanted.limit)
    return Page(board=board, participants=rankings.count(board), standings=standings)


def _from_postgres(connection: Connection, rule: BoardRule, wanted: Wanted) -> Page:
    """Rank everyone by the states that Postgres holds; a million users take a while."""
    everyone = user_statements.stream_states(connection)
    scores = {user_id: score_of(rule, state) for user_id, state in everyone}
    standings = rank(scores, ascending=rule.board.ascending)
    first = wanted.offset
    last = first + wanted.limit
    if wanted.around is not None:
        places = (place for place, one in enumerate(standings) if one.user_id == wanted.around)
        place = next(places, None)
        reach = wanted.limit // 2
        first, last = (0, 0) if place is None else (max(0, place - reach), place + reach + 1)
    return Page(board=rule.board, participants=len(standings), standings=standings[first:last])
