"""What a user's state is worth on a board."""

from __future__ import annotations

from models.rules.points import balance_of
from models.rules.rankings import Score
from models.rules.rulebook import BoardRule
from models.rules.state import UserState


def score_of(rule: BoardRule, state: UserState) -> Score | None:
    """Return what the user has on a board; None while nothing has moved the score."""
    if rule.metric is not None:
        total = state.totals.get(rule.metric)
        if total is None or total.reached_at is None:
            return None
        return Score(total.value, total.reached_at)
    triggers = state.points.get(str(rule.points), {}).values()
    reached = [trigger.reached_at for trigger in triggers if trigger.reached_at is not None]
    if not reached:
        return None
    return Score(balance_of(triggers), max(reached))
