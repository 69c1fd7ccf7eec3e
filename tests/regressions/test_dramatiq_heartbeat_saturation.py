"""A worker has its hands full, so that it fetches nothing for a while."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import dramatiq.worker
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name

from tests.brokers import working
from tests.regressions.dramatiq import (
    QUEUE,
    Places,
    declare,
    last_beat,
    look,
    maintain,
    silence,
    stock_broker,
)
from tests.settings import make_settings
from tests.waiting import wait_until
from worker import serving
from worker.recovery import recover_messages
from worker.runtime import Runtime, open_runtime

ONE_HOUR_MILLISECONDS = 3_600_000
HEARTBEAT_TIMEOUT_MILLISECONDS = 100


class Long:
    """An actor's function that runs until it is told to end."""

    def __init__(self) -> None:
        self.begun = Event()
        self.ended = Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.ended.wait(60)


def test_dramatiq_lets_what_still_runs_be_given_to_another(
    valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dramatiq.worker, "QUEUE_PREFETCH", 1)
    monkeypatch.setattr(dramatiq.worker, "DELAY_QUEUE_PREFETCH", 1)
    long = Long()
    with stock_broker(
        valkey_url, namespace, heartbeat_timeout=HEARTBEAT_TIMEOUT_MILLISECONDS
    ) as broker:
        act = declare(broker, long)
        act.send_with_options(delay=ONE_HOUR_MILLISECONDS)
        act.send()
        with working(broker):
            assert long.begun.wait(30)
            wait_until(
                lambda: _given_away(valkey_url, namespace),
                message="it is given away; if Dramatiq beats by now, serving._beat may go",
            )
            assert not long.ended.is_set()
            long.ended.set()


def _given_away(url: str, namespace: str) -> bool:
    maintain(url, namespace, heartbeat_timeout=HEARTBEAT_TIMEOUT_MILLISECONDS)
    return look(url, namespace) == Places(waiting=1, stored=1)


@pytest.fixture
def runtime(valkey_url: str, database_url: str, namespace: str) -> Iterator[Runtime]:
    settings = make_settings(database_url, valkey_url, namespace)
    with open_runtime(settings, threads=1) as runtime:
        yield runtime


def test_here_the_worker_says_that_it_lives(
    runtime: Runtime, valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping, long, broker = Event(), Long(), runtime.broker
    assert isinstance(broker, RedisBroker)
    monkeypatch.setattr(serving, "_stop_on_signals", lambda: stopping)
    monkeypatch.setattr(serving, "collect_rarely", lambda: None)
    monkeypatch.setattr(serving, "_share_memory", lambda: None)
    monkeypatch.setattr(serving, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(dramatiq.worker, "DELAY_QUEUE_PREFETCH", 1)
    act: Any = declare(broker, long)
    act.send_with_options(delay=ONE_HOUR_MILLISECONDS)
    act.send()
    worker = Thread(target=serving.run_worker, args=(runtime, [QUEUE], 1))
    worker.start()
    try:
        assert long.begun.wait(30)
        wait_until(lambda: look(valkey_url, namespace, dq_name(QUEUE)).held, message="both full")
        silence(broker)
        silent_since = last_beat(broker)
        wait_until(lambda: last_beat(broker) > silent_since)
        recover_messages(broker, valkey_url)
        assert look(valkey_url, namespace) == Places(held=1, stored=1)
    finally:
        long.ended.set()
        stopping.set()
        worker.join()
