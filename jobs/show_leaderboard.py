"""Standings of a board, from the live rankings or from Postgres, which decides (S47)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.boards import BoardRule
from models.rules.calendar import local_date
from models.rules.rankings import ALL, Board, Standing, rank
from models.rules.rulebook import Rules
from models.rules.runs import Phase, Run, RunPeriod, phase, run_at, run_named
from models.rules.segments import segment_name
from models.scores import read_board
from models.statements import boards as statements
from models.statements import standings as standing_statements
from models.statements.boards import StoredRun
from streakline.contract import nearest


class Source(Enum):
    """Where standings of a run that is not final are read; those of one that is have a record."""

    REDIS = "redis"
    POSTGRES = "postgres"


class NoSuchBoard(LookupError):
    """There is no such leaderboard, run or segment; the message names what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some standings of a board, in order, and how many users are on it."""

    board: Board
    phase: Phase
    segment: Mapping[str, str]
    participants: int
    standings: Sequence[Standing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which standings of which board: the first ones, those around a user, or those of some users.

    `limit` is how many are returned at most; around a user, half of them on each side. Without a
    `run` it is the one that is open.
    """

    leaderboard: str
    run: str | None = None
    segment: Mapping[str, str] = field(default_factory=dict)
    limit: int = 10
    offset: int = 0
    around: str | None = None
    users: Sequence[str] = ()


def show_leaderboard(
    engine: Engine, rankings: Rankings, wanted: Wanted, source: Source, now: datetime
) -> Page:
    """Return a page of standings. Raises NoSuchBoard, NoProgram."""
    with engine.connect() as connection:
        rules = Rulebooks().current(connection)
        rule = find_leaderboard(rules, wanted.leaderboard)
        run = _find_run(rule, wanted.run, now)
        board = rule.board(run.name, _find_segment(rule, wanted.segment))
        final = standing_statements.find_final(connection, (rule.name, rule.since, run.name))
        if final is not None:
            participants = standing_statements.count_final(connection, final.run_id, board.segment)
            standings = _from_record(connection, final.run_id, rule, board, wanted)
        elif source is Source.REDIS:
            participants = rankings.count(board)
            standings = _from_redis(rankings, rule, board, wanted)
        else:
            everyone = _rank(connection, rules, rule, board)
            participants = len(everyone)
            standings = _select(everyone, rule, wanted)
    return Page(
        board=board,
        phase=_phase(run, final, now),
        segment=wanted.segment,
        participants=participants,
        standings=standings,
    )


def list_runs(engine: Engine, leaderboard: str, now: datetime) -> list[dict[str, Any]]:
    """Return the opened runs of a leaderboard, oldest first. Raises NoSuchBoard, NoProgram."""
    with engine.connect() as connection:
        rule = find_leaderboard(Rulebooks().current(connection), leaderboard)
        if rule.runs.period is RunPeriod.ALL:
            return [_shape(ALL, Phase.OPEN)]
        return [
            _shape(found.run, _phase(run_named(rule.runs, found.run), found, now), found)
            for found in statements.list_runs(connection, rule.name, rule.since)
        ]


def _shape(run: str, status: Phase, stored: StoredRun | None = None) -> dict[str, Any]:
    return {
        "run": run,
        "status": status.value,
        "opens_at": stored.opens_at if stored else None,
        "closes_at": stored.closes_at if stored else None,
        "final_at": stored.final_at if stored else None,
        "finalized_at": stored.finalized_at if stored else None,
    }


def list_late(engine: Engine, leaderboard: str, run: str, limit: int) -> list[dict[str, Any]]:
    """Return whose score in a run is another than in its record. Raises NoSuchBoard, NoProgram."""
    with engine.connect() as connection:
        rule = find_leaderboard(Rulebooks().current(connection), leaderboard)
        found = standing_statements.find_final(connection, (rule.name, rule.since, run))
        if found is None:
            raise NoSuchBoard(f"{leaderboard} has no run {run!r} that is final")
        return standing_statements.list_late(connection, found.run_id, limit)


def percentile(place: int, participants: int) -> float:
    """Return how many of a hundred others are ranked behind: 100 for the first."""
    if participants <= 1:
        return 100.0
    return round(100 * (participants - place) / (participants - 1), 2)


