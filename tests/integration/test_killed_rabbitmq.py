"""RabbitMQ killed with all that it held: what it confirmed is there when it starts again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq.common import xq_name
from dramatiq.errors import ConnectionClosed

from streakline import BrokerUnavailable, Client
from streakline.contract import APPLY_EVENTS_ACTOR, EVENTS_QUEUE
from tests.brokers import is_settled, opened_broker, rejected, working
from tests.rabbitmq_node import running_rabbitmq
from tests.waiting import wait_until
from worker.recovery import recover_messages

EVENTS = 60


def test_what_was_confirmed_outlives_a_kill_taken_delayed_and_rejected_ones_too(
    tmp_path: Path, valkey_url: str, namespace: str
) -> None:
    received: set[str] = set()
    with (
        running_rabbitmq(tmp_path) as node,
        opened_broker(node.url, valkey_url, namespace) as broker,
        Client(node.url) as client,
    ):

        @dramatiq.actor(broker=broker, queue_name=EVENTS_QUEUE, actor_name=APPLY_EVENTS_ACTOR)
        def apply_events(events: list[dict[str, Any]], received_at: str) -> None:
            received.update(event["key"] for event in events)

        # Given confirmed events: on the queue, to be tried again later, rejected, and taken
        for number in range(EVENTS):
            client.track("u", "lessons", key=str(number))
        consumer: Any = broker.consume(EVENTS_QUEUE, prefetch=8, timeout=100)
        delayed, bad = [wait_until(lambda: next(consumer)) for _ in range(2)]
        broker.enqueue(delayed._message, delay=1)
        consumer.ack(delayed)
        consumer.nack(bad)
        wait_until(lambda: next(consumer) is None and rejected(broker, EVENTS_QUEUE))
        node.wait_until_kept(xq_name(EVENTS_QUEUE))

        # When RabbitMQ is killed, nothing is taken; and when it runs again
        node.kill()
        with pytest.raises(ConnectionClosed):
            next(consumer)
        with pytest.raises(BrokerUnavailable):
            client.track("u", "lessons", key="while it is away")
        node.start()
        client.track("u", "lessons", key="afterwards")
        assert wait_until(lambda: recover_messages(broker, node.url)) == 1

        # Then all that was confirmed is there
        with working(broker):
            wait_until(lambda: len(received) == EVENTS + 1)
            wait_until(lambda: is_settled(broker))
        assert received == {*map(str, range(EVENTS)), "afterwards"}
