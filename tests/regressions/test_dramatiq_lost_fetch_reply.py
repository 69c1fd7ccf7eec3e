"""Redis has given a worker its messages, and the connection breaks before it says so."""

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
    stock_broker,
)
from tests.waiting import wait_until
from worker.broker import open_redis_broker

MESSAGES = 10
LOST = redis.ConnectionError("the answer was lost")


@pytest.fixture(autouse=True)
def _restart_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.01)


def test_dramatiq_leaves_them_with_the_living_worker(valkey_url: str, namespace: str) -> None:
    done: list[int] = []
    with stock_broker(valkey_url, namespace) as broker:
        act = declare(broker, done.append)
        for number in range(MESSAGES):
            act.send(number)
        failed = fail_once(broker, "do_fetch", LOST, after=True)
        with working(broker) as worker:
            lost = worker.queue_prefetch
            wait_until(lambda: look(valkey_url, namespace).stored <= lost)
            maintain(valkey_url, namespace)
            assert (done, look(valkey_url, namespace)) == (
                list(range(lost, MESSAGES)),
                Places(held=lost, stored=lost),
            ), "Dramatiq finds them by now: GatheringBroker.give_back may go"
    assert failed


def test_here_they_run_while_the_worker_lives(valkey_url: str, namespace: str) -> None:
    done: list[int] = []
    broker = open_redis_broker(valkey_url, namespace)
    act = declare(broker, done.append)
    for number in range(MESSAGES):
        act.send(number)
    failed = fail_once(broker, "fetch", LOST, after=True)
    with working(broker):
        wait_until(lambda: look(valkey_url, namespace) == Places())
    assert failed
    assert sorted(done) == list(range(MESSAGES)), "each once"
    broker.client.close()
