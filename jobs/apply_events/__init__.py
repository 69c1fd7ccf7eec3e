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
from jobs.apply_events.decode import Decoded, Kind, Received, decode, reject
from jobs.apply_events.news import collect_news
from models.folding import bring_up_to_date, renew_stale
from models.rulebooks import Rulebooks
from models.rules.acceptance import Accepted, Reason
from models.rules.rulebook import Rules
from models.statements import events as event_statements
from models.statements import users as user_statements
from models.statements.events import Outcome
from models.statements.users import Users

__all__ = ["Applied", "Kind", "Received", "apply_events"]


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
    """Apply a batch of any size. Raises NoProgram, and what SQLAlchemy raises.

    Users whom another batch has locked, one in a hundred or so, would make this one wait for the
    other's end with all of its users, and so on in a row. They are left for a second transaction,
    and so are users never seen before: another batch may be adding them, too.
    """
    decoded = decode(received)
    user_ids = decoded.user_ids()
    with engine.connect() as connection:
        with connection.begin():
            rules = rulebooks.current(connection)
            users = user_statements.lock_free_users(connection, user_ids, rules.stamp)
            left = user_ids - users.states.keys()
            rest, now_possible = decoded.split(left)
            applied = _apply_part(connection, rules, now_possible, users, now)
        if not left:
            return applied
        with connection.begin():
            user_statements.add_missing_users(connection, left, now, rules.stamp)
        with connection.begin():
            rules = rulebooks.current(connection)
            users = user_statements.lock_users(connection, left, rules.stamp)
            return applied.joined(_apply_part(connection, rules, rest, users, now))


def _apply_part(
    connection: Connection, rules: Rules, decoded: Decoded, users: Users, now: datetime
) -> Applied:
    """Apply what concerns users that this transaction has locked."""
    touched = renew_stale(connection, rules, users, now)
    accepted = accept_arrivals(connection, rules, decoded, users, now)
    news, dated = collect_news(connection, rules, accepted.new, decoded.told, users, now)
    version = rules.latest.version
    if dated:
        event_statements.add_events(connection, dated, version)
    if news:
        touched |= bring_up_to_date(connection, rules, users, news, now)
    rejected = [*decoded.rejected, *(reject(*refused) for refused in accepted.refused)]
    if rejected:
        event_statements.add_rejected(connection, rejected, version)
    outcomes = _count(accepted, decoded)
    event_statements.count_outcomes(connection, outcomes)
    return Applied(outcomes=outcomes, touched=touched)


def _count(accepted: Accepted, decoded: Decoded) -> dict[Outcome, int]:
    conflicts = sum(refusal.reason is Reason.CONFLICT for _, refusal in accepted.refused)
    return {
        Outcome.APPLIED: len(accepted.new),
        Outcome.DUPLICATE: accepted.duplicates,
        Outcome.CONFLICT: conflicts,
        Outcome.REJECTED: len(decoded.rejected) + len(accepted.refused) - conflicts,
    }
