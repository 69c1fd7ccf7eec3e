"""Bring Redis to what Postgres holds, wherever a batch touched a board.

A batch leaves the scores that it changed in Postgres, in its own transaction and in an order that
is right for every user. Under a lock they are read in that order and the last of each user written
as an absolute value, so that it does no harm to run this twice, late, or after a crash. What has
been written is forgotten in the transaction that holds the lock.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.rankings import Score
from models.rules.rulebook import Rulebook
from models.rules.scores import score_of
from models.statements import boards as statements
from models.statements import users as user_statements
from models.statements.boards import Touch

TOUCHES_PER_ROUND_MAX = 50
"""Touches that one transaction projects: at 500 users each, a fifth of a second or so."""


def project_rankings(engine: Engine, rankings: Rankings, rulebooks: Rulebooks) -> int:
    """Project everything that was committed before the call; return how many touches that was.

    Raises what SQLAlchemy and redis-py raise; what was not projected then still waits.
    """
    projected = 0
    with engine.connect() as connection:
        while True:
            with connection.begin():
                statements.lock_projecting(connection)
                touches = statements.read_touches(connection, TOUCHES_PER_ROUND_MAX)
                if touches:
                    _project(connection, rulebooks.current(connection), rankings, touches)
                    statements.cut_touches(connection, touches)
            projected += len(touches)
            if len(touches) < TOUCHES_PER_ROUND_MAX:
                return projected


def _project(
    connection: Connection, rulebook: Rulebook, rankings: Rankings, touches: Sequence[Touch]
) -> None:
    states = user_statements.read_states(
        connection, {user_id for touch in touches for user_id in touch.user_ids}
    )
    # Boards of definitions that are not in force any more are not kept up.
    for rule in rulebook.boards:
        scores: dict[str, Score | None] = {}
        of_board = [touch for touch in touches if touch.board_id == rule.board.board_id]
        for touch in of_board:
            scores.update(touch.scores)
        # What is read now is at least as new as every touch that was read before.
        for touch in of_board:
            scores |= {user_id: score_of(rule, states[user_id]) for user_id in touch.user_ids}
        rankings.put(rule.board, scores)
