"""The same questions to a broker in Redis and to one in RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

import dramatiq
from dramatiq import Broker, Message, Middleware
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import xq_name
from redis import Redis

from worker.broker import open_broker
from worker.queues import count_messages


@contextmanager
def opened_broker(
    url: str, redis_url: str, namespace: str, middleware: Sequence[Middleware] = ()
) -> Iterator[Broker]:
    """Open a broker as a worker does; `redis_url` is that of the rankings."""
    with Redis.from_url(redis_url) as redis:
        broker = open_broker(url, namespace, redis, middleware)
        try:
            yield broker
        finally:
            broker.client.close() if isinstance(broker, RedisBroker) else broker.close()


@contextmanager
def working(broker: Broker, threads: int = 1) -> Iterator[dramatiq.Worker]:
    """Let a worker process what is on the queues."""
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=10)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def is_settled(broker: Broker) -> bool:
    """Tell whether nothing is queued, delayed, or held by a worker."""
    return not any(count_messages(broker).values())


def rejected(broker: Broker, queue: str) -> list[Message[object]]:
    """Return the messages that wait in the broker for the recovery."""
    if isinstance(broker, RedisBroker):
        client = cast(Any, broker.client)
        name = f"{broker.namespace}:{queue}.XQ"
        ids = client.zrange(name, 0, -1)
        bodies = client.hgetall(f"{name}.msgs")  # read last: it has what was listed before
        return [Message.decode(bodies[one]) for one in ids]
    return [Message.decode(body) for body in peek(broker, xq_name(queue))]


def peek(broker: Any, queue: str) -> list[bytes]:
    """Return what waits in a queue of RabbitMQ, and leave it there."""
    bodies = []
    with closing(broker.connection.channel()) as channel:  # closed, it gives all back
        while (found := channel.basic_get(queue))[0] is not None:
            bodies.append(found[2])
    return bodies
