"""What waits in the broker, and what that says about how far everything is applied."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from dramatiq import Broker

from streakline import Client
from streakline.contract import EVENTS_QUEUE
from worker.broker import open_redis_broker
from worker.queues import MESSAGES_READ_MAX, read_applied_until, read_waiting

ONE_HOUR = timedelta(hours=1)
ABOUT = timedelta(minutes=1)


@pytest.fixture
def redis_broker(every_redis_url: str, namespace: str) -> Iterator[Broker]:
    broker = open_redis_broker(every_redis_url, namespace)
    broker.declare_queue(EVENTS_QUEUE)
    yield broker
    broker.client.close()


def test_all_is_applied_up_to_when_the_oldest_message_was_sent(
    redis_broker: Broker, every_redis_url: str, namespace: str
) -> None:
    broker = redis_broker
    later = datetime.now(UTC) + ONE_HOUR
    assert read_applied_until(broker, later) == later, "nothing waits"
    with Client(every_redis_url, namespace=namespace) as client:
        client.track("u", "lessons", key="first")
        until = read_applied_until(broker, later)
        assert until is not None
        assert later - ONE_HOUR - ABOUT < until < later - ONE_HOUR + ABOUT
        for number in range(MESSAGES_READ_MAX):
            client.track("u", "lessons", key=f"{number}")
    assert read_waiting(broker, later).messages == MESSAGES_READ_MAX + 1
    assert read_applied_until(broker, later) is None, "what is read of it may not be the oldest"
