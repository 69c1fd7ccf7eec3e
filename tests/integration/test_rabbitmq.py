"""What is RabbitMQ's own: its queues, its connections, and what it says when it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name
from dramatiq.errors import BrokerConnectionError, ConnectionClosed
from redis import Redis

from streakline import BrokerUnavailable, Client
from streakline.contract import EVENTS_QUEUE, IDENTIFY_USERS_ACTOR
from streakline.redis_connection import open_redis
from tests.brokers import opened_broker, peek, working
from tests.servers import control_rabbitmq, delete_queues, free_port
from tests.waiting import wait_until
from worker import recovery
from worker.broker import open_broker
from worker.outages import is_outage, reason_of
from worker.queues import read_applied_until, read_waiting
from worker.rabbitmq import TellingBroker
from worker.recovery import recover_messages

QUEUE = EVENTS_QUEUE


@pytest.fixture
def broker(rabbitmq_url: str, valkey_url: str, namespace: str) -> Iterator[TellingBroker]:
    with opened_broker(rabbitmq_url, valkey_url, namespace) as broker:
        assert isinstance(broker, TellingBroker)
        broker.declare_queue(QUEUE, ensure=True)
        yield broker


def declare(broker: TellingBroker, runs: list[int]) -> dramatiq.Actor[[int], None]:
    return dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="act")(runs.append)


def host_of(url: str) -> str:
    """Return the virtual host."""
    return urlsplit(url).path.strip("/")


def cut_connections(url: str) -> None:
    """Let RabbitMQ close all connections to a virtual host."""
    control_rabbitmq("close_all_connections", "--vhost", host_of(url), "cut by a test")


def reject(broker: TellingBroker, count: int) -> None:
    """Take messages and reject them, as where neither retry nor Postgres is to be had."""
    consumer: Any = broker.consume(QUEUE, prefetch=count, timeout=100)
    for _ in range(count):
        consumer.nack(wait_until(lambda: next(consumer)))
    consumer.close()
    wait_until(lambda: broker.get_queue_message_counts(QUEUE)[2] == count)


def test_rejected_messages_come_back_whole_and_in_parts(
    broker: TellingBroker, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REJECTED_PER_RUN_MAX", 2)
    act = declare(broker, [])
    sent = {act.send(number).encode() for number in range(5)}
    reject(broker, 5)
    assert set(peek(broker, xq_name(QUEUE))) == sent
    assert [recover_messages(broker, rabbitmq_url) for _ in range(4)] == [2, 2, 1, 0]
    assert set(peek(broker, QUEUE)) == sent


def test_threads_that_need_a_new_queue_at_once_find_one_that_runs(
    broker: TellingBroker, rabbitmq_url: str
) -> None:
    """RabbitMQ answers the second who declares it before it runs, and then closes his connection.

    Without taking turns each of five runs of this test failed.
    """
    threads = 3
    at_once = Barrier(threads)

    def look(_: int) -> list[bytes]:
        at_once.wait()
        broker.declare_queue(QUEUE, ensure=True)
        return peek(broker, xq_name(QUEUE))

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(40):
            delete_queues(rabbitmq_url)
            broker.queues_pending.add(QUEUE)
            assert list(pool.map(look, range(threads))) == [[]] * threads


def test_all_queues_are_quorum_queues_and_keep_what_they_hold_for_good(
    broker: TellingBroker, rabbitmq_url: str
) -> None:
    del broker  # which has declared them
    words = ("name", "type", "arguments", "--formatter", "json", "--quiet")
    found = json.loads(control_rabbitmq("list_queues", "-p", host_of(rabbitmq_url), *words))
    assert {(one["name"], one["type"]) for one in found} == {
        (QUEUE, "quorum"),
        (dq_name(QUEUE), "quorum"),
        (xq_name(QUEUE), "quorum"),
    }
    assert "ttl" not in str(found)


def test_what_a_cut_connection_held_runs_again_and_senders_connect_anew(
    broker: TellingBroker, rabbitmq_url: str
) -> None:
    runs: list[int] = []
    names: list[str] = []
    act = declare(broker, runs)
    dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name=IDENTIFY_USERS_ACTOR)(
        lambda users, received_at: names.append(users[0]["name"])
    )
    act.send(1)
    held: Any = broker.consume(QUEUE, prefetch=8, timeout=100)
    wait_until(lambda: next(held))
    with Client(rabbitmq_url) as client:
        client.identify("u", name="before")
        cut_connections(rabbitmq_url)
        client.identify("u", name="after")
    with pytest.raises(ConnectionClosed):
        wait_until(lambda: next(held))
    act.send(2)
    assert broker.count_waiting(QUEUE) == (4, 0)
    with working(broker):
        wait_until(lambda: (sorted(runs), sorted(names)) == ([1, 2], ["after", "before"]))


def test_while_the_rankings_redis_is_away_messages_run_untold(
    rabbitmq_url: str, namespace: str
) -> None:
    runs: list[int] = []
    with open_redis(f"redis://127.0.0.1:{free_port()}/0") as nowhere:
        broker = open_broker(rabbitmq_url, namespace, nowhere)
        assert isinstance(broker, TellingBroker)
        declare(broker, runs).send(1)
        with working(broker):
            wait_until(lambda: runs == [1])
            wait_until(lambda: broker.count_waiting(QUEUE)[0] == 0)
        broker.close()


def test_what_nobody_has_taken_is_not_known_to_be_applied(broker: TellingBroker) -> None:
    now = datetime.now(UTC)
    assert read_applied_until(broker, now) is None, "nobody takes any"
    act = declare(broker, [])
    act.send(1)
    assert read_applied_until(broker, now) is None
    assert read_waiting(broker, now).messages == 1


def test_what_a_dead_worker_told_is_forgotten(
    broker: TellingBroker, valkey_url: str, namespace: str
) -> None:
    act = declare(broker, [])
    act.send(1)
    held: Any = broker.consume(QUEUE, prefetch=8, timeout=100)
    wait_until(lambda: next(held))
    assert broker.takers.read()[QUEUE].messages == 1
    with Redis.from_url(valkey_url) as redis:
        [told] = redis.scan_iter(match=f"{namespace}:taken:*")
        assert 0 < int(redis.ttl(told)) <= 15
        redis.delete(told)  # as when its time has come
        assert broker.takers.read() == {}
        assert not redis.exists(f"{namespace}:takers")
    held.close()


WRONG_URLS = {
    "password": ("amqp://guest:wrong@{host}/{path}", "its user or password is wrong"),
    "virtual host": ("amqp://{user}@{host}/nowhere", "names a virtual host that is not there"),
    "port": ("amqp://{user}@127.0.0.1:1/{path}", "cannot be reached"),
    "name": ("amqp://{user}@nowhere.invalid/{path}", "cannot be reached"),
}


@pytest.mark.parametrize("wrong", WRONG_URLS)
def test_a_wrong_url_is_named_with_what_is_wrong_with_it(
    wrong: str, rabbitmq_url: str, valkey_url: str, namespace: str
) -> None:
    parts = urlsplit(rabbitmq_url)
    user, _, host = parts.netloc.rpartition("@")
    url, reason = WRONG_URLS[wrong]
    url = url.format(user=user, host=host, path=parts.path.strip("/"))
    with opened_broker(url, valkey_url, namespace) as broker:
        assert isinstance(broker, TellingBroker)
        with pytest.raises(BrokerConnectionError) as caught:
            broker.describe()
    assert is_outage(caught.value)
    told = reason_of(caught.value)
    assert told is not None
    assert reason in told
    assert "STREAKLINE_BROKER_URL" in told
    assert "wrong@" not in told


def test_a_queue_that_was_made_otherwise_is_named_with_what_to_do(
    broker: TellingBroker, rabbitmq_url: str, valkey_url: str, namespace: str
) -> None:
    for name in (QUEUE, dq_name(QUEUE), xq_name(QUEUE)):
        broker.channel.queue_delete(name)
    stock = RabbitmqBroker(url=rabbitmq_url, middleware=[])
    stock.declare_queue(QUEUE, ensure=True)
    stock.close()
    with opened_broker(rabbitmq_url, valkey_url, namespace) as other:
        assert isinstance(other, TellingBroker)
        with pytest.raises(BrokerConnectionError, match="PRECONDITION_FAILED") as caught:
            other.describe()
        assert "delete it once it is empty" in str(reason_of(caught.value))
    with (
        Client(rabbitmq_url) as client,
        pytest.raises(BrokerUnavailable, match="PRECONDITION_FAILED"),
    ):
        client.track("u", "lessons")
