"""The broker as the workers hold it, with every limit set on purpose.

Of Dramatiq's own middleware none is used: batches are short and the database limits statements, so
nothing needs its time limit; retries are ours (`worker.retries`). Maintenance is left to the
recovery tick (`worker.recovery`), which does it on time instead of by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from dramatiq import Broker, Consumer, Middleware
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from redis import ConnectionError as RedisConnectionError

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
    return _RedisBroker(  # type: ignore[no-untyped-call] # its __init__ has no types
        client=open_redis(url),
        namespace=namespace,
        middleware=list(middleware),
        maintenance_chance=ALWAYS if maintains else 0,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MILLISECONDS,
        dead_message_ttl=REJECTED_KEPT_MILLISECONDS,
    )


class _RedisBroker(RedisBroker):
    """Dramatiq's, but a delay queue's consumer that starts anew forgets no message.

    When its connection is cut Dramatiq drops the delayed messages that it holds in memory; in
    Redis they are still this worker's, so nobody would run them while it lives.
    """

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        if queue_name in self.delay_queues:
            # One thread alone consumes a queue, and it has just begun: it can hold nothing.
            held = f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"
            try:
                for message_id in self.client.smembers(held):
                    self.do_requeue(queue_name, message_id)
            except RedisConnectionError as error:
                raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call] # as above
        return super().consume(queue_name, prefetch, timeout)
