"""The client on a real RabbitMQ, in a virtual host of these tests' own: queue names are global."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from streakline import BrokerUnavailable, Client, Event
from streakline.contract import APPLY_EVENTS_ACTOR, EVENTS_QUEUE, IDENTIFY_USERS_ACTOR
from tests.waiting import wait_until

CONTROL_SECONDS_MAX = 60


def control(*command: str) -> None:
    """Run rabbitmqctl; skip the test, or fail it in CI, where that is impossible."""
    program = shutil.which("rabbitmqctl")
    reason = "rabbitmqctl is not installed"
    if program is not None:
        done = subprocess.run(  # the program and its words are ours
            [program, *command], capture_output=True, text=True, timeout=CONTROL_SECONDS_MAX
        )
        if done.returncode == 0:
            return
        reason = f"rabbitmqctl {command[0]}: {done.stderr.strip() or done.stdout.strip()}"
    if os.environ.get("STREAKLINE_TEST_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def host_url(rabbitmq_url: str) -> Iterator[str]:
    name = f"streakline-test-{uuid4().hex[:10]}"
    control("add_vhost", name)
    try:
        control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        yield f"{rabbitmq_url.rstrip('/')}/{name}"
    finally:
        control("delete_vhost", name)


@pytest.fixture
def broker(host_url: str) -> Iterator[RabbitmqBroker]:
    """The stock broker of a worker, on an empty queue."""
    broker = RabbitmqBroker(url=host_url, middleware=[])
    broker.declare_queue(EVENTS_QUEUE, ensure=True)
    broker.flush(EVENTS_QUEUE)
    yield broker
    broker.close()


def queued(broker: RabbitmqBroker) -> int:
    return broker.get_queue_message_counts(EVENTS_QUEUE)[0]


def consume(broker: RabbitmqBroker, messages: int) -> list[dict[str, Any]]:
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


def test_a_stock_dramatiq_worker_reads_what_the_client_sends(
    host_url: str, broker: RabbitmqBroker
) -> None:
    with Client(host_url) as client:
        client.track("u", "lessons", value=2, key="k")
        client.identify("u", tz="Asia/Tokyo")
    assert consume(broker, 2) == [
        {"user_id": "u", "metric": "lessons", "value": "2", "key": "k"},
        {"user_id": "u", "tz": "Asia/Tokyo"},
    ]


def test_with_a_redis_repeats_are_told_and_not_queued(
    host_url: str, broker: RabbitmqBroker, every_rankings_url: str, namespace: str
) -> None:
    events = [Event(user_id="u", metric="lessons", key=key) for key in "abac"]
    with Client(host_url, every_rankings_url, namespace=namespace) as client:
        first = client.track_many(events[:3])
        again = client.track_many(events)
        third = client.track_many(events)
    assert [receipt.duplicate for receipt in first] == [False, False, True]
    assert [receipt.duplicate for receipt in again] == [True, True, True, False]
    assert all(receipt.duplicate for receipt in third)
    assert sorted(event["key"] for event in consume(broker, 3)) == ["a", "b", "c"]


def test_without_a_redis_every_call_is_queued(host_url: str, broker: RabbitmqBroker) -> None:
    with Client(host_url) as client:
        receipts = [client.track("u", "lessons", key="k") for _ in range(2)]
    assert [receipt.duplicate for receipt in receipts] == [False, False]
    assert queued(broker) == 2


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_redis_that_is_down_holds_no_event_back(
    scheme: str, host_url: str, broker: RabbitmqBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with Client(host_url, f"{scheme}://:a-password@127.0.0.1:{port}/0") as client:
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
