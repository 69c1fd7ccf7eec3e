"""See whether Redis still has the boards that it was given: some at random, each time others.

Where its memory was emptied any of them tells so. Boards that change are looked at anyway, by
whoever projects; while somebody does, nothing is looked at here.
"""

from __future__ import annotations

from sqlalchemy import Engine

from models.rankings import Rankings
from models.statements import boards as statements

BOARDS_AT_ONCE = 100


def watch_rankings(engine: Engine, rankings: Rankings) -> int:
    """Note which boards are lost; return how many those are. Raises what redis-py raises."""
    with engine.begin() as connection:
        # Who takes boards away holds this lock until that is committed.
        if statements.try_lock_projecting(connection):
            some = statements.pick_projected(connection, BOARDS_AT_ONCE)
            statements.mark_lost(connection, rankings.find_lost(some) if some else ())
        return statements.count_lost(connection)
