"""Connections that are refused, cut and lost, with a small proxy between client and Valkey."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from streakline import BrokerUnavailable, Client, Event
from streakline.contract import EVENTS_QUEUE
from tests.proxy import Proxy, proxying_url
from tests.waiting import wait_until

ALWAYS = 10**9


@pytest.fixture
def proxied(valkey_url: str) -> Iterator[tuple[Proxy, str]]:
    with proxying_url(valkey_url) as proxied:
        yield proxied


@pytest.fixture
def proxy(proxied: tuple[Proxy, str]) -> Proxy:
    return proxied[0]


@pytest.fixture
def client(proxied: tuple[Proxy, str], namespace: str) -> Iterator[Client]:
    with Client(proxied[1], namespace=namespace) as client:
        client.track("u", "warming-up")  # connected, and the script is loaded
        yield client


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    with Redis.from_url(valkey_url) as connection:
        yield connection


def lessons(redis: Redis, namespace: str) -> list[str]:
    """The keys of the lessons on the queue, in order, repeats and all."""
    ids: Any = redis.lrange(f"{namespace}:{EVENTS_QUEUE}", 0, -1)
    bodies: Any = redis.hgetall(f"{namespace}:{EVENTS_QUEUE}.msgs")
    queued = [event for one in ids for event in json.loads(bodies[one])["kwargs"]["events"]]
    return [event["key"] for event in queued if event["metric"] == "lessons"]


@pytest.mark.parametrize("key", ["k", None])
def test_a_lost_answer_is_asked_for_again_and_nothing_is_pushed_twice(
    client: Client, proxy: Proxy, redis: Redis, namespace: str, key: str | None
) -> None:
    proxy.lose_some(1)
    receipt = client.track("u", "lessons", key=key)
    assert proxy.replies_to_lose == 0
    assert not receipt.duplicate
    assert lessons(redis, namespace) == [receipt.event.key]


def test_events_that_were_not_confirmed_can_be_sent_again_as_they_are(
    client: Client, proxy: Proxy, redis: Redis, namespace: str
) -> None:
    """Each has its key, so even those that did arrive count once; and its time, so none moves."""
    proxy.lose_some(ALWAYS)
    with pytest.raises(BrokerUnavailable, match="send the same again") as caught:
        client.track("u", "lessons")
    [event] = caught.value.events
    assert event.key is not None
    assert event.occurred_at is not None
    proxy.lose_some(0)
    receipt = client.track_many(caught.value.events)[0]
    assert set(lessons(redis, namespace)) == {event.key}
    assert receipt.event == event
    assert client.track_many(caught.value.events)[0].duplicate


def test_what_was_confirmed_is_not_among_the_events_of_the_error(
    client: Client, proxy: Proxy
) -> None:
    proxy.lose_some(ALWAYS, after=1)
    keys = [f"k{i}" for i in range(700)]
    with pytest.raises(BrokerUnavailable) as caught:
        client.track_many(Event(user_id="u", metric="lessons", key=key) for key in keys)
    assert [event.key for event in caught.value.events] == keys[500:]


def test_a_buffer_outlives_a_broker_that_is_away(
    client: Client, proxy: Proxy, redis: Redis, namespace: str
) -> None:
    with client.buffer(max_delay_ms=1) as buffer:
        proxy.lose_some(ALWAYS)
        buffer.track("u", "lessons", key="k", attributes={"n": "1"})
        with pytest.raises(BrokerUnavailable):
            buffer.flush()
        proxy.lose_some(0)
        wait_until(lambda: "k" in lessons(redis, namespace))
    assert set(lessons(redis, namespace)) == {"k"}


def test_no_broker_is_an_error_that_names_it_without_its_password() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    client = Client(f"redis://app:a-password@127.0.0.1:{port}/0")
    with pytest.raises(BrokerUnavailable, match=f"app:\\*\\*\\*@127.0.0.1:{port}") as caught:
        client.track("u", "lessons", key="k")
    assert "a-password" not in str(caught.value)
    assert isinstance(caught.value, ConnectionError)
    with pytest.raises(BrokerUnavailable) as caught:
        client.identify("u", tz="UTC")
    assert caught.value.events == ()


def test_a_wrong_password_is_an_unavailable_broker_too(proxy: Proxy, namespace: str) -> None:
    url = f"redis://nobody:a-password@127.0.0.1:{proxy.port}/0"
    with (
        Client(url, namespace=namespace) as client,
        pytest.raises(BrokerUnavailable, match="AuthenticationError") as caught,
    ):
        client.track("u", "lessons", key="k")
    assert "a-password" not in str(caught.value)
