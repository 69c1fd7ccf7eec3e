"""Apply a batch of events and of what is told about users: decide, fold, write what follows.

A transaction has one statement a table, whatever the number of events and users, and what a user's
events cause is in the same transaction as the events: all of it is there, or nothing. It may run
twice with the same events, beside itself, and in any order: what was accepted once is a duplicate
from then on. A bad event is set aside with its reason and the good ones beside it apply.

An error here is the database's, or a bug of ours, and the caller tries again with the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from jobs.apply_events.days import apply_to_days
from jobs.apply_events.decode import Decoded, Kind, Received, decode, reject
from jobs.apply_events.points import apply_to_points
from jobs.apply_events.scores import apply_to_scores
from jobs.apply_events.users import Zones, apply_to_users
from models.rulebooks import Rulebooks
from models.rules.acceptance import Accepted, Reason, accept
from models.rules.arrivals import Arrival, Dated
from models.rules.calendar import local_date
from models.rules.rulebook import Rulebook
from models.rules.totals import Total, UserMetric, fold_totals
from models.statements import events as event_statements
from models.statements import metrics as metric_statements
from models.statements import users as user_statements
from models.statements.events import Outcome

__all__ = ["Applied", "Kind", "Received", "apply_events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of a batch: how many events had each outcome, and the boards that it touched."""

    outcomes: Mapping[Outcome, int]
    board_ids: frozenset[int] = frozenset()

    def joined(self, other: Applied) -> Applied:
        """Return what came of both."""
        outcomes = {
            outcome: self.outcomes[outcome] + other.outcomes[outcome] for outcome in Outcome
        }
        return Applied(outcomes=outcomes, board_ids=self.board_ids | other.board_ids)


def apply_events(
    engine: Engine, rulebooks: Rulebooks, received: Sequence[Received], now: datetime
) -> Applied:
    """Apply a batch of any size. Raises NoProgram, and what SQLAlchemy raises.

    Users whom another batch has locked, one in a hundred or so, would make this one wait for the
    other's end with all of its users, and so on in a row. They are left for a second transaction.
    """
    decoded = decode(received)
    user_ids = decoded.user_ids()
    with engine.begin() as connection:
        rulebook = rulebooks.current(connection)
        user_statements.add_users(connection, user_ids, now)
        busy = user_ids - user_statements.lock_free_users(connection, user_ids)
        rest, now_possible = decoded.split(busy)
        applied = _apply_part(connection, rulebook, now_possible, now)
    if not busy:
        return applied
    with engine.begin() as connection:
        rulebook = rulebooks.current(connection)
        user_statements.lock_users(connection, busy)
        return applied.joined(_apply_part(connection, rulebook, rest, now))


def _apply_part(
    connection: Connection, rulebook: Rulebook, decoded: Decoded, now: datetime
) -> Applied:
    """Apply what concerns users that this transaction has locked."""
    totals = _read_totals(connection, decoded.arrivals)
    accepted = _accept(connection, decoded.arrivals, totals, rulebook, now)
    zones = apply_to_users(connection, rulebook, accepted.new, decoded.told)
    board_ids = _apply(connection, rulebook, accepted.new, totals, zones)
    rejected = [*decoded.rejected, *(reject(*refused) for refused in accepted.refused)]
    if rejected:
        event_statements.add_rejected(connection, rejected, rulebook.version)
    outcomes = _count(accepted, decoded)
    event_statements.count_outcomes(connection, outcomes)
    return Applied(outcomes=outcomes, board_ids=frozenset(board_ids))


def _read_totals(connection: Connection, arrivals: Sequence[Arrival]) -> dict[UserMetric, Total]:
    if not arrivals:
        return {}
    return metric_statements.read_totals(
        connection, {(item.event.user_id, item.event.metric) for item in arrivals}
    )


def _accept(
    connection: Connection,
    arrivals: Sequence[Arrival],
    totals: Mapping[UserMetric, Total],
    rulebook: Rulebook,
    now: datetime,
) -> Accepted:
    if not arrivals:
        return Accepted()
    known = event_statements.read_known(connection, [item.identity for item in arrivals])
    values = {key: total.value for key, total in totals.items()}
    return accept(arrivals, rulebook, known, values, now)


def _apply(
    connection: Connection,
    rulebook: Rulebook,
    new: Sequence[Arrival],
    totals: Mapping[UserMetric, Total],
    zones: Zones,
) -> Sequence[int]:
    """Write the events and all that follows from them; return the boards touched."""
    if not new:
        return ()
    dated = [_date(item, zones) for item in new]
    points = apply_to_points(connection, rulebook, dated)
    event_statements.add_events(connection, dated, rulebook.version)
    added = [item for item in dated if rulebook.metrics[item.arrival.event.metric].adds_up]
    if not added:
        return apply_to_scores(connection, rulebook, {}, points)
    changed = fold_totals(added, totals)
    metric_statements.put_totals(connection, changed)
    apply_to_days(connection, rulebook, added, zones)
    return apply_to_scores(connection, rulebook, changed, points)


def _date(arrival: Arrival, zones: Zones) -> Dated:
    tz = zones.at(arrival.event.user_id, arrival.occurred_at)
    return Dated(arrival=arrival, local_date=local_date(arrival.occurred_at, tz))


def _count(accepted: Accepted, decoded: Decoded) -> dict[Outcome, int]:
    conflicts = sum(refusal.reason is Reason.CONFLICT for _, refusal in accepted.refused)
    return {
        Outcome.APPLIED: len(accepted.new),
        Outcome.DUPLICATE: accepted.duplicates,
        Outcome.CONFLICT: conflicts,
        Outcome.REJECTED: len(decoded.rejected) + len(accepted.refused) - conflicts,
    }
