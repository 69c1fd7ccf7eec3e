"""The timetable, as data: which sweep rings how often. All in UTC, in slots counted from 1970.

A tick only puts a message on the queue; the sweep that answers it finds what is due in Postgres,
so a tick that comes late, twice or not at all does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SWEEPS_QUEUE = "sweeps"
ANALYTICS_QUEUE = "analytics"
"""What the process takes that owns the warehouse, where it is the embedded one."""
EMAILS_QUEUE = "emails"
BACKFILLS_QUEUE = "backfills"
"""What operators do to the past: apart from all that is live (S73)."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A sweep, how often it rings, and on which queue; its name is its actor's, with dashes."""

    name: str
    every: timedelta
    queue: str = SWEEPS_QUEUE

    @property
    def actor_name(self) -> str:
        """The actor that answers."""
        return self.name.replace("-", "_")

    def slot(self, now: datetime) -> datetime:
        """Return the slot that `now` falls into, named by its first instant."""
        return now - (now - EPOCH) % self.every

    def next_slot(self, now: datetime) -> datetime:
        """Return the first instant after `now` at which the tick rings."""
        return self.slot(now) + self.every

    def is_stale(self, slot: datetime, now: datetime) -> bool:
        """Tell whether a message about a slot is so old that later ones must have followed it.

        The slot is by the clock of who rang, `now` by that of who answers: were clocks taken to be
        equal, a worker whose own is a little ahead would answer nothing. One from further ahead
        than clocks differ is none of ours, and not to be claimed.
        """
        late = now - slot
        return late > STALE_SLOTS * self.every + CLOCKS_APART_MAX or late < -CLOCKS_APART_MAX


TICKS = (
    Tick(name="sweep-streaks", every=timedelta(seconds=5)),
    Tick(name="sweep-leaderboards", every=timedelta(seconds=10)),
    Tick(name="project-rankings", every=timedelta(seconds=2)),
    Tick(name="recover-messages", every=timedelta(seconds=10)),
    Tick(name="recompute-users", every=timedelta(seconds=10)),
    Tick(name="load-warehouse", every=timedelta(seconds=2), queue=ANALYTICS_QUEUE),
    Tick(name="snapshot-ranks", every=timedelta(seconds=10), queue=ANALYTICS_QUEUE),
    Tick(name="plan-emails", every=timedelta(seconds=10), queue=EMAILS_QUEUE),
    Tick(name="send-emails", every=timedelta(seconds=1), queue=EMAILS_QUEUE),
    Tick(name="recover-backfills", every=timedelta(seconds=10)),
    Tick(name="close-ledgers", every=timedelta(days=1), queue=ANALYTICS_QUEUE),
)
STALE_SLOTS = 3
"""A tick that is late by so many of its intervals is overdue."""
CLOCKS_APART_MAX = timedelta(minutes=5)
"""By so much two machines' clocks may differ."""
