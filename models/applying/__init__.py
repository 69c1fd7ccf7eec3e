"""Applying a batch to users who are locked: decide, fold, write what follows.

The caller's transaction holds the users' locks. What a user's events cause is in it as the events
are: all of it is there, or nothing. What was accepted once is a duplicate from then on; a bad event
is set aside with its reason and the good ones beside it apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from models.applying.accepting import accept_arrivals
from models.applying.decode import Batch, Item, Kind, Received, collect, decode, reject
from models.applying.news import collect_news
from models.folding import bring_up_to_date, renew_stale
from models.rules.acceptance import Accepted, Reason, Refusal
from models.rules.arrivals import Arrival
from models.rules.rulebook import Rules
from models.statements import events as event_statements
from models.statements.events import Outcome, Rejected
from models.statements.users import Users

__all__ = ["Applied", "Batch", "Item", "Kind", "Received", "apply_locked", "collect", "decode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of a batch: how many events had each outcome, and whether any board changed.

    `refused` are those that do not count, conflicts among them, as they stood in the batch.
    """

    outcomes: Mapping[Outcome, int]
    touched: bool = False
    refused: Sequence[tuple[Arrival | Rejected, Refusal]] = ()

    def joined(self, other: Applied) -> Applied:
        """Return what came of both."""
        outcomes = {
            outcome: self.outcomes[outcome] + other.outcomes[outcome] for outcome in Outcome
        }
        return Applied(
            outcomes=outcomes,
            touched=self.touched or other.touched,
            refused=[*self.refused, *other.refused],
        )


def apply_locked(
    connection: Connection,
    rules: Rules,
    batch: Batch,
    users: Users,
    now: datetime,
    *,
    set_aside: bool = True,
) -> Applied:
    """Apply what concerns users that this transaction has locked. Raises what SQLAlchemy raises.

    Without `set_aside` it is left to the caller what becomes of those refused, and to count.
    """
    touched = renew_stale(connection, rules, users, now)
    accepted = accept_arrivals(connection, rules, batch.arrivals, users, now)
    news, dated = collect_news(connection, rules, accepted.new, batch.told, users, now)
    version = rules.latest.version
    if dated:
        event_statements.add_events(connection, dated, version)
    if news:
        touched |= bring_up_to_date(connection, rules, users, news, now)
    outcomes = _count(accepted, batch)
    if set_aside:
        rejected = [*batch.rejected, *(reject(*refused) for refused in accepted.refused)]
        if rejected:
            event_statements.add_rejected(connection, rejected, version)
        event_statements.count_outcomes(connection, outcomes)
    malformed = [(item, item.refusal) for item in batch.rejected]
    return Applied(outcomes=outcomes, touched=touched, refused=[*malformed, *accepted.refused])


def _count(accepted: Accepted, batch: Batch) -> dict[Outcome, int]:
    conflicts = sum(refusal.reason is Reason.CONFLICT for _, refusal in accepted.refused)
    return {
        Outcome.APPLIED: len(accepted.new),
        Outcome.DUPLICATE: accepted.duplicates,
        Outcome.CONFLICT: conflicts,
        Outcome.REJECTED: len(batch.rejected) + len(accepted.refused) - conflicts,
    }