def find_leaderboard(rules: Rules, name: str) -> BoardRule:
    """Return a leaderboard of the program in force. Raises NoSuchBoard."""
    names = sorted(rule.name for rule in rules.latest.boards)
    for rule in rules.latest.boards:
        if rule.name == name:
            return rule
    raise NoSuchBoard(
        f"there is no leaderboard {name!r}{nearest(name, names)} "
        f"(there are: {', '.join(names) or 'none'})"
    )


def current_run(rule: BoardRule, now: datetime) -> Run:
    """Return the run that is open; by users' own clocks, that of the date in UTC."""
    return run_at(rule.runs, now, local_date(now, rule.runs.tz or "UTC"))


def _phase(run: Run, stored: StoredRun | None, now: datetime) -> Phase:
    """Return how far a run is: it is final once its record is written."""
    if stored is not None and stored.finalized_at is not None:
        return Phase.FINAL
    by_time = phase(run, now)
    return Phase.CLOSING if by_time is Phase.FINAL else by_time


def _find_run(rule: BoardRule, name: str | None, now: datetime) -> Run:
    if name is None:
        return current_run(rule, now)
    try:
        return run_named(rule.runs, name)
    except ValueError as error:
        raise NoSuchBoard(f"{rule.name} has no run {name!r}: {error}") from None


def _find_segment(rule: BoardRule, values: Mapping[str, str]) -> str:
    if not values:
        return ALL
    if set(values) != set(rule.segment_by):
        by = ", ".join(rule.segment_by) or "nothing"
        raise NoSuchBoard(
            f"{rule.name} is segmented by {by}; name a value for each, "
            f"not for {', '.join(sorted(values))}"
        )
    return segment_name(values)


def _from_redis(
    rankings: Rankings, rule: BoardRule, board: Board, wanted: Wanted
) -> Sequence[Standing]:
    if wanted.users:
        found = [rankings.standing(board, user_id) for user_id in dict.fromkeys(wanted.users)]
        return sorted((one for one in found if one is not None), key=lambda one: one.rank)
    if wanted.around is not None:
        return rankings.around(board, wanted.around, wanted.limit // 2)
    return rankings.page(board, offset=wanted.offset, limit=_listed(rule, wanted))


def _from_record(
    connection: Connection, run_id: int, rule: BoardRule, board: Board, wanted: Wanted
) -> Sequence[Standing]:
    """Return standings of a final run."""
    of_board = (connection, run_id, board.segment)
    if wanted.users:
        return standing_statements.find_standings(*of_board, wanted.users)
    if wanted.around is None:
        last = wanted.offset + max(0, _listed(rule, wanted))
        return standing_statements.read_final(*of_board, wanted.offset + 1, last)
    reach = wanted.limit // 2
    found = standing_statements.find_standings(*of_board, [wanted.around])
    return [
        neighbour
        for one in found
        for neighbour in standing_statements.read_final(
            *of_board, one.rank - reach, one.rank + reach
        )
    ]


def _listed(rule: BoardRule, wanted: Wanted) -> int:
    """Return how many may be listed from the offset on (S46)."""
    return wanted.limit if rule.size is None else min(wanted.limit, rule.size - wanted.offset)


def _select(everyone: Sequence[Standing], rule: BoardRule, wanted: Wanted) -> Sequence[Standing]:
    if wanted.users:
        asked = set(wanted.users)
        return [one for one in everyone if one.user_id in asked]
    if wanted.around is None:
        return everyone[wanted.offset : wanted.offset + max(0, _listed(rule, wanted))]
    places = (place for place, one in enumerate(everyone) if one.user_id == wanted.around)
    place = next(places, None)
    reach = wanted.limit // 2
    return [] if place is None else everyone[max(0, place - reach) : place + reach + 1]


def _rank(connection: Connection, rules: Rules, rule: BoardRule, board: Board) -> list[Standing]:
    """Rank everyone by what Postgres holds; a million users take a while."""
    scores = dict(read_board(connection, rules, rule, board))
    return rank(scores, ascending=board.ascending)
