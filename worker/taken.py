"""What workers have taken from RabbitMQ and not finished, as they tell it in Redis.

AMQP tells how many messages wait in a queue, not what consumers have taken. So each consumer tells
that in the Redis of the rankings.

    <namespace>:takers         set: who has told anything, as <queue>/<consumer>
    <namespace>:taken:<taker>  JSON: messages, events, and when the oldest was sent; expires

`status`, `drain`, back-pressure and the closing of runs look at it, and no message depends on it.
What a killed worker told counts for some seconds more; its messages RabbitMQ gives to others at
once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from dramatiq.common import q_name

from streakline.redis_connection import AnyRedis

TOLD_SECONDS = 15
"""How long what was told counts where nothing more is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Messages that were taken and are not finished; when the oldest was sent, in ms since 1970."""

    messages: int = 0
    events: int = 0
    oldest_milliseconds: int | None = None

    def __add__(self, other: Taken) -> Taken:
        sent = (self.oldest_milliseconds, other.oldest_milliseconds)
        return Taken(
            messages=self.messages + other.messages,
            events=self.events + other.events,
            oldest_milliseconds=min((one for one in sent if one is not None), default=None),
        )


NOTHING = Taken()


class Takers:
    """What consumers tell each other in Redis. All methods raise what redis-py raises."""

    def __init__(self, redis: AnyRedis, namespace: str) -> None:
        self._redis = redis
        self._set = f"{namespace}:takers"
        self._prefix = f"{namespace}:taken:"

    def tell(self, taker: str, taken: Taken) -> None:
        """Tell what a consumer has, be it nothing."""
        if taken.messages:
            self._redis.sadd(self._set, taker)
            self._redis.set(self._prefix + taker, json.dumps(asdict(taken)), ex=TOLD_SECONDS)
        else:
            self._redis.delete(self._prefix + taker)
            self._redis.srem(self._set, taker)

    def read(self) -> dict[str, Taken]:
        """Return what is taken, by queue, what waits to be tried again included."""
        found: dict[str, Taken] = {}
        takers: Any = self._redis.smembers(self._set)
        for taker in sorted(name.decode() for name in takers):
            told: Any = self._redis.get(self._prefix + taker)
            if told is None:
                self._redis.srem(self._set, taker)
                continue
            queue: str = q_name(taker.partition("/")[0])
            found[queue] = found.get(queue, NOTHING) + Taken(**json.loads(told))
        return found
