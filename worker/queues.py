"""What waits in the broker: how many events, and for how long the oldest has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dramatiq import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name

from streakline.contract import EVENTS_QUEUE

MESSAGES_READ_MAX = 200
"""Up to so many messages are all read; of more, so many are, and the rest is taken to be alike."""

CROWD = 100
"""Messages that wait, or are being done, from one more on of which loads and backfills give way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a queue holds, what workers have taken but not finished included.

    `events` is exact up to 200 messages and an estimate beyond.
    """

    messages: int
    events: int
    oldest_seconds: float


def read_waiting(broker: Broker, now: datetime) -> Waiting:
    """Return what waits to be applied. Raises what the broker's client raises."""
    if isinstance(broker, RedisBroker):
        return _read_redis(broker, now)
    assert isinstance(broker, RabbitmqBroker)
    # RabbitMQ does not show what is in messages without taking them: each counts as one event.
    ready, delayed, _ = broker.get_queue_message_counts(EVENTS_QUEUE)
    return Waiting(messages=ready + delayed, events=ready + delayed, oldest_seconds=0.0)


def count_messages(broker: Broker) -> dict[str, int]:
    """Return how many messages each queue holds. Raises what the broker's client raises."""
    queues = sorted(broker.get_declared_queues())
    if isinstance(broker, RedisBroker):
        return {queue: sum(map(broker.client.hlen, _keys(broker, queue))) for queue in queues}
    assert isinstance(broker, RabbitmqBroker)
    return {queue: sum(broker.get_queue_message_counts(queue)[:2]) for queue in queues}


def is_crowded(broker: Broker, *queues: str) -> bool:
    """Tell whether so many messages wait that what can be late gives way; of all queues, or some.

    Raises what the broker's client raises.
    """
    found = count_messages(broker)
    return sum(found[queue] for queue in queues or found) > CROWD


def read_applied_until(broker: Broker, now: datetime) -> datetime | None:
    """Return up to which instant all that was sent has been applied.

    None where more waits than is read of it. RabbitMQ does not show since when a message waits:
    what is sent through it counts as applied.
    """
    waiting = read_waiting(broker, now)
    if isinstance(broker, RedisBroker) and waiting.messages > MESSAGES_READ_MAX:
        return None
    return now - timedelta(seconds=waiting.oldest_seconds)


def _read_redis(broker: RedisBroker, now: datetime) -> Waiting:
    messages = 0
    read: list[bytes] = []
    for key in _keys(broker, EVENTS_QUEUE):
        messages += broker.client.hlen(key)
        read += list(_some_messages(broker, key))
    if not read:
        return Waiting(messages=messages, events=messages, oldest_seconds=0.0)
    looked_at = [_look_at(data) for data in read]
    events = sum(count for count, _ in looked_at)
    oldest = min((sent for _, sent in looked_at if sent is not None), default=now)
    return Waiting(
        messages=messages,
        events=round(events * messages / len(read)),
        oldest_seconds=max(0.0, (now - oldest).total_seconds()),
    )


def _look_at(body: bytes) -> tuple[int, datetime | None]:
    """Return how many events a message has and when it was sent.

    What a worker has not yet looked at may be no message at all: it counts as one event.
    """
    try:
        message = json.loads(body)
        events = message["kwargs"].get("events", ())
        sent = datetime.fromtimestamp(message["message_timestamp"] / 1000, UTC)
        return len(events) or 1, sent
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError):
        return 1, None


def _keys(broker: RedisBroker, queue: str) -> tuple[str, str]:
    """Return where the messages of a queue are: those at once, and those for later."""
    return (
        f"{broker.namespace}:{queue}.msgs",
        f"{broker.namespace}:{dq_name(queue)}.msgs",
    )


def _some_messages(broker: RedisBroker, key: str) -> Iterator[bytes]:
    for number, (_, data) in enumerate(broker.client.hscan_iter(key, count=MESSAGES_READ_MAX)):
        if number >= MESSAGES_READ_MAX:
            return
        yield data
