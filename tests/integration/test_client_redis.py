"""The client on a real Redis and a real Valkey: what is queued, told apart, and forgotten."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

from streakline import BrokerUnavailable, Client, Event
from streakline.contract import (
    APPLY_EVENTS_ACTOR,
    EVENTS_QUEUE,
    IDENTIFY_USERS_ACTOR,
    read_instant,
)
from streakline.redis_connection import SEEN_SECONDS
from tests.waiting import wait_until


@pytest.fixture
def redis(every_redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(every_redis_url) as connection:
        yield connection


@pytest.fixture
def client(every_redis_url: str, namespace: str) -> Iterator[Client]:
    with Client(every_redis_url, namespace=namespace) as client:
        yield client


def queued(redis: Redis, namespace: str) -> list[dict[str, Any]]:
    """The messages on the queue, in order; each has its body and no body is without its place."""
    ids: Any = redis.lrange(f"{namespace}:{EVENTS_QUEUE}", 0, -1)
    bodies: Any = redis.hgetall(f"{namespace}:{EVENTS_QUEUE}.msgs")
    assert sorted(ids) == sorted(bodies)
    return [json.loads(bodies[one]) for one in ids]


def queued_keys(redis: Redis, namespace: str) -> list[list[str]]:
    messages = queued(redis, namespace)
    return [[event["key"] for event in message["kwargs"]["events"]] for message in messages]


def events(*keys: str, value: int = 1) -> list[Event]:
    return [Event(user_id="u", metric="lessons", key=key, value=value) for key in keys]


def test_a_stock_dramatiq_worker_reads_what_the_client_sends(
    every_redis_url: str, client: Client, namespace: str
) -> None:
    received: list[dict[str, Any]] = []
    broker_class: Any = RedisBroker  # its constructor carries no types
    broker = broker_class(url=every_redis_url, namespace=namespace, middleware=[])

    @dramatiq.actor(broker=broker, queue_name=EVENTS_QUEUE, actor_name=APPLY_EVENTS_ACTOR)
    def apply_events(events: list[dict[str, Any]], received_at: str) -> None:
        received.append({"events": events, "received_at": received_at})

    @dramatiq.actor(broker=broker, queue_name=EVENTS_QUEUE, actor_name=IDENTIFY_USERS_ACTOR)
    def identify_users(users: list[dict[str, Any]], received_at: str) -> None:
        received.append({"users": users, "received_at": received_at})

    client.track("u", "lessons", value="2.5", key="k", user={"name": "日本"})
    client.identify("u", tz="Asia/Tokyo", attributes={"plan": "pro"})
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=10)
    worker.start()
    try:
        wait_until(lambda: len(received) == 2)
        broker.join(EVENTS_QUEUE, interval=10, timeout=10_000)
    finally:
        worker.stop()
        broker.client.close()
    for message in received:
        read_instant("received_at", message.pop("received_at"))
    event = {"user_id": "u", "metric": "lessons", "value": "2.5", "key": "k"}
    assert received == [
        {"events": [event | {"user": {"name": "日本"}}]},
        {"users": [{"user_id": "u", "tz": "Asia/Tokyo", "attributes": {"plan": "pro"}}]},
    ]


def test_the_producer_is_not_registered_among_dramatiqs_workers(
    client: Client, redis: Redis, namespace: str
) -> None:
    """Maintenance runs KEYS once for each of them that has died."""
    client.track("u", "lessons", key="k")
    assert not redis.exists(f"{namespace}:__heartbeats__")


def test_an_event_without_key_is_queued_each_time_and_leaves_no_mark_s10(
    client: Client, redis: Redis, namespace: str
) -> None:
    assert [client.track("u", "lessons").duplicate for _ in range(2)] == [False, False]
    first, second = queued_keys(redis, namespace)
    assert first != second
    assert not list(redis.scan_iter(f"{namespace}:seen:*"))


def test_what_was_seen_is_kept_in_few_keys_that_expire(
    client: Client, redis: Redis, namespace: str
) -> None:
    for number in range(20):
        client.track("u", "lessons", key=f"k{number}")
    names = list(redis.scan_iter(f"{namespace}:seen:*"))
    assert 1 <= len(names) <= 2  # two where a slot ended while this ran
    assert sum(int(redis.scard(name)) for name in names) == 20
    assert all(0 < int(redis.ttl(name)) <= SEEN_SECONDS for name in names)


def test_what_was_seen_in_the_slot_before_is_still_known(
    client: Client, redis: Redis, namespace: str
) -> None:
    client.track("u", "lessons", key="k")
    [name] = list(redis.scan_iter(f"{namespace}:seen:*"))
    slot = int(name.decode().rpartition(":")[2])
    redis.rename(name, f"{namespace}:seen:{slot - 1}")
    assert client.track("u", "lessons", key="k").duplicate
    redis.rename(f"{namespace}:seen:{slot - 1}", f"{namespace}:seen:{slot - 2}")
    assert not client.track("u", "lessons", key="k").duplicate


def test_what_was_seen_takes_no_more_room_however_much_comes(
    client: Client, redis: Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streakline.redis_transport.SEEN_MAX", 10)
    for start in range(0, 60, 5):
        client.track_many(events(*(f"k{number}" for number in range(start, start + 5))))
        names = list(redis.scan_iter(f"{namespace}:seen:*"))
        # two sets, and a third where a slot ended while this ran
        assert sum(int(redis.scard(name)) for name in names) <= 10 * len(names)
        assert len(names) <= 3
    assert all(0 < int(redis.ttl(name)) <= SEEN_SECONDS for name in names)
    assert all(receipt.duplicate for receipt in client.track_many(events("k50", "k59")))
    assert not client.track_many(events("k0"))[0].duplicate


def test_of_many_threads_with_the_same_events_one_gets_each_through(
    client: Client, redis: Redis, namespace: str
) -> None:
    keys = [f"k{i}" for i in range(40)]
    start = threading.Barrier(8)

    def track(thread: int) -> list[tuple[str | None, bool]]:
        start.wait()
        rotated = keys[thread * 5 :] + keys[: thread * 5]
        batches = [rotated[i : i + 10] for i in range(0, 40, 10)]
        receipts = [one for batch in batches for one in client.track_many(events(*batch))]
        return [(one.event.key, one.duplicate) for one in receipts]

    with ThreadPoolExecutor(8) as threads:
        told = [pair for pairs in threads.map(track, range(8)) for pair in pairs]
    assert sorted(key for batch in queued_keys(redis, namespace) for key in batch) == sorted(keys)
    assert sorted(key for key, duplicate in told if not duplicate and key) == sorted(keys)


def test_a_redis_that_refuses_the_command_has_not_confirmed(
    client: Client, redis: Redis, namespace: str
) -> None:
    redis.set(f"{namespace}:{EVENTS_QUEUE}", "no list")
    with pytest.raises(BrokerUnavailable, match="WRONGTYPE") as caught:
        client.track("u", "lessons", key="k")
    assert [event.key for event in caught.value.events] == ["k"]
