"""Which boards a batch changes, and whose places on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from models.rules.rulebook import Rulebook
from models.statements import boards as statements


def touch_boards(
    connection: Connection,
    rulebook: Rulebook,
    *,
    metrics: Mapping[str, Collection[str]],
    points: Mapping[str, Collection[str]],
) -> bool:
    """Note for Redis to follow whose scores changed; tell whether there are any.

    `metrics` and `points` hold the users whose metric, or points of a system, changed, by name.
    """
    touched: dict[int, Collection[str]] = {}
    for rule in rulebook.boards:
        user_ids = (
            metrics.get(rule.metric) if rule.metric is not None else points.get(str(rule.points))
        )
        if user_ids:
            touched[rule.board.board_id] = user_ids
    if touched:
        statements.touch(connection, touched)
    return bool(touched)
