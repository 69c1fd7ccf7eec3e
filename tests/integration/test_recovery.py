"""What a dead worker held and what was rejected goes back on the queue, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dramatiq
import pytest
from dramatiq.common import current_millis, dq_name
from redis import Redis

from worker import recovery
from worker.broker import HEARTBEAT_TIMEOUT_MILLISECONDS, open_redis_broker
from worker.recovery import recover_messages

QUEUE = "events"
LEEWAY_MILLISECONDS = 10_000
"""Far more than a test takes between two commands."""


class Held:
    """A namespace with workers that take messages and then do what the test says."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self.redis: Any = Redis.from_url(url, decode_responses=True)
        self.brokers: list[Any] = []
        self.own = self.open_broker()

    def open_broker(self) -> Any:
        """Return a broker as a worker holds it."""
        broker = open_redis_broker(self.url, self.namespace)
        dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="act")(lambda number: None)
        self.brokers.append(broker)
        return broker

    def send(self, count: int, *, delay: timedelta | None = None) -> list[str]:
        """Put messages on the queue; return their ids in Redis, in order."""
        act = self.own.get_actor("act")
        sent = [act.send_with_options(args=(number,), delay=delay) for number in range(count)]
        return [message.options["redis_message_id"] for message in sent]

    def silence(self, broker: Any, milliseconds: int) -> None:
        """Let a worker's last heartbeat be so long ago."""
        self.redis.zadd(self._heartbeats, {broker.broker_id: current_millis() - milliseconds})

    def recover(self) -> int:
        """Run what is tested."""
        return recover_messages(self.own, self.url)

    def queued(self, queue: str = QUEUE) -> list[str]:
        """Return the ids on a queue, each of which has its message."""
        ids: list[str] = self.redis.lrange(f"{self.namespace}:{queue}", 0, -1)
        assert all(self.redis.hmget(f"{self.namespace}:{queue}.msgs", ids) if ids else [])
        return ids

    def rejected(self) -> list[str]:
        """Return the ids that were rejected, each of which has its message."""
        ids: list[str] = self.redis.zrange(f"{self.namespace}:{QUEUE}.XQ", 0, -1)
        assert sorted(ids) == sorted(self.redis.hkeys(f"{self.namespace}:{QUEUE}.XQ.msgs"))
        return ids

    def heartbeats(self) -> set[str]:
        """Return who is registered as a worker."""
        return set(self.redis.zrange(self._heartbeats, 0, -1))

    def close(self) -> None:
        """Let go of all connections."""
        for broker in self.brokers:
            broker.client.close()
        self.redis.close()

    @property
    def _heartbeats(self) -> str:
        return f"{self.namespace}:__heartbeats__"


@pytest.fixture
def held(every_redis_url: str, namespace: str) -> Iterator[Held]:
    held = Held(every_redis_url, namespace)
    yield held
    held.close()


def test_what_a_dead_worker_held_comes_back_once(held: Held) -> None:
    ids = held.send(5)
    dead = held.open_broker()
    dead.do_fetch(QUEUE, 3)
    held.silence(dead, HEARTBEAT_TIMEOUT_MILLISECONDS + LEEWAY_MILLISECONDS)
    assert held.queued() == ids[3:]
    for _ in range(2):
        assert held.recover() == 0, "none was rejected"
        assert sorted(held.queued()) == sorted(ids)
        assert dead.broker_id not in held.heartbeats()


def test_what_a_dead_worker_was_to_delay_comes_back(held: Held) -> None:
    """A retry waits in the worker's memory; it comes back to the queue that it came from."""
    ids = held.send(2, delay=timedelta(minutes=1))
    dead = held.open_broker()
    dead.do_fetch(dq_name(QUEUE), 2)
    held.silence(dead, HEARTBEAT_TIMEOUT_MILLISECONDS + LEEWAY_MILLISECONDS)
    held.recover()
    assert sorted(held.queued(dq_name(QUEUE))) == sorted(ids)
    assert held.queued() == []


def test_what_a_live_worker_holds_stays_with_it(held: Held) -> None:
    [held_id, waiting_id] = held.send(2)
    live = held.open_broker()
    live.do_fetch(QUEUE, 1)
    held.silence(live, HEARTBEAT_TIMEOUT_MILLISECONDS - LEEWAY_MILLISECONDS)
    held.recover()
    assert held.queued() == [waiting_id]
    assert live.broker_id in held.heartbeats()
    live.do_ack(QUEUE, held_id)
    assert held.redis.hkeys(f"{held.namespace}:{QUEUE}.msgs") == [waiting_id]


def test_a_rejected_message_comes_back_whole(held: Held) -> None:
    ids = held.send(3)
    worker = held.open_broker()
    bodies = worker.do_fetch(QUEUE, 3)
    for one in ids[:2]:
        worker.do_nack(QUEUE, one)
    worker.do_ack(QUEUE, ids[2])
    assert sorted(held.rejected()) == sorted(ids[:2])
    assert held.recover() == 2
    assert held.rejected() == []
    assert sorted(held.queued()) == sorted(ids[:2])
    assert sorted(worker.do_fetch(QUEUE, 3)) == sorted(bodies[:2])
    assert held.recover() == 0


def test_a_message_that_was_rejected_weeks_ago_comes_back_too(held: Held) -> None:
    """Left to itself Dramatiq throws away, in maintenance, what was rejected a week ago."""
    [one] = held.send(1)
    worker = held.open_broker()
    worker.do_fetch(QUEUE, 1)
    worker.do_nack(QUEUE, one)
    long_ago = current_millis() - timedelta(days=60) // timedelta(milliseconds=1)
    held.redis.zadd(f"{held.namespace}:{QUEUE}.XQ", {one: long_ago})
    assert held.recover() == 1
    assert held.queued() == [one]


def test_more_rejected_ones_than_a_run_takes_come_back_in_the_next(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REJECTED_PER_RUN_MAX", 2)
    ids = held.send(5)
    worker = held.open_broker()
    worker.do_fetch(QUEUE, 5)
    for one in ids:
        worker.do_nack(QUEUE, one)
    assert [held.recover() for _ in range(4)] == [2, 2, 1, 0]
    assert sorted(held.queued()) == sorted(ids)


def test_a_recovery_leaves_no_heartbeat_of_its_own(held: Held) -> None:
    held.send(1)
    before = held.heartbeats()
    held.recover()
    assert held.heartbeats() == before


def test_a_recovery_that_fails_leaves_no_heartbeat_either(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.send(1)
    before = held.heartbeats()
    held.redis.set(f"{held.namespace}:{QUEUE}.XQ", "no sorted set")
    with pytest.raises(Exception, match="WRONGTYPE"):
        held.recover()
    assert held.heartbeats() == before
