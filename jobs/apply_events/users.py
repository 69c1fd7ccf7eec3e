"""What a batch tells about users: their zones, dated, and the latest of every other field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from models.rules.arrivals import Arrival, Told
from models.rules.calendar import ZoneChange, changes_to_keep
from models.rules.rulebook import Rulebook
from models.rules.streaks import with_deadline
from models.statements import told as statements
from models.statements.users import States


def apply_to_users(
    connection: Connection,
    rulebook: Rulebook,
    new: Sequence[Arrival],
    told: Sequence[Told],
    states: States,
) -> set[str]:
    """Keep what is told about users, by events and beside them; return whose states it changed.

    What an event tells was true when it occurred.
    """
    facts = [
        *told,
        *(
            Told(user_id=item.event.user_id, fields=item.event.user, told_at=item.occurred_at)
            for item in new
            if item.event.user is not None
        ),
    ]
    if not facts:
        return set()
    statements.tell(connection, facts)
    added = _new_zones(facts, states)
    if added:
        statements.add_zones(connection, added)
    for user_id, changes in added.items():
        state = states[user_id]
        state.add_zones(changes)
        # The deadlines of streaks are counted in the zone that a user now has (S8).
        state.streaks = {
            name: with_deadline(latest.chain, state.tz(rulebook.tz))
            for name, latest in state.streaks.items()
        }
    return set(added)


def _new_zones(facts: Sequence[Told], states: States) -> Mapping[str, Sequence[ZoneChange]]:
    told: dict[str, list[ZoneChange]] = defaultdict(list)
    for fact in facts:
        if fact.fields.tz is not None:
            told[fact.user_id].append(ZoneChange(since=fact.told_at, tz=fact.fields.tz))
    added = {
        user_id: changes_to_keep(states[user_id].zones, changes)
        for user_id, changes in told.items()
    }
    return {user_id: changes for user_id, changes in added.items() if changes}
