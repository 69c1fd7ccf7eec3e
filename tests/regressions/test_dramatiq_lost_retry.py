"""A message failed, and its retry could not be enqueued."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name, xq_name
from sqlalchemy import Engine

from tests.applying import opened
from tests.brokers import working
from tests.regressions.dramatiq import (
    QUEUE,
    Places,
    declare,
    look,
    stock_broker,
)
from tests.waiting import wait_until
from worker.broker import open_redis_broker
from worker.recovery import recover_messages
from worker.retries import RetryOrKeep

GONE = redis.ConnectionError("gone while the retry was enqueued")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        yield engine


class Act:
    """Fails once."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> None:
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError("once")


def fail_a_retry(broker: RedisBroker) -> list[str]:
    """Let the first message that is to be delayed not reach the queue."""
    enqueue = broker.enqueue
    failed: list[str] = []

    def failing(message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        if delay is not None and not failed:
            failed.append("enqueue")
            raise GONE
        return enqueue(message, delay=delay)

    broker.enqueue = failing  # type: ignore[method-assign]
    return failed


def test_dramatiq_acknowledges_the_message_and_it_is_lost(valkey_url: str, namespace: str) -> None:
    act = Act()
    with stock_broker(valkey_url, namespace) as broker:
        failed = fail_a_retry(broker)
        sent = declare(broker, act, max_retries=5, min_backoff=1, max_backoff=2)
        with working(broker):
            sent.send()
            wait_until(
                lambda: failed and look(valkey_url, namespace) == Places(),
                message="it is lost; if Dramatiq keeps it by now, worker/retries.py may go",
            )
    places = [look(valkey_url, namespace, name) for name in (dq_name(QUEUE), xq_name(QUEUE))]
    assert places == [Places(), Places()]
    assert act.runs == 1


def test_here_it_is_rejected_and_comes_back(
    valkey_url: str, namespace: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = Act()
    broker = open_redis_broker(valkey_url, namespace, [RetryOrKeep(engine)])
    failed = fail_a_retry(broker)
    with working(broker):
        declare(broker, act).send()
        wait_until(lambda: recover_messages(broker, valkey_url) == 1)
        wait_until(lambda: act.runs == 2 and look(valkey_url, namespace) == Places())
    assert failed
    broker.client.close()
