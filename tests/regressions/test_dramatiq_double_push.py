"""The answer to an enqueueing was lost, and redis-py asks once more by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq.brokers.redis import RedisBroker

from streakline import Client
from tests.brokers import working
from tests.losing import Proxy
from tests.regressions.dramatiq import Places, declare, look
from tests.waiting import wait_until

MENDED = "it is pushed once by now: our script in client/streakline need not look"


@pytest.fixture
def proxy(valkey_url: str) -> Iterator[Proxy]:
    proxy = Proxy(valkey_url)
    yield proxy
    proxy.close()


def test_dramatiq_pushes_the_message_twice_and_it_runs_twice(
    proxy: Proxy, valkey_url: str, namespace: str
) -> None:
    done: list[int] = []
    broker = RedisBroker(host="127.0.0.1", port=proxy.port, namespace=namespace)  # type: ignore[no-untyped-call] # its __init__ has no types
    act = declare(broker, done.append)
    broker.client.ping()  # connected
    broker.scripts["dispatch"].sha = broker.client.script_load(broker.scripts["dispatch"].script)
    broker._max_unpack_size()  # type: ignore[no-untyped-call] # as above
    proxy.lose_answers(1)
    act.send(1)
    assert look(valkey_url, namespace) == Places(waiting=2, stored=1), MENDED
    with working(broker):
        wait_until(lambda: len(done) == 2, message=MENDED)
    broker.client.close()


def test_here_an_event_is_pushed_once(proxy: Proxy, valkey_url: str, namespace: str) -> None:
    with Client(proxy.url, namespace=namespace) as client:
        client.track("u", "lessons", key="warming-up")  # connected, and the script is loaded
        proxy.lose_answers(1)
        receipt = client.track("u", "lessons", key="k")
    assert proxy.answers_to_lose == 0
    assert not receipt.duplicate
    assert look(valkey_url, namespace) == Places(waiting=2, stored=2), "one message an event"
