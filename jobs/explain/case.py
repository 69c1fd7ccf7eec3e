"""A user, folded anew, with all that was decided on the way and what operators did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from models.folding import refold
from models.rules.effects import Completed, Effects
from models.rules.fold import advance
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.statements import decided as decided_statements
from models.statements import ledger as ledger_statements
from models.statements import users as user_statements
from models.statements.ledger import FactKind, Ledger, StoredFact
from models.statements.users import decode_state

Step = dict[str, Any]
"""One step of a derivation; steps that an operator made have other keys than the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that is known of a user as of `now`; `orders` are the facts that operators made.

    Steps begin after `since`, where events of before have left the ledger: `opening` is the state
    then. Without, it is EVER, and the opening is an empty state.
    """

    user_id: str
    rules: Rules
    ledger: Ledger
    orders: Sequence[StoredFact]
    state: UserState
    effects: Effects
    completed: Sequence[Completed]
    since: datetime
    opening: UserState
    now: datetime


def open_case(connection: Connection, rules: Rules, user_id: str, until: datetime) -> Case | None:
    """Fold a user anew up to an instant; None for one who was never seen. Raises LedgerClosed."""
    if user_id not in user_statements.read_users(connection, [user_id], rules.stamp).states:
        return None
    found = refold(connection, rules, {user_id: Effects(periods={}, scored=[])}, until)[user_id]
    advance(found.state, until, rules, found.effects)
    before = decided_statements.read_achievements(connection, user_id, found.since)
    return Case(
        user_id=user_id,
        rules=rules,
        ledger=found.ledger,
        orders=ledger_statements.read_orders(connection, user_id, until),
        state=found.state,
        effects=found.effects,
        completed=[*before, *found.effects.completed],
        since=found.since,
        opening=UserState() if found.opening is None else decode_state(found.opening.state),
        now=until,
    )


def order_steps(case: Case, *kinds: FactKind, **body: str) -> list[Step]:
    """Return the steps that operators made: facts of some kinds about what `body` names.

    What names nothing there is about everything.
    """
    return [
        _order_step(case, order)
        for order in case.orders
        if order.kind in kinds and all(order.body.get(key) in (None, body[key]) for key in body)
    ]


def _order_step(case: Case, order: StoredFact) -> Step:
    step = {"given_at": order.recorded_at, "order": str(order.kind), **order.body}
    if "resets" in step:
        taken_back = step["resets"]
        step["resets"] = [one.recorded_at for one in case.orders if one.fact_id in taken_back]
        if step["first"] > step["last"]:
            del step["first"], step["last"]  # it only takes back, and pauses no date
    return step | {"actor": order.actor, "reason": order.reason}
