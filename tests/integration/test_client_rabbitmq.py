"""The client on RabbitMQ, with a Redis beside it, without one, and where neither answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dramatiq
import pytest

from streakline import BrokerUnavailable, Client
from streakline.contract import APPLY_EVENTS_ACTOR, EVENTS_QUEUE, IDENTIFY_USERS_ACTOR
from streakline.rabbitmq_transport import QuorumBroker
from tests.proxy import proxying_url
from tests.waiting import wait_until

ANSWERS = 9
"""Of RabbitMQ, until the first event of a client is confirmed."""


@pytest.fixture
def broker(rabbitmq_url: str) -> Iterator[QuorumBroker]:
    """Dramatiq's broker as a worker declares it, on an empty queue."""
    broker = QuorumBroker(rabbitmq_url)
    broker.declare_queue(EVENTS_QUEUE, ensure=True)
    yield broker
    broker.close()


def queued(broker: QuorumBroker) -> int:
    return broker.get_queue_message_counts(EVENTS_QUEUE)[0]


def consume(broker: QuorumBroker, messages: int) -> list[dict[str, Any]]:
    """Let a stock Dramatiq worker take so many messages off the queue and return their content."""
    received: list[dict[str, Any]] = []

    @dramatiq.actor(broker=broker, queue_name=EVENTS_QUEUE, actor_name=APPLY_EVENTS_ACTOR)
    def apply_events(events: list[dict[str, Any]], received_at: str) -> None:
        received.extend(events)

    @dramatiq.actor(broker=broker, queue_name=EVENTS_QUEUE, actor_name=IDENTIFY_USERS_ACTOR)
    def identify_users(users: list[dict[str, Any]], received_at: str) -> None:
        received.extend(users)

    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=10)
    worker.start()
    try:
        wait_until(lambda: len(received) == messages)
    finally:
        worker.stop()
    return received


def test_a_connection_may_break_at_any_answer_of_rabbitmq(
    rabbitmq_url: str, broker: QuorumBroker
) -> None:
    """Those to connecting, confirms, three queues and a publication; after them, to nothing."""
    for passed in range(ANSWERS + 1):
        with proxying_url(rabbitmq_url) as (proxy, url), Client(url) as client:
            proxy.lose_some(1, after=passed)
            client.track("u", "lessons", key=str(passed))
            assert (proxy.replies_to_lose == 0) == (passed < ANSWERS)
    # each is there, and once more the one whose confirmation was lost: it was sent again
    assert queued(broker) == ANSWERS + 2


def test_a_stock_dramatiq_worker_reads_what_the_client_sends(
    rabbitmq_url: str, broker: QuorumBroker
) -> None:
    with Client(rabbitmq_url) as client:
        client.track("u", "lessons", value=2, key="k")
        client.identify("u", tz="Asia/Tokyo")
    assert consume(broker, 2) == [
        {"user_id": "u", "metric": "lessons", "value": "2", "key": "k"},
        {"user_id": "u", "tz": "Asia/Tokyo"},
    ]


def test_without_a_redis_every_call_is_queued(rabbitmq_url: str, broker: QuorumBroker) -> None:
    with Client(rabbitmq_url) as client:
        receipts = [client.track("u", "lessons", key="k") for _ in range(2)]
    assert [receipt.duplicate for receipt in receipts] == [False, False]
    assert queued(broker) == 2


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_redis_that_is_down_holds_no_event_back(
    scheme: str, rabbitmq_url: str, broker: QuorumBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with Client(rabbitmq_url, f"{scheme}://:a-password@127.0.0.1:{port}/0") as client:
        receipts = [client.track("u", "lessons", key="k") for _ in range(2)]
    assert [receipt.duplicate for receipt in receipts] == [False, False]
    assert queued(broker) == 2
    [warning] = caplog.messages
    assert "does not answer" in warning
    assert "a-password" not in warning


def test_no_rabbitmq_is_an_error_that_names_it_without_its_password() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    client = Client(f"amqp://app:a-password@127.0.0.1:{port}")
    with pytest.raises(BrokerUnavailable, match=f"app:\\*\\*\\*@127.0.0.1:{port}") as caught:
        client.track("u", "lessons", key="k")
    assert [event.key for event in caught.value.events] == ["k"]
    assert "a-password" not in str(caught.value)
