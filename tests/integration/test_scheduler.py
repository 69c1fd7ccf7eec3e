"""The scheduler on a real broker: each ring is a message that names its slot."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import dramatiq
import pytest
from dramatiq import Message

from worker.broker import open_redis_broker
from worker.schedule import STALE_SLOTS, SWEEPS_QUEUE, TICKS, Tick
from worker.scheduler import build_scheduler, is_ringing

NOW = datetime(2026, 11, 23, 9, 0, 3, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("tick", TICKS, ids=lambda tick: tick.name)
def test_a_ring_puts_one_message_on_the_queue_that_names_its_slot(
    tick: Tick, valkey_url: str, namespace: str
) -> None:
    """Two schedulers that ring late and on time name the same slot: one claims it."""
    broker: Any = open_redis_broker(valkey_url, namespace)
    dramatiq.actor(broker=broker, queue_name=SWEEPS_QUEUE, actor_name=tick.actor_name)(print)
    late = tick.next_slot(NOW) - tick.every / 1000
    try:
        for now in (tick.slot(NOW), late):
            job = build_scheduler(broker, partial(_same, now)).get_job(tick.name)
            job.func(*job.args)
        messages = [Message.decode(data) for data in broker.do_fetch(SWEEPS_QUEUE, 10)]
    finally:
        broker.client.close()
    slot = tick.slot(NOW).isoformat()
    assert [(one.actor_name, one.args) for one in messages] == [(tick.actor_name, (slot,))] * 2


def test_a_scheduler_whose_ticks_do_not_ring_is_not_well(valkey_url: str, namespace: str) -> None:
    broker: Any = open_redis_broker(valkey_url, namespace)
    scheduler = build_scheduler(broker, partial(_same, NOW))
    try:
        assert not is_ringing(scheduler, NOW), "not started"
        scheduler.start(paused=True)
        now = datetime.now(UTC)
        assert is_ringing(scheduler, now)
        shortest = min(tick.every for tick in TICKS)
        assert not is_ringing(scheduler, now + (STALE_SLOTS + 1) * shortest + shortest)
    finally:
        scheduler.shutdown()
        broker.client.close()


def _same(now: datetime) -> datetime:
    return now
