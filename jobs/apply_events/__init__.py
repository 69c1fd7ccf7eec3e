"""Apply a batch of events and of what is told about users: decide, fold, write what follows.

A transaction reads the states of all users of the batch, folds the events onto them in memory, and
writes them back, with one statement for each kind of row, whatever the number of events and users.
What a user's events cause is in the same transaction as the events: all of it is there, or nothing.
It may run twice with the same events, beside itself, and in any order: what was accepted once is a
duplicate from then on. A bad event is set aside with its reason and the good ones beside it apply.

An error here is the database's, or a bug of ours, and the caller tries again with the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from jobs.apply_events.accepting import accept_arrivals
from jobs.apply_events.decode import Batch, Item, Kind, Received, collect, decode, reject
from jobs.apply_events.news import collect_news
from models.folding import bring_up_to_date, renew_stale
from models.rulebooks import Rulebooks
from models.rules.acceptance import Accepted, Reason
from models.rules.rulebook import Rules
from models.statements import events as event_statements
from models.statements import users as user_statements
from models.statements.events import Outcome
from models.statements.users import Users

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of a batch: how many events had each outcome, and whether any board changed."""

    outcomes: Mapping[Outcome, int]
    touched: bool = False

    def joined(self, other: Applied) -> Applied:
        """Return what came of both."""
        outcomes = {
            outcome: self.outcomes[outcome] + other.outcomes[outcome] for outcome in Outcome
        }
        return Applied(outcomes=outcomes, touched=self.touched or other.touched)


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
        return applied.joined(_apply_locked(connection, rules, batch, users, now))


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
            applied = _apply_locked(connection, rules, free, users, now)
        if rest:
            with connection.begin():
                user_statements.add_missing_users(connection, rest, now, rules.stamp)
    return applied, [*left.arrivals, *left.told]


def _apply_locked(
    connection: Connection, rules: Rules, batch: Batch, users: Users, now: datetime
) -> Applied:
    """Apply what concerns users that this transaction has locked."""
    touched = renew_stale(connection, rules, users, now)
    accepted = accept_arrivals(connection, rules, batch.arrivals, users, now)
    news, dated = collect_news(connection, rules, accepted.new, batch.told, users, now)
    version = rules.latest.version
    if dated:
        event_statements.add_events(connection, dated, version)
    if news:
        touched |= bring_up_to_date(connection, rules, users, news, now)
    rejected = [*batch.rejected, *(reject(*refused) for refused in accepted.refused)]
    if rejected:
        event_statements.add_rejected(connection, rejected, version)
    outcomes = _count(accepted, batch)
    event_statements.count_outcomes(connection, outcomes)
    return Applied(outcomes=outcomes, touched=touched)


def _count(accepted: Accepted, batch: Batch) -> dict[Outcome, int]:
    conflicts = sum(refusal.reason is Reason.CONFLICT for _, refusal in accepted.refused)
    return {
        Outcome.APPLIED: len(accepted.new),
        Outcome.DUPLICATE: accepted.duplicates,
        Outcome.CONFLICT: conflicts,
        Outcome.REJECTED: len(batch.rejected) + len(accepted.refused) - conflicts,
    }
