"""A message is done, and Redis does not answer in time when it is to hear so."""

from __future__ import annotations

import dramatiq.worker
import pytest
import redis

from tests.brokers import working
from tests.regressions.dramatiq import (
    Places,
    declare,
    fail_once,
    look,
    maintain,
    silence,
    stock_broker,
)
from tests.waiting import wait_until
from worker.broker import open_redis_broker

TIMEOUT = redis.TimeoutError("Timeout reading from socket")


@pytest.fixture(autouse=True)
def _restart_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.01)


def test_dramatiq_gives_up_and_the_message_runs_again_one_day(
    valkey_url: str, namespace: str
) -> None:
    done: list[int] = []
    with stock_broker(valkey_url, namespace) as broker:
        act = declare(broker, done.append)
        failed = fail_once(broker, "do_ack", TIMEOUT)
        act.send(1)
        with working(broker):
            wait_until(lambda: failed)
            act.send(2)
            wait_until(lambda: len(done) == 2 and look(valkey_url, namespace).stored <= 1)
        assert look(valkey_url, namespace) == Places(held=1, stored=1), (
            "Dramatiq tries again by now: GatheringBroker.acknowledge may go, were it not faster"
        )
        silence(broker)
    maintain(valkey_url, namespace)
    assert look(valkey_url, namespace) == Places(waiting=1, stored=1)


def test_here_it_is_told_again_and_no_message_runs_twice(valkey_url: str, namespace: str) -> None:
    done: list[int] = []
    broker = open_redis_broker(valkey_url, namespace)
    act = declare(broker, done.append)
    failed = fail_once(broker, "_acknowledge", TIMEOUT)
    act.send(1)
    with working(broker):
        wait_until(lambda: failed)
        act.send(2)
        wait_until(lambda: look(valkey_url, namespace) == Places())
    assert done == [1, 2]
    broker.client.close()
