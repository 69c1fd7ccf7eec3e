"""What a user's facts have come to: everything that the next event is judged by, as one value.

It is read, folded on and written as a whole, so that an event costs the same however many rules a
program has. What lies behind (past days, past chains, the ledger of points) is kept beside it, in
rows that only a late event reads again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from models.rules.calendar import ZoneChange, zone_at
from models.rules.points import TriggerState
from models.rules.streaks import LatestChain
from models.rules.totals import Day, Total


@dataclass(slots=True, kw_only=True)
class UserState:
    """A user's state, by the names that the program gives.

    `zones` ascend. `day` is the latest local day on which the user had an event. `points` holds the
    states of all triggers that ever counted anything, by points system and `TriggerRule.id`.
    """

    zones: list[ZoneChange] = field(default_factory=list)
    totals: dict[str, Total] = field(default_factory=dict)
    day: Day | None = None
    streaks: dict[str, LatestChain] = field(default_factory=dict)
    points: dict[str, dict[str, TriggerState]] = field(default_factory=dict)

    def tz(self, assumed: str) -> str:
        """Return the zone that the user has now: deadlines are counted in it (S8)."""
        return self.zones[-1].tz if self.zones else assumed

    def tz_at(self, instant: datetime, assumed: str) -> str:
        """Return the zone in force for the user at an instant (S1)."""
        return zone_at(self.zones, instant, assumed)

    def add_zones(self, changes: Iterable[ZoneChange]) -> None:
        """Add zone changes; of two at one instant the greater name stays, whichever came first."""
        by_instant = {change.since: change for change in self.zones}
        for change in changes:
            known = by_instant.get(change.since)
            if known is None or known.tz < change.tz:
                by_instant[change.since] = change
        self.zones = [by_instant[since] for since in sorted(by_instant)]
