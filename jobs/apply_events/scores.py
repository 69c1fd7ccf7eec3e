"""What a batch does to boards: writes the scores that changed and notes whose they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from models.rules.points import TriggerKey, TriggerState
from models.rules.rankings import Score, score_by_metric, score_by_points
from models.rules.rulebook import Rulebook
from models.rules.totals import Total, UserMetric
from models.statements import boards as statements


def apply_to_scores(
    connection: Connection,
    rulebook: Rulebook,
    totals: Mapping[UserMetric, Total],
    points: Mapping[tuple[str, str], Mapping[TriggerKey, TriggerState]],
) -> Sequence[int]:
    """Write the scores that follow from changed totals and points; return the boards touched.

    `points` holds, for each (user_id, points system) that changed, the states of its triggers.
    """
    found: dict[int, dict[str, Score | None]] = defaultdict(dict)
    for board in rulebook.boards:
        if board.metric is not None:
            for (user_id, metric), total in totals.items():
                if metric == board.metric:
                    found[board.board_id][user_id] = score_by_metric(user_id, total)
        else:
            for (user_id, system), states in points.items():
                if system == board.points:
                    found[board.board_id][user_id] = score_by_points(user_id, states)
    if not found:
        return ()
    scored = {
        board_id: [score for score in users.values() if score] for board_id, users in found.items()
    }
    unscored = [
        (board_id, user_id)
        for board_id, users in found.items()
        for user_id, score in users.items()
        if score is None
    ]
    statements.put_scores(connection, scored)
    if unscored:
        statements.cut_scores(connection, unscored)
    statements.touch(connection, {board_id: list(users) for board_id, users in found.items()})
    return tuple(found)
