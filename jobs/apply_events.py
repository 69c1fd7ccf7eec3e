"""Apply a batch of events and of what is told about users: decide, fold, write what follows.

A transaction reads the states of all users of the batch, folds the events onto them in memory, and
writes them back, with one statement for each kind of row, whatever the number of events and users.
What a user's events cause is in the same transaction as the events: all of it is there, or nothing.
It may run twice with the same events, beside itself, and in any order: what was accepted once is a
duplicate from then on. A bad event is set aside with its reason and the good ones beside it apply.

An error here is the database's, or a bug of ours, and the caller tries again with the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine

from models.applying import Applied, Item, Kind, Received, apply_locked, collect, decode
from models.rulebooks import Rulebooks
from models.statements import users as user_statements

__all__ = [
    "Applied",
    "Item",
    "Kind",
    "Received",
    "apply_all",
    "apply_events",
    "apply_free",
    "decode",
]


def apply_events(
    engine: Engine, rulebooks: Rulebooks, received: Sequence[Received], now: datetime
) -> Applied:
    """Apply a batch of any size. Raises NoProgram, and what SQLAlchemy raises."""
    return apply_all(engine, rulebooks, decode(received), now)


def apply_all(
    engine: Engine, rulebooks: Rulebooks, items: Sequence[Item], now: datetime
) -> Applied:
    """Apply items, and wait for the users whom another batch has locked. Raises as above."""
    applied, left = apply_free(engine, rulebooks, items, now)
    if not left:
        return applied
    batch = collect(left)
    with engine.begin() as connection:
        rules = rulebooks.current(connection)
        users = user_statements.lock_users(connection, batch.user_ids(), rules.stamp)
        return applied.joined(apply_locked(connection, rules, batch, users, now))


def apply_free(
    engine: Engine, rulebooks: Rulebooks, items: Sequence[Item], now: datetime
) -> tuple[Applied, Sequence[Item]]:
    """Apply what concerns users whom no other batch has locked; return what concerns the others.

    These, some in a hundred, would make this batch wait for the other's end with all of its own
    users, and so on in a row. Users never seen before are added, and left too: another batch may be
    adding them at this moment. Raises as above.
    """
    batch = collect(items)
    user_ids = batch.user_ids()
    with engine.connect() as connection:
        with connection.begin():
            rules = rulebooks.current(connection)
            users = user_statements.lock_free_users(connection, user_ids, rules.stamp)
            rest = user_ids - users.states.keys()
            left, free = batch.split(rest)
            applied = apply_locked(connection, rules, free, users, now)
        if rest:
            with connection.begin():
                user_statements.add_missing_users(connection, rest, now, rules.stamp)
    return applied, [*left.arrivals, *left.told]
