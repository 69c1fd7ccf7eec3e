"""Bring Redis to what Postgres holds: for the boards that a batch touched, or for all that wait.

Under a lock per board the scores are read as they are now and written as absolute values, so that
it does no harm to run this twice, late, or in another order. What has been written is forgotten in
the transaction that holds the lock; a crash before its end leaves it for the next run.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rules.rankings import Board
from models.statements import boards as statements

TOUCHES_PER_ROUND_MAX = 50
"""Batches that one transaction projects: at 500 users each, a tenth of a second or so."""


def project_rankings(
    engine: Engine, rankings: Rankings, board_ids: Iterable[int] | None = None
) -> int:
    """Project everything that waits on these boards, or on all; return how many batches that was.

    Raises what SQLAlchemy and redis-py raise; what was not projected then still waits.
    """
    with engine.connect() as connection:
        boards = {board.board_id: board for board in statements.read_boards(connection)}
        wanted = statements.read_touched_boards(connection) if board_ids is None else board_ids
        connection.rollback()
        return sum(
            _project_board(connection, rankings, boards[board_id]) for board_id in sorted(wanted)
        )


def _project_board(connection: Connection, rankings: Rankings, board: Board) -> int:
    projected = 0
    while True:
        with connection.begin():
            statements.lock_board(connection, board.board_id)
            touches = statements.read_touches(connection, board.board_id, TOUCHES_PER_ROUND_MAX)
            if touches:
                user_ids = sorted({user_id for touch in touches for user_id in touch.user_ids})
                scores = statements.read_scores(connection, board.board_id, user_ids)
                rankings.put(board, scores)
                rankings.remove(board, set(user_ids) - {score.user_id for score in scores})
                statements.cut_touches(connection, touches)
        projected += len(touches)
        if len(touches) < TOUCHES_PER_ROUND_MAX:
            return projected
