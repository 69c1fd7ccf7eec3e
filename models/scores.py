"""Everyone's scores on a board, as Postgres holds them: states of all time, and scores of runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sqlalchemy import Connection

from models.rules.boards import BoardRule, scores_of_all_time
from models.rules.rankings import Board, Score
from models.rules.rulebook import Rules
from models.rules.runs import RunPeriod
from models.statements import boards as board_statements
from models.statements import users as user_statements

USERS_AT_ONCE = 5_000


def read_board(
    connection: Connection, rules: Rules, rule: BoardRule, board: Board
) -> Iterator[tuple[str, Score]]:
    """Yield everyone's score on a board, as Postgres holds it, in no order."""
    if rule.runs.period is RunPeriod.ALL:
        for user_id, state in user_statements.stream_scored(connection, rules.stamp):
            score = dict(scores_of_all_time((rule,), state)).get(board)
            if score is not None:
                yield user_id, score
        return
    scores = board_statements.read_scores(connection, (rule.name, rule.since, board.run))
    while some := dict(islice(scores, USERS_AT_ONCE)):
        for user_id, state in user_statements.read_scored(connection, some, rules.stamp):
            if board.segment in rule.segments(state.told.now(), state.suspended):
                yield user_id, some[user_id]
