"""Do what time alone causes: periods close, freezes are spent, chains end, memberships pay.

Whoever is due stands in Postgres with the instant. Users are taken in parts, those due longest
first, and brought to `now` by the same fold that events go through, step by step at the instants at
which things were due: after a week without a sweep the state is what it would be with one. Any
number of sweeps may run: what one holds the others pass over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from sqlalchemy import Engine

from models.folding import pass_time
from models.rulebooks import Rulebooks
from models.statements import users as statements

USERS_PER_TRANSACTION = 500


def sweep_streaks(
    engine: Engine,
    rulebooks: Rulebooks,
    now: datetime,
    *,
    touched: Callable[[], object] = lambda: None,
) -> Iterator[int]:
    """Bring whoever is due to `now`, and yield after each part how many those were.

    `touched` is called after each part that changed a board. Raises NoProgram.
    """
    while True:
        with engine.begin() as connection:
            rules = rulebooks.current(connection)
            users = statements.lock_due_users(connection, now, USERS_PER_TRANSACTION, rules.stamp)
            changed = bool(users.states) and pass_time(connection, rules, users, now)
        if changed:
            touched()
        yield len(users.states)
        if len(users.states) < USERS_PER_TRANSACTION:
            return
