"""Which boards a batch changes, and the scores on them that follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from models.rules.rankings import Scores
from models.rules.rulebook import Rulebook
from models.rules.scores import score_of
from models.statements import boards as statements
from models.statements.users import States


def touch_boards(
    connection: Connection,
    rulebook: Rulebook,
    states: States,
    *,
    metrics: Mapping[str, Collection[str]],
    points: Mapping[str, Collection[str]],
) -> bool:
    """Note the scores that changed for Redis to follow; tell whether there are any.

    `metrics` and `points` hold the users whose metric, or points of a system, changed, by name.
    """
    touched: dict[int, Scores] = {}
    for rule in rulebook.boards:
        user_ids = (
            metrics.get(rule.metric) if rule.metric is not None else points.get(str(rule.points))
        )
        if user_ids:
            touched[rule.board.board_id] = {
                user_id: score_of(rule, states[user_id]) for user_id in user_ids
            }
    if touched:
        statements.touch(connection, touched)
    return bool(touched)
