"""Messages that a dead worker held, and those that were rejected, go back on their queues.

Dramatiq does the first by chance, at one command in a thousand; here a tick does it, so that the
messages of a dead worker run again within the time-out and an interval. The second concerns what
`worker.retries` could not put anywhere else. All that a message causes is idempotent, so one that
runs twice does no harm. RabbitMQ does the first by itself as soon as a connection is dead.

Messages that a process of an older release kept as dead, not knowing their actor, go back as soon
as a process knows it. Until the last of the old ones is gone that may happen again and again.
"""

from __future__ import annotations

from collections.abc import Iterable

from dramatiq import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from sqlalchemy import Engine

from models.statements.messages import drop_dead_messages, read_dead_messages
from worker.backfilling import put_back_on
from worker.broker import open_redis_broker
from worker.rabbitmq import TellingBroker
from worker.retries import UnknownActor

_REQUEUE_REJECTED = """
-- KEYS: <queue>, <queue>.msgs, <queue>.XQ, <queue>.XQ.msgs, as in Dramatiq's dispatch.lua
local ids = redis.call("zrange", KEYS[3], 0, ARGV[1] - 1)
for _, id in ipairs(ids) do
    local message = redis.call("hget", KEYS[4], id)
    if message and redis.call("hsetnx", KEYS[2], id, message) == 1 then
        redis.call("rpush", KEYS[1], id)
    end
    redis.call("zrem", KEYS[3], id)
    redis.call("hdel", KEYS[4], id)
end
return #ids
"""
REJECTED_PER_RUN_MAX = 1_000
REPLAYED_PER_RUN_MAX = 100
"""Their bodies are in memory."""


def recover_messages(broker: Broker, url: str) -> int:
    """Put back what dead workers held and what was rejected; return how many were rejected.

    Raises what the broker's client raises.
    """
    if not isinstance(broker, RedisBroker):
        assert isinstance(broker, TellingBroker)
        queues = sorted(broker.get_declared_queues())
        return sum(broker.requeue_rejected(queue, REJECTED_PER_RUN_MAX) for queue in queues)
    maintainer = open_redis_broker(url, broker.namespace, maintains=True)
    try:
        queues = sorted(broker.get_declared_queues())
        for queue in queues:
            for name in (queue, dq_name(queue)):
                # Any command does the maintenance of its queue; to be told the size costs least.
                maintainer.do_qsize(name)
        return _requeue_rejected(maintainer, queues)
    finally:
        # It is no worker, and its silence from now on must not be taken for a death.
        maintainer.client.zrem(f"{maintainer.namespace}:__heartbeats__", maintainer.broker_id)
        maintainer.client.close()


def replay_unknown(engine: Engine, broker: Broker) -> int:
    """Put back what was kept for want of an actor that this process has; return how many.

    Raises what SQLAlchemy and the broker's client raise.
    """
    put_back, error = put_back_on(broker), f"{UnknownActor.__name__}: "
    with engine.begin() as connection:
        found = read_dead_messages(connection, broker.actors, "", REPLAYED_PER_RUN_MAX, error=error)
        for one in found:
            put_back(one.body)
        drop_dead_messages(connection, [one.message_id for one in found])
    return len(found)


def _requeue_rejected(broker: RedisBroker, queues: Iterable[str]) -> int:
    requeue = broker.client.register_script(_REQUEUE_REJECTED)
    total = 0
    for queue in queues:
        name = f"{broker.namespace}:{queue}"
        keys = [name, f"{name}.msgs", f"{name}.XQ", f"{name}.XQ.msgs"]
        total += requeue(keys=keys, args=[REJECTED_PER_RUN_MAX])
    return total
