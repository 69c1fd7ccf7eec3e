"""The broker as the workers hold it, with every limit set on purpose.

Of Dramatiq's own middleware none is used: batches are short and the database limits statements, so
nothing needs its time limit; retries are ours (`worker.retries`). Maintenance is left to the
recovery tick (`worker.recovery`), which does it on time instead of by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from dramatiq import Broker, Middleware
from dramatiq.brokers.redis import RedisBroker

from streakline.addresses import is_redis
from streakline.redis_connection import open_redis

HEARTBEAT_TIMEOUT_MILLISECONDS = 30_000
"""A worker that was silent for so long is dead, and its messages go back on the queue."""
REJECTED_KEPT_MILLISECONDS = 100 * 365 * 24 * 60 * 60 * 1_000
"""For good: Dramatiq throws away what was rejected a week ago, and to us that is a message lost."""
ALWAYS = 1_000_000
"""Dramatiq counts the chance of maintenance in millionths."""


def open_broker(url: str, namespace: str, middleware: Sequence[Middleware] = ()) -> Broker:
    """Return the broker at a URL of Redis or RabbitMQ; it connects when first used."""
    if is_redis(url):
        return open_redis_broker(url, namespace, middleware)
    from streakline.rabbitmq_transport import open_rabbitmq  # needs pika, which Redis does not

    return open_rabbitmq(url, middleware)


def open_redis_broker(
    url: str, namespace: str, middleware: Sequence[Middleware] = (), *, maintains: bool = False
) -> RedisBroker:
    """Return a broker in Redis; with `maintains` each of its commands does maintenance first."""
    return RedisBroker(  # type: ignore[no-untyped-call] # its __init__ has no types
        client=open_redis(url),
        namespace=namespace,
        middleware=list(middleware),
        maintenance_chance=ALWAYS if maintains else 0,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MILLISECONDS,
        dead_message_ttl=REJECTED_KEPT_MILLISECONDS,
    )
