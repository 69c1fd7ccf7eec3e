"""The client on Valkey, Redis and RabbitMQ: what is queued and what is told apart, alike on all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from streakline import AsyncClient, Client, Event
from streakline.contract import EVENTS_QUEUE
from streakline.rabbitmq_transport import QuorumBroker
from tests.brokers import peek

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A broker's address, that of the Redis beside it, and what is on its queue, in order."""

    urls: tuple[str, str]
    queued: Callable[[], list[Message]]

    def queued_keys(self) -> list[list[str]]:
        return [[event["key"] for event in one["kwargs"]["events"]] for one in self.queued()]


@pytest.fixture(params=["embedded", "running", "rabbitmq"])
def queue(request: pytest.FixtureRequest, valkey_url: str, namespace: str) -> Iterator[Queue]:
    if request.param == "rabbitmq":
        url = str(request.getfixturevalue("rabbitmq_url"))
        with closing(QuorumBroker(url)) as broker:
            broker.declare_queue(EVENTS_QUEUE, ensure=True)
            yield Queue(
                urls=(url, valkey_url),
                queued=lambda: [json.loads(body) for body in peek(broker, EVENTS_QUEUE)],
            )
        return
    name = "valkey_url" if request.param == "embedded" else "running_redis_url"
    url = str(request.getfixturevalue(name))
    with Redis.from_url(url) as redis:
        yield Queue(urls=(url, url), queued=lambda: queued_in_redis(redis, namespace))


def queued_in_redis(redis: Redis, namespace: str) -> list[Message]:
    """The messages on the queue; each has its body and no body is without its place."""
    ids: Any = redis.lrange(f"{namespace}:{EVENTS_QUEUE}", 0, -1)
    bodies: Any = redis.hgetall(f"{namespace}:{EVENTS_QUEUE}.msgs")
    assert sorted(ids) == sorted(bodies)
    return [json.loads(bodies[one]) for one in ids]


@pytest.fixture
def client(queue: Queue, namespace: str) -> Iterator[Client]:
    with Client(*queue.urls, namespace=namespace) as client:
        yield client


def events(*keys: str, value: int = 1) -> list[Event]:
    return [Event(user_id="u", metric="lessons", key=key, value=value) for key in keys]


def test_a_repeat_is_told_and_not_queued_and_a_conflict_is_queued_s11(
    client: Client, queue: Queue
) -> None:
    [first], [repeat], [conflict] = (
        client.track_many(events("k", value=value)) for value in (1, 1, 2)
    )
    assert [first.duplicate, repeat.duplicate, conflict.duplicate] == [False, True, False]
    assert first.event_id == repeat.event_id == conflict.event_id
    values = [message["kwargs"]["events"][0]["value"] for message in queue.queued()]
    assert values == ["1", "2"]


def test_only_the_unseen_events_of_a_call_are_queued(client: Client, queue: Queue) -> None:
    client.track_many(events("a", "c"))
    receipts = client.track_many(events("a", "b", "c", "d", "b"))
    assert [receipt.duplicate for receipt in receipts] == [True, False, True, False, True]
    assert all(receipt.duplicate for receipt in client.track_many(events("a", "d")))
    assert queue.queued_keys() == [["a", "c"], ["b", "d"]]


def test_a_long_call_is_split_into_messages_of_500(client: Client, queue: Queue) -> None:
    keys = [f"k{i}" for i in range(1201)]
    receipts = client.track_many(events(*keys))
    assert [receipt.event.key for receipt in receipts] == keys
    assert [len(batch) for batch in queue.queued_keys()] == [500, 500, 201]
    assert all(receipt.duplicate for receipt in client.track_many(events(*keys)))
    assert len(queue.queued()) == 3


def test_an_event_without_time_is_queued_without_it_s11(client: Client, queue: Queue) -> None:
    client.track("u", "lessons", key="k")
    [message] = queue.queued()
    assert message["kwargs"]["events"] == [
        {"user_id": "u", "metric": "lessons", "value": "1", "key": "k"}
    ]


def test_a_buffer_puts_its_events_on_the_queue_together(client: Client, queue: Queue) -> None:
    with client.buffer(max_delay_ms=60_000) as buffer:
        for key in ("a", "b", "a"):
            buffer.track("u", "lessons", key=key)
        assert queue.queued() == []
    assert queue.queued_keys() == [["a", "b"]]


async def _track_at_once(urls: tuple[str, str], namespace: str) -> list[bool]:
    async with AsyncClient(*urls, namespace=namespace) as client:
        receipts = await asyncio.gather(
            *(client.track("u", "lessons", key=f"k{i % 5}") for i in range(20))
        )
        await client.identify("u", name="Ada")
    return [receipt.duplicate for receipt in receipts]


def test_the_async_client_awaits_any_number_at_once(queue: Queue, namespace: str) -> None:
    duplicates = asyncio.run(_track_at_once(queue.urls, namespace))
    queued = len(queue.queued()) - 1  # but for the one about the user
    assert queued == duplicates.count(False)
    assert 5 <= queued <= 20  # in RabbitMQ equal calls at once may all be queued


def test_a_closed_client_connects_anew(client: Client) -> None:
    client.track("u", "lessons", key="k")
    client.close()
    assert client.track("u", "lessons", key="k").duplicate
