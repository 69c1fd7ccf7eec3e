"""What can go wrong between a backend and the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streakline.contract import Event


class StreaklineError(Exception):
    """The base of every error that this package raises on purpose."""


class AddressError(StreaklineError, ValueError):
    """The address of the broker is missing, or is not one that the client can use."""


class InvalidEvent(StreaklineError, ValueError):
    """A field of an event, or of a user, is not what it must be; sending it again will not help.

    `field` names the field (`value`, `attributes.language`, `user.tz`), `reason` says what is
    wrong and what would be right.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class BrokerUnavailable(StreaklineError, ConnectionError):
    """The broker did not confirm that it holds the events; send them again with the same keys.

    `events` are those that were not confirmed, each with its key filled in and its `occurred_at`
    fixed, so that sending exactly these again cannot count anything twice: not even where the
    broker took them and only its answer was lost.
    """

    def __init__(self, reason: str, events: Sequence[Event] = ()) -> None:
        super().__init__(reason)
        self.events = tuple(events)


class QueueFull(BrokerUnavailable):
    """The broker answers and has no room for more: events come faster than workers apply them.

    Nothing of `events` was taken by Redis; RabbitMQ may take them yet, out of the connection. There
    is room again once workers have taken some off the queue: wait a moment before they are sent
    again with the same keys, and longer each time.
    """
