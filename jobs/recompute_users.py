"""Fold users anew from nothing, over their whole ledger, and write what comes of it.

Whoever was folded under other definitions is due: there are new achievements, which are backdated
(S36), or this release folds otherwise. It is silent. Killed anywhere, it goes on where it was: each
transaction folds some users, and those are done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, Engine

from models.folding import renew_stale
from models.rulebooks import Rulebooks
from models.statements import users as statements

USERS_PER_TRANSACTION = 200


def recompute_users(
    engine: Engine, rulebooks: Rulebooks, user_ids: Iterable[str], now: datetime
) -> int:
    """Fold these users anew; return how many there were. Raises NoProgram."""
    remaining = iter(user_ids)
    done = 0
    while some := sorted(set(islice(remaining, USERS_PER_TRANSACTION))):
        with engine.begin() as connection:
            done += _recompute(connection, rulebooks, some, now)
    return done


def recompute_stale(
    engine: Engine,
    rulebooks: Rulebooks,
    now: datetime,
    *,
    users_max: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Fold anew whoever is due, at most so many; return how many that was. Raises NoProgram."""
    done = 0
    while users_max is None or done < users_max:
        with engine.begin() as connection:
            stamp = rulebooks.current(connection).stamp
            some = statements.read_stale_ids(connection, stamp, USERS_PER_TRANSACTION)
            if not some:
                return done
            done += _recompute(connection, rulebooks, some, now)
        progress(len(some))
    return done


def _recompute(
    connection: Connection, rulebooks: Rulebooks, user_ids: Sequence[str], now: datetime
) -> int:
    rules = rulebooks.current(connection)
    users = statements.lock_users(connection, user_ids, rules.stamp)
    users.stale.update(users.states)
    renew_stale(connection, rules, users, now)
    return len(users.states)
