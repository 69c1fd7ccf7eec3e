"""A worker has died, and nothing else happens on its queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dramatiq.brokers.redis import MAINTENANCE_SCALE

from tests.regressions.dramatiq import Places, declare, look, silence, stock_broker
from worker.broker import HEARTBEAT_TIMEOUT_MILLISECONDS, open_redis_broker
from worker.recovery import recover_messages
from worker.schedule import TICKS

RUNS_AGAIN_WITHIN = timedelta(seconds=90)
IDLE_POLL = timedelta(seconds=1)
"""How often a Dramatiq worker looks at a queue on which nothing is, by default."""


def test_dramatiq_leaves_it_to_chance_and_may_need_a_quarter_of_an_hour(
    valkey_url: str, namespace: str
) -> None:
    with stock_broker(valkey_url, namespace) as broker:
        expected = MAINTENANCE_SCALE / broker.maintenance_chance * IDLE_POLL
        needed = timedelta(milliseconds=broker.heartbeat_timeout) + expected
    assert needed > RUNS_AGAIN_WITHIN, (
        "Dramatiq recovers in time by now: worker/recovery.py need no longer do so"
    )


def test_here_a_tick_brings_its_messages_back_in_time(valkey_url: str, namespace: str) -> None:
    dead: Any = open_redis_broker(valkey_url, namespace)
    declare(dead, print).send()
    dead.do_fetch("events", 1)
    silence(dead)
    dead.client.close()

    broker = open_redis_broker(valkey_url, namespace)
    broker.declare_queue("events")
    assert look(valkey_url, namespace) == Places(held=1, stored=1)
    recover_messages(broker, valkey_url)
    assert look(valkey_url, namespace) == Places(waiting=1, stored=1)
    broker.client.close()

    [tick] = [one for one in TICKS if one.name == "recover-messages"]
    # It may have rung just before, and the next ring may find nobody at once.
    latest = timedelta(milliseconds=HEARTBEAT_TIMEOUT_MILLISECONDS) + 2 * tick.every
    assert latest < RUNS_AGAIN_WITHIN
