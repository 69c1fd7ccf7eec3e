"""Bring Redis to what Postgres holds, wherever a batch touched a board.

Under a lock the users' states are read as they are now and their scores written as absolute values,
so that it does no harm to run this twice, late, or in another order. What has been written is
forgotten in the transaction that holds the lock; a crash before its end leaves it for the next run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import Rulebooks
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
    user_ids: dict[int, set[str]] = defaultdict(set)
    for touch in touches:
        user_ids[touch.board_id].update(touch.user_ids)
    states = user_statements.read_states(connection, set().union(*user_ids.values()))
    # Boards of definitions that are not in force any more are not kept up.
    for rule in rulebook.boards:
        touched = user_ids.get(rule.board.board_id, set())
        found = (score_of(rule, user_id, states[user_id]) for user_id in touched)
        scores = [score for score in found if score is not None]
        rankings.put(rule.board, scores)
        if len(scores) < len(touched):
            rankings.remove(rule.board, touched - {score.user_id for score in scores})
