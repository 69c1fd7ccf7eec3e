"""Maintenance looks through all keys of the database once for each client that fell silent."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from streakline import Client
from streakline.addresses import place_redis
from tests.regressions.dramatiq import (
    QUEUE,
    count_calls,
    declare,
    maintain,
    silence,
    stock_broker,
)
from worker.broker import open_redis_broker
from worker.recovery import recover_messages

PRODUCERS = 20


def silent(url: str, namespace: str) -> int:
    """Return how many clients Dramatiq takes for workers."""
    with Redis.from_url(url) as redis:
        found: Any = redis.zcard(f"{namespace}:__heartbeats__")
    return int(found)


def test_dramatiq_runs_keys_once_for_each_backend_that_has_sent_something(
    valkey_url: str, namespace: str
) -> None:
    for _ in range(PRODUCERS):
        # Else one command in a thousand does the maintenance, before all have fallen silent.
        with stock_broker(valkey_url, namespace, maintenance_chance=0) as broker:
            declare(broker, print).send()
            silence(broker)
    before = count_calls(valkey_url, "keys")
    maintain(valkey_url, namespace)
    assert count_calls(valkey_url, "keys") - before == PRODUCERS, (
        "Dramatiq looks no longer through all keys: its broker may share a database by now"
    )


def test_here_backends_leave_nothing_to_look_for(valkey_url: str, namespace: str) -> None:
    for number in range(PRODUCERS):
        with Client(valkey_url, namespace=namespace) as client:
            client.track("u", "lessons", key=str(number))
    assert silent(valkey_url, namespace) == 0
    broker = open_redis_broker(valkey_url, namespace)
    broker.declare_queue(QUEUE)
    before = count_calls(valkey_url, "keys")
    assert recover_messages(broker, valkey_url) == 0
    assert count_calls(valkey_url, "keys") == before
    assert silent(valkey_url, namespace) == 0, "the recovery is no worker either"
    broker.client.close()


@pytest.mark.parametrize("url", ["redis://h:6379/0", "redis://h", "unix:///s?db=3"])
def test_here_rankings_are_in_another_database_than_the_broker(url: str) -> None:
    broker, rest = place_redis(url, None)
    assert broker == url
    assert rest is not None
    assert _database(rest) == _database(url) + 1


def _database(url: str) -> int:
    with Redis.from_url(url) as client:
        return int(client.get_connection_kwargs().get("db") or 0)
