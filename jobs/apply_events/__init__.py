"""Apply a batch of events and of what is told about users: decide, fold, write what follows.

A transaction reads the states of all users of the batch, folds the events onto them in memory, and
writes them back, with one statement for each kind of row, whatever the number of events and users.
What a user's events cause is in the same transaction as the events: all of it is there, or nothing.
It may run twice with the same events, beside itself, and in any order: what was accepted once is a
duplicate from then on. A bad event is set aside with its reason and the good ones beside it apply.

An error here is the database's, or a bug of ours, and the caller tries again with the whole batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from jobs.apply_events.boards import touch_boards
from jobs.apply_events.days import apply_to_days
from jobs.apply_events.decode import Decoded, Kind, Received, decode, reject
from jobs.apply_events.points import apply_to_points
from jobs.apply_events.users import apply_to_users
from models.rulebooks import Rulebooks
from models.rules.acceptance import Accepted, Reason, accept
from models.rules.arrivals import Arrival, Dated
from models.rules.calendar import local_date
from models.rules.rulebook import Rulebook
from models.rules.totals import fold_totals
from models.statements import events as event_statements
from models.statements import users as user_statements
from models.statements.events import Outcome
from models.statements.users import States

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
            rulebook = rulebooks.current(connection)
            states = user_statements.lock_free_users(connection, user_ids)
            left = user_ids - states.keys()
            rest, now_possible = decoded.split(left)
            applied = _apply_part(connection, rulebook, now_possible, states, now)
        if not left:
            return applied
        with connection.begin():
            user_statements.add_missing_users(connection, left, now)
        with connection.begin():
            rulebook = rulebooks.current(connection)
            states = user_statements.lock_users(connection, left)
            return applied.joined(_apply_part(connection, rulebook, rest, states, now))


def _apply_part(
    connection: Connection, rulebook: Rulebook, decoded: Decoded, states: States, now: datetime
) -> Applied:
    """Apply what concerns users that this transaction has locked."""
    accepted = _accept(connection, rulebook, decoded.arrivals, states, now)
    changed = apply_to_users(connection, rulebook, accepted.new, decoded.told, states)
    by_user = _date(rulebook, accepted.new, states)
    touched = _apply(connection, rulebook, by_user, states)
    changed |= by_user.keys()
    if changed:
        user_statements.put_states(connection, {user_id: states[user_id] for user_id in changed})
    rejected = [*decoded.rejected, *(reject(*refused) for refused in accepted.refused)]
    if rejected:
        event_statements.add_rejected(connection, rejected, rulebook.version)
    outcomes = _count(accepted, decoded)
    event_statements.count_outcomes(connection, outcomes)
    return Applied(outcomes=outcomes, touched=touched)


def _accept(
    connection: Connection,
    rulebook: Rulebook,
    arrivals: Sequence[Arrival],
    states: States,
    now: datetime,
) -> Accepted:
    if not arrivals:
        return Accepted()
    known = event_statements.read_known(connection, [item.identity for item in arrivals])
    totals = {
        (user_id, metric): total.value
        for user_id, state in states.items()
        for metric, total in state.totals.items()
    }
    return accept(arrivals, rulebook, known, totals, now)


def _date(rulebook: Rulebook, new: Sequence[Arrival], states: States) -> dict[str, list[Dated]]:
    """Give each event the local date that it keeps for ever (S1); return them by user."""
    by_user: dict[str, list[Dated]] = defaultdict(list)
    for arrival in new:
        user_id = arrival.event.user_id
        tz = states[user_id].tz_at(arrival.occurred_at, rulebook.tz)
        by_user[user_id].append(
            Dated(arrival=arrival, local_date=local_date(arrival.occurred_at, tz))
        )
    return by_user


def _apply(
    connection: Connection,
    rulebook: Rulebook,
    new: Mapping[str, Sequence[Dated]],
    states: States,
) -> bool:
    """Write the events and all that follows from them; tell whether a board changed."""
    if not new:
        return False
    # Before the events are in the ledger: a late one looks there at those that came before it.
    points = apply_to_points(connection, rulebook, new, states)
    event_statements.add_events(
        connection, (dated for events in new.values() for dated in events), rulebook.version
    )
    added = _that_add_up(rulebook, new)
    metrics: dict[str, list[str]] = defaultdict(list)
    for user_id, events in added.items():
        changed = fold_totals(events, states[user_id].totals)
        states[user_id].totals.update(changed)
        for metric in changed:
            metrics[metric].append(user_id)
    apply_to_days(connection, rulebook, added, states)
    return touch_boards(connection, rulebook, states, metrics=metrics, points=points)


def _that_add_up(
    rulebook: Rulebook, new: Mapping[str, Sequence[Dated]]
) -> Mapping[str, Sequence[Dated]]:
    """Return the events of metrics that are totalled, by user."""
    if all(rule.adds_up for rule in rulebook.metrics.values()):
        return new
    added = {
        user_id: [dated for dated in events if rulebook.metrics[dated.arrival.event.metric].adds_up]
        for user_id, events in new.items()
    }
    return {user_id: events for user_id, events in added.items() if events}


def _count(accepted: Accepted, decoded: Decoded) -> dict[Outcome, int]:
    conflicts = sum(refusal.reason is Reason.CONFLICT for _, refusal in accepted.refused)
    return {
        Outcome.APPLIED: len(accepted.new),
        Outcome.DUPLICATE: accepted.duplicates,
        Outcome.CONFLICT: conflicts,
        Outcome.REJECTED: len(decoded.rejected) + len(accepted.refused) - conflicts,
    }
