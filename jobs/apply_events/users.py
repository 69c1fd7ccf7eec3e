"""What a batch tells about users: their zones, dated, and the latest of every other field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from models.rules.arrivals import Arrival, Told
from models.rules.calendar import ZoneChange, changes_to_keep, zone_at
from models.rules.rulebook import Rulebook
from models.rules.streaks import chain_deadline
from models.statements import streaks as streak_statements
from models.statements import users as statements
from models.statements.streaks import Latest


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """The zones of the users of a batch; `assumed` is the zone of those who have none (S6)."""

    changes: Mapping[str, Sequence[ZoneChange]]
    assumed: str

    def at(self, user_id: str, instant: datetime) -> str:
        """Return the zone in force for a user at an instant (S1)."""
        return zone_at(self.changes.get(user_id, ()), instant, self.assumed)

    def latest(self, user_id: str) -> str:
        """Return the zone that a user has now: deadlines are counted in it (S8)."""
        changes = self.changes.get(user_id)
        return changes[-1].tz if changes else self.assumed


def apply_to_users(
    connection: Connection, rulebook: Rulebook, new: Sequence[Arrival], told: Sequence[Told]
) -> Zones:
    """Keep what is told about users, by events and beside them; return the zones as they are then.

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
    user_ids = {item.event.user_id for item in new} | {item.user_id for item in told}
    if not user_ids:
        return Zones(changes={}, assumed=rulebook.tz)
    known = statements.read_zones(connection, user_ids)
    if not facts:
        return Zones(changes=known, assumed=rulebook.tz)
    statements.tell(connection, facts)
    added = _new_zones(known, facts)
    if not added:
        return Zones(changes=known, assumed=rulebook.tz)
    statements.add_zones(connection, added)
    zones = Zones(changes=statements.read_zones(connection, user_ids), assumed=rulebook.tz)
    _refresh_deadlines(connection, list(added), zones)
    return zones


def _new_zones(
    known: Mapping[str, Sequence[ZoneChange]], facts: Sequence[Told]
) -> dict[str, list[ZoneChange]]:
    told: dict[str, list[ZoneChange]] = defaultdict(list)
    for fact in facts:
        if fact.fields.tz is not None:
            told[fact.user_id].append(ZoneChange(since=fact.told_at, tz=fact.fields.tz))
    added = {
        user_id: changes_to_keep(known.get(user_id, ()), changes)
        for user_id, changes in told.items()
    }
    return {user_id: changes for user_id, changes in added.items() if changes}


def _refresh_deadlines(connection: Connection, user_ids: Sequence[str], zones: Zones) -> None:
    """Count the deadlines of streaks again in the zones that their users now have (S8)."""
    latest = streak_statements.read_latest(connection, user_ids)
    if latest:
        streak_statements.put_latest(
            connection,
            {
                key: Latest(
                    chain=item.chain, deadline_at=chain_deadline(item.chain, zones.latest(key[0]))
                )
                for key, item in latest.items()
            },
        )
