"""Put a new version of the program into force."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from models.program import Program
from models.rulebooks import board_names, build_rulebook, read_history
from models.rules.rankings import Score, score_by_metric, score_by_points
from models.rules.rulebook import BoardRule
from models.statements import boards as board_statements
from models.statements import metrics as metric_statements
from models.statements import points as point_statements
from models.statements import programs as statements
from models.statements.programs import StoredProgram

USERS_MAX = 1000
"""Users whose scores are computed at a time when a board begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramApplied:
    """The version in force, and whether it is a new one."""

    version: int
    is_new: bool


def apply_program(engine: Engine, program: Program, toml: str, now: datetime) -> ProgramApplied:
    """Store the program as the next version, unless it means what the latest one means.

    Workers judge by it from their next batch on. A leaderboard that is new, or that changed, starts
    with what everyone's totals already are.
    """
    with engine.begin() as connection:
        statements.lock_programs(connection)
        stored = statements.read_programs(connection)
        latest = stored[-1].version if stored else 0
        if stored and stored[-1].canonical == program.canonical_json():
            return ProgramApplied(version=latest, is_new=False)
        statements.add_program(
            connection,
            StoredProgram(
                version=latest + 1,
                toml=toml,
                canonical=program.canonical_json(),
                applied_at=now,
            ),
        )
        _open_boards(connection)
    return ProgramApplied(version=latest + 1, is_new=True)


def _open_boards(connection: Connection) -> None:
    """Add the boards that the latest version wants, and give new ones their scores."""
    history = read_history(connection)
    there = {board.board_id for board in board_statements.read_boards(connection)}
    board_statements.add_boards(connection, board_names(history))
    rulebook = build_rulebook(history, board_statements.read_boards(connection))
    for rule in rulebook.boards:
        if rule.board_id not in there:
            for scores in _scores(connection, rule):
                board_statements.put_scores(connection, {rule.board_id: scores})
                user_ids = [score.user_id for score in scores]
                board_statements.touch(connection, {rule.board_id: user_ids})


def _scores(connection: Connection, rule: BoardRule) -> Iterator[list[Score]]:
    """Yield the scores of everyone on a board, some thousands at a time."""
    after = ""
    while True:
        found = _next_users(connection, rule, after)
        if not found:
            return
        after = max(found)
        scores = [score for score in found.values() if score is not None]
        if scores:
            yield scores


def _next_users(connection: Connection, rule: BoardRule, after: str) -> dict[str, Score | None]:
    if rule.metric is not None:
        totals = metric_statements.read_totals_after(connection, rule.metric, after, USERS_MAX)
        return {user_id: score_by_metric(user_id, total) for user_id, total in totals.items()}
    points = str(rule.points)
    states = point_statements.read_states_after(connection, points, after, USERS_MAX)
    return {user_id: score_by_points(user_id, found) for user_id, found in states.items()}
