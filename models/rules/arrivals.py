"""What reaches a worker, well formed: events, and what is told about users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from streakline.contract import Event, UserFields

Identity = tuple[str, str, str]
"""What makes an event this one and no other: (user_id, metric, key) (S10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A well-formed event as it reached a worker; its key is filled in.

    `occurred_at` is the event's own, or where it tells none the instant at which the client took
    it. An `imported` event may be of any age (S13).
    """

    event: Event
    key: str
    occurred_at: datetime
    received_at: datetime
    imported: bool = False

    @property
    def identity(self) -> Identity:
        """What makes it this event and no other (S10)."""
        return (self.event.user_id, self.event.metric, self.key)


class Dated(NamedTuple):
    """An accepted event with the local date that it keeps for ever (S1)."""

    arrival: Arrival
    local_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told about a user, and when it was true; `imported` where it is no sign of life."""

    user_id: str
    fields: UserFields
    told_at: datetime
    imported: bool = False
