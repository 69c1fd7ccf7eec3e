"""Dramatiq as it comes and the broker of our workers, before the same faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import current_millis
from redis import Redis

from worker.broker import ALWAYS

QUEUE = "events"
LONG_AGO_MILLISECONDS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the messages of a queue are: ids that wait, ids held by workers, messages there are."""

    waiting: int = 0
    held: int = 0
    stored: int = 0


@contextmanager
def stock_broker(url: str, namespace: str, **options: Any) -> Iterator[RedisBroker]:
    """Open Dramatiq's broker in Redis with its own middleware and defaults."""
    broker = RedisBroker(url=url, namespace=namespace, **options)  # type: ignore[no-untyped-call] # its __init__ has no types
    try:
        yield broker
    finally:
        broker.client.close()


def declare(broker: RedisBroker, function: Callable[..., object], **options: Any) -> Any:
    """Return an actor of the queue."""
    return dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="act", **options)(function)


def fail_once(owner: Any, name: str, error: Exception, *, after: bool = False) -> list[str]:
    """Let the first call that finds or does something fail; with `after`, once it is done.

    An answer that is empty passes. Returns a list that is no longer empty when it has failed.
    """
    original = getattr(owner, name)
    failed: list[str] = []

    def failing(*args: Any, **kwargs: Any) -> Any:
        if failed:
            return original(*args, **kwargs)
        if not after or (answer := original(*args, **kwargs)):
            failed.append(name)
            raise error
        return answer

    setattr(owner, name, failing)
    return failed


def look(url: str, namespace: str, queue: str = QUEUE) -> Places:
    """Return where the messages of a queue are now."""
    with Redis.from_url(url) as client:
        redis: Any = client
        held = redis.scan_iter(match=f"{namespace}:__acks__.*.{queue}", count=10_000)
        return Places(
            waiting=redis.llen(f"{namespace}:{queue}"),
            held=sum(redis.scard(key) for key in held),
            stored=redis.hlen(f"{namespace}:{queue}.msgs"),
        )


def last_beat(broker: RedisBroker) -> int:
    """Return when a worker last said that it lives, in milliseconds since 1970."""
    redis: Any = broker.client
    return int(redis.zscore(f"{broker.namespace}:__heartbeats__", broker.broker_id) or 0)


def silence(broker: RedisBroker) -> None:
    """Let a worker's last heartbeat be long ago, as that of one that is dead."""
    redis: Any = broker.client
    at = current_millis() - LONG_AGO_MILLISECONDS
    redis.zadd(f"{broker.namespace}:__heartbeats__", {broker.broker_id: at})


def maintain(url: str, namespace: str, **options: Any) -> None:
    """Let Dramatiq do the maintenance of the queue that it else does by chance."""
    with stock_broker(url, namespace, maintenance_chance=ALWAYS, **options) as broker:
        qsize: Any = broker.do_qsize
        qsize(QUEUE)


def count_calls(url: str, command: str) -> int:
    """Return how often a Redis has run a command since it started."""
    with Redis.from_url(url) as client:
        stats: Any = client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))
