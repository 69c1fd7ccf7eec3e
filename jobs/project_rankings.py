"""Bring Redis to what Postgres holds, wherever a batch touched a board.

A batch leaves the scores that it changed in Postgres, in its own transaction and in an order that
is right for every user. Under a lock they are read in that order and the last of each user written
as an absolute value, so that it does no harm to run this twice, late, or after a crash. What has
been written is forgotten in the transaction that holds the lock.

A board that Redis was given once and has no more was lost: what changes on it is not written, for a
reader would take the few who have changed for all. It is noted, and made anew by a backfill. While
boards are made anew, what changes is written there as well (S74).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.boards import scores_of_all_time
from models.rules.rankings import ALL, Board, Score
from models.rules.rulebook import Rules
from models.statements import boards as statements
from models.statements import users as user_statements
from models.statements.boards import Touch

TOUCHES_PER_ROUND_MAX = 12
"""Touches that one transaction projects, at some thousand scores each: they are held in memory."""


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
    connection: Connection, rules: Rules, rankings: Rankings, touches: Sequence[Touch]
) -> None:
    # Boards of definitions that are not in force any more are not kept up.
    in_force = {(rule.name, rule.since) for rule in rules.latest.boards}
    scores: dict[Board, dict[str, Score | None]] = {}
    for touch in touches:
        for board, found in touch.scores.items():
            if (board.leaderboard, board.since) in in_force:
                scores.setdefault(board, {}).update(found)
    names = {(board.leaderboard, board.since, board.run) for board in scores if board.run != ALL}
    final = statements.find_finalized(connection, names) if names else set()
    for board in [one for one in scores if (one.leaderboard, one.since, one.run) in final]:
        del scores[board]  # what is read of it is the record
    # What is read now is at least as new as every touch that was read before.
    user_ids = {user_id for touch in touches for user_id in touch.user_ids}
    if user_ids:
        for user_id, state in user_statements.read_scored(connection, user_ids, rules.stamp):
            for board, score in scores_of_all_time(rules.latest.boards, state):
                scores.setdefault(board, {})[user_id] = score
    _put(connection, rankings, scores)


def _put(
    connection: Connection, rankings: Rankings, scores: Mapping[Board, dict[str, Score | None]]
) -> None:
    if not scores:
        return
    known = statements.find_projected(connection, scores)
    lost = rankings.put_all(scores, expected=known)
    statements.mark_lost(connection, lost)
    rebuild = statements.read_rebuild(connection)
    made = [] if rebuild is None else [board for board in scores if rebuild.covers(board)]
    statements.add_projected(connection, scores.keys() - known.keys() - set(made), None)
    if rebuild is not None:
        begun = [board for board in made if known.get(board) == rebuild.build]
        anew = {board: scores[board] for board in made}
        # One that is lost there is found to be so when it is to be put into place.
        rankings.put_all(anew, expected=begun, build=rebuild.build)
        statements.add_projected(connection, set(made) - set(begun), rebuild.build)
