"""Whether workers keep up: how fast events come and are handled, and when the rest will be done.

Told from two looks a moment apart, and only where a crowd of messages waits: one look says how much
waits, and where little does there is nothing to keep up with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dramatiq.brokers.redis import RedisBroker

from models.statements.events import read_counts
from streakline.contract import EVENTS_QUEUE
from worker.queues import CROWD, Waiting, count_messages
from worker.runtime import Runtime

LOOK_SECONDS = 2.0
"""Between the looks: some ten batches of each worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen at a moment, in seconds of a clock that only runs forward.

    `messages` wait, of events; `handled` events were applied or not counted, ever.
    """

    at_seconds: float
    messages: int
    handled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many events a second come and are handled."""

    arriving_per_second: float
    handled_per_second: float

    @property
    def outrun(self) -> bool:
        """Whether events come faster than workers handle them."""
        return self.arriving_per_second > self.handled_per_second

    def seconds_left(self, events: int) -> float | None:
        """Return after how long so many events are handled as well; None where they only grow."""
        gained = self.handled_per_second - self.arriving_per_second
        return events / gained if gained > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the broker's Redis holds in its memory, in bytes, and may hold; None for no limit."""

    used: int
    most: int | None


def find_pace(first: Look, second: Look, events_per_message: float) -> Pace:
    """Return the pace between two looks.

    How many events a message has is known of some alone, so what comes is counted in messages.
    """
    seconds = second.at_seconds - first.at_seconds
    handled = (second.handled - first.handled) / seconds
    grown = (second.messages - first.messages) * events_per_message / seconds
    return Pace(arriving_per_second=max(0.0, handled + grown), handled_per_second=handled)


def read_pace(runtime: Runtime, waiting: Waiting) -> Pace | None:
    """Look twice; None where hardly anything waits. Raises what SQLAlchemy and redis-py raise.

    `waiting` says how many events a message has.
    """
    first = _look(runtime)
    if first.messages <= CROWD:
        return None
    time.sleep(LOOK_SECONDS)
    return find_pace(first, _look(runtime), waiting.events / max(1, waiting.messages))


def read_room(runtime: Runtime) -> Room | None:
    """Return what the broker's memory holds; None of RabbitMQ, which has alarms of its own."""
    if not isinstance(runtime.broker, RedisBroker):
        return None
    memory = runtime.broker.client.info("memory")
    return Room(used=int(memory["used_memory"]), most=int(memory["maxmemory"]) or None)


def _look(runtime: Runtime) -> Look:
    messages = count_messages(runtime.broker)[EVENTS_QUEUE]
    with runtime.engine.connect() as connection:
        handled = sum(read_counts(connection).values())
    return Look(at_seconds=time.monotonic(), messages=messages, handled=handled)
