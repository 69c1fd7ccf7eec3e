"""Bring Redis to what Postgres holds, wherever a batch touched a board.

One process projects at a time. It reads the users' states as they are now and writes absolute
scores, so that it does no harm to run this twice, late, or in another order. What has been written
is forgotten in the transaction that holds the lock; a crash before its end leaves it for the next
run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.rankings import score_of
from models.statements import boards as statements
from models.statements import users as user_statements
from models.statements.boards import Touch

TOUCHES_PER_ROUND_MAX = 50
"""Touches that one transaction projects: at 500 users each, a tenth of a second or so."""


def project_rankings(engine: Engine, rankings: Rankings, rulebooks: Rulebooks) -> int:
    """Project everything that waits; return how many touches that was.

    Where another process projects, this leaves the work to it: whoever holds the lock looks again
    after giving it back, and so finds what was committed meanwhile.

    Raises what SQLAlchemy and redis-py raise; what was not projected then still waits.
    """
    projected = 0
    with engine.connect() as connection:
        while True:
            with connection.begin():
                if not statements.count_touches(connection):
                    return projected
                if not statements.lock_projecting(connection):
                    return projected
                touches = statements.read_touches(connection, TOUCHES_PER_ROUND_MAX)
                _project(connection, rankings, rulebooks, touches)
                statements.cut_touches(connection, touches)
            projected += len(touches)


def _project(
    connection: Connection, rankings: Rankings, rulebooks: Rulebooks, touches: Sequence[Touch]
) -> None:
    user_ids: dict[int, set[str]] = defaultdict(set)
    for touch in touches:
        user_ids[touch.board_id].update(touch.user_ids)
    boards = {board.board_id: board for board in statements.read_boards(connection)}
    states = user_statements.read_states(connection, set().union(*user_ids.values()))
    # Boards of definitions that are not in force any more are not kept up.
    for rule in rulebooks.current(connection).boards:
        touched = user_ids.get(rule.board_id, set())
        scores = [
            score
            for user_id in touched
            if (score := score_of(rule, user_id, states[user_id])) is not None
        ]
        rankings.put(boards[rule.board_id], scores)
        rankings.remove(boards[rule.board_id], touched - {score.user_id for score in scores})
