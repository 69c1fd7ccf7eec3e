"""What waits in the broker: how many events, and for how long the oldest has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dramatiq import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name

from streakline.contract import EVENTS_QUEUE
from worker.rabbitmq import TellingBroker
from worker.taken import NOTHING

MESSAGES_READ_MAX = 200
"""Up to so many messages are all read; of more, so many are, and the rest is taken to be alike."""

CROWD = 100
"""Messages that wait, or are being done, from one more on of which loads and backfills give way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a queue holds, what workers have taken but not finished included.

    `events` is exact up to 200 messages in Redis and an estimate beyond. In RabbitMQ the messages
    that nobody has taken cannot be looked into: they count as many events each as those that
    workers have, or one. `oldest_seconds` is of those that were looked at, which are all of them
    where `all_seen`.
    """

    messages: int
    events: int
    oldest_seconds: float
    all_seen: bool


def read_waiting(broker: Broker, now: datetime) -> Waiting:
    """Return what waits to be applied. Raises what the broker's client and redis-py raise."""
    if isinstance(broker, RedisBroker):
        return _read_redis(broker, now)
    assert isinstance(broker, TellingBroker)
    return _read_rabbitmq(broker, now)


def count_messages(broker: Broker) -> dict[str, int]:
    """Return how many messages each queue holds. Raises as `read_waiting`."""
    queues = sorted(broker.get_declared_queues())
    if isinstance(broker, RedisBroker):
        return {queue: sum(map(broker.client.hlen, _keys(broker, queue))) for queue in queues}
    assert isinstance(broker, TellingBroker)
    waiting = {queue: broker.count_waiting(queue) for queue in queues}
    taken = broker.takers.read()
    return {queue: waiting[queue][0] + taken.get(queue, NOTHING).messages for queue in queues}


def is_crowded(broker: Broker, *queues: str) -> bool:
    """Tell whether so many messages wait that what can be late gives way; of all queues, or some.

    Raises as `read_waiting`.
    """
    found = count_messages(broker)
    return sum(found[queue] for queue in queues or found) > CROWD


def read_applied_until(broker: Broker, now: datetime) -> datetime | None:
    """Return up to which instant all that was sent has been applied.

    None where that is not known: in Redis where more waits than is read of it, in RabbitMQ where
    anything waits that no worker has taken, or no worker takes any. Raises as `read_waiting`.
    """
    waiting = read_waiting(broker, now)
    if not waiting.all_seen:
        return None
    return now - timedelta(seconds=waiting.oldest_seconds)


def _read_rabbitmq(broker: TellingBroker, now: datetime) -> Waiting:
    # In this order: what a worker takes in between is seen twice and not missed.
    waiting, consumers = broker.count_waiting(EVENTS_QUEUE)
    taken = broker.takers.read().get(EVENTS_QUEUE, NOTHING)
    events_each = taken.events / taken.messages if taken.messages else 1
    return Waiting(
        messages=waiting + taken.messages,
        events=round(waiting * events_each) + taken.events,
        oldest_seconds=_age(taken.oldest_milliseconds, now),
        # Where nobody takes any, it may be a queue without a leader, which seems to be empty.
        all_seen=not waiting and consumers > 0,
    )


def _read_redis(broker: RedisBroker, now: datetime) -> Waiting:
    messages = 0
    read: list[bytes] = []
    for key in _keys(broker, EVENTS_QUEUE):
        messages += broker.client.hlen(key)
        read += list(_some_messages(broker, key))
    if not read:
        return Waiting(messages=messages, events=messages, oldest_seconds=0.0, all_seen=True)
    looked_at = [_look_at(data) for data in read]
    events = sum(count for count, _ in looked_at)
    sent = [sent for _, sent in looked_at if sent is not None]
    return Waiting(
        messages=messages,
        events=round(events * messages / len(read)),
        oldest_seconds=_age(min(sent, default=None), now),
        all_seen=messages <= MESSAGES_READ_MAX,
    )


def _look_at(body: bytes) -> tuple[int, int | None]:
    """Return how many events a message has and when it was sent, in milliseconds since 1970.

    What a worker has not yet looked at may be no message at all: it counts as one event.
    """
    try:
        message = json.loads(body)
        events = message["kwargs"].get("events", ())
        sent = message["message_timestamp"]
        datetime.fromtimestamp(sent / 1000, UTC)  # one that is no instant says nothing
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


def _age(sent_milliseconds: int | None, now: datetime) -> float:
    """Return the seconds since a message was sent; 0 where there is none."""
    if sent_milliseconds is None:
        return 0.0
    return max(0.0, now.timestamp() - sent_milliseconds / 1000)
