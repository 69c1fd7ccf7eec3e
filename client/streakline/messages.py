"""The messages on the queue, such as every stock Dramatiq worker reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from dramatiq.message import Message

from streakline.contract import (
    APPLY_EVENTS_ACTOR,
    EVENTS_QUEUE,
    IDENTIFY_USERS_ACTOR,
    Event,
    instant_text,
)

_JSON = json.JSONEncoder(separators=(",", ":"))


class JsonMessage(Message[None]):
    """A message that is JSON even in a backend that set another encoder for its own actors."""

    def encode(self) -> bytes:
        """Return the message as the workers read it."""
        return _JSON.encode(self.asdict()).encode()


def events_message(events: Iterable[Event], received_at: datetime) -> JsonMessage:
    """Return the message that has these events applied."""
    return _message(APPLY_EVENTS_ACTOR, received_at, events=[event.to_json() for event in events])


def imported_message(events: Iterable[Event], received_at: datetime) -> JsonMessage:
    """Return the message that has an import's events applied, whatever their age (S13)."""
    told = [event.to_json() for event in events]
    return _message(APPLY_EVENTS_ACTOR, received_at, events=told, imported=True)


def users_message(users: Sequence[dict[str, Any]], received_at: datetime) -> JsonMessage:
    """Return the message that has these user fields stored."""
    return _message(IDENTIFY_USERS_ACTOR, received_at, users=list(users))


def _message(actor_name: str, received_at: datetime, **kwargs: Any) -> JsonMessage:
    kwargs["received_at"] = instant_text(received_at)
    return JsonMessage(
        queue_name=EVENTS_QUEUE, actor_name=actor_name, args=(), kwargs=kwargs, options={}
    )
