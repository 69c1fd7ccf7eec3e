"""Which local date an event has, for ever: that of the zone in force for its user then (S1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.folding import News
from models.rules.arrivals import Arrival, Dated
from models.rules.calendar import local_date, zone_at
from models.rules.rulebook import Rules
from models.rules.timelines import Timelines
from models.statements.users import Users

NO_ATTRIBUTES: frozenset[str] = frozenset()


def date_arrivals(
    rules: Rules, new: Sequence[Arrival], users: Users, news: Mapping[str, News]
) -> list[Dated]:
    """Return events with their local dates; what the batch itself tells counts."""
    assumed = rules.latest.tz
    zones = {user_id: _with_told(users.states[user_id].told, one) for user_id, one in news.items()}
    return [
        Dated(
            arrival=arrival,
            local_date=local_date(
                arrival.occurred_at,
                zone_at(
                    (zones.get(user_id) or users.states[user_id].told).zones,
                    arrival.occurred_at,
                    assumed,
                ),
            ),
        )
        for arrival in new
        for user_id in (arrival.event.user_id,)
    ]


def _with_told(known: Timelines, news: News) -> Timelines:
    """Return the zones with those that were just told among them, in their order."""
    told = [one for one in news.told if one.tz is not None]
    if not told:
        return known
    merged = Timelines()
    merged.tell([*known.as_told(), *told], NO_ATTRIBUTES)
    return merged
