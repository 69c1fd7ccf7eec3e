"""Compute anew what is due for everyone where the time zones have changed (S8).

Deadlines that lie ahead are stored, and a new tzdata may move them. Periods that have closed stay
closed, and dates of events stay what they were. Killed anywhere, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine

from models.folding import pass_time
from models.rulebooks import Rulebooks
from models.statements import calendars
from models.statements import users as statements

USERS_PER_TRANSACTION = 500


def follow_calendar(
    engine: Engine, rulebooks: Rulebooks, version: str, now: datetime
) -> Iterator[int]:
    """Bring users to a version of tzdata, and yield after each part how many those were.

    Nothing is yielded where all are, or while somebody else is at it. Raises NoProgram.
    """
    while True:
        with engine.begin() as connection:
            done_until = calendars.lock_calendar(connection, version)
            if done_until is None:
                return
            rules = rulebooks.current(connection)
            ids = statements.read_next_ids(connection, done_until, USERS_PER_TRANSACTION)
            if ids:
                users = statements.lock_users(connection, ids, rules.stamp)
                pass_time(connection, rules, users, now, new_calendar=True)
            finished = len(ids) < USERS_PER_TRANSACTION
            until = ids[-1] if ids else done_until
            calendars.put_calendar(connection, version, until, now if finished else None)
        if ids:
            yield len(ids)
