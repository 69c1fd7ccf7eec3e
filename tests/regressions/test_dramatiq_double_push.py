"""The answer to an enqueueing was lost, and redis-py asks once more by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq.brokers.redis import RedisBroker

from streakline import Client
from tests.brokers import working
from tests.proxy import Proxy, proxying_url
from tests.regressions.dramatiq import Places, declare, look
from tests.waiting import wait_until

MENDED = "it is pushed once by now: our script in client/streakline need not look"


@pytest.fixture
def proxied(valkey_url: str) -> Iterator[tuple[Proxy, str]]:
    with proxying_url(valkey_url) as proxied:
        yield proxied


def test_dramatiq_pushes_the_message_twice_and_it_runs_twice(
    proxied: tuple[Proxy, str], valkey_url: str, namespace: str
) -> None:
    proxy, _ = proxied
    done: list[int] = []
    broker = RedisBroker(host="127.0.0.1", port=proxy.port, namespace=namespace)  # type: ignore[no-untyped-call] # its __init__ has no types
    act = declare(broker, done.append)
    broker.client.ping()  # connected
    broker.scripts["dispatch"].sha = broker.client.script_load(broker.scripts["dispatch"].script)
    broker._max_unpack_size()  # type: ignore[no-untyped-call] # as above
    proxy.lose_some(1)
    act.send(1)
    assert look(valkey_url, namespace) == Places(waiting=2, stored=1), MENDED
    with working(broker):
        wait_until(lambda: len(done) == 2, message=MENDED)
    broker.client.close()


def test_here_an_event_is_pushed_once(
    proxied: tuple[Proxy, str], valkey_url: str, namespace: str
) -> None:
    proxy, url = proxied
    with Client(url, namespace=namespace) as client:
        client.track("u", "lessons", key="warming-up")  # connected, and the script is loaded
        proxy.lose_some(1)
        receipt = client.track("u", "lessons", key="k")
    assert proxy.replies_to_lose == 0
    assert not receipt.duplicate
    assert look(valkey_url, namespace) == Places(waiting=2, stored=2), "one message an event"
