"""The broker as the workers hold it, with every limit set on purpose.

Of Dramatiq's own middleware none is used: batches are short and the database limits statements, so
nothing needs its time limit; retries are ours (`worker.retries`). Maintenance is left to the
recovery tick (`worker.recovery`), which does it on time instead of by chance.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from dramatiq import Broker, Consumer, MessageProxy, Middleware
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import compute_backoff, current_millis
from dramatiq.errors import ConnectionClosed
from redis import RedisError

from streakline.addresses import is_redis
from streakline.redis_connection import AnyRedis, open_redis
from worker.envelopes import open_envelope, read_id
from worker.rabbitmq import TellingBroker
from worker.retries import MalformedMessage, RetryOrKeep
from worker.taken import Takers

HEARTBEAT_TIMEOUT_MILLISECONDS = 30_000
"""A worker that was silent for so long is dead, and its messages go back on the queue."""
REJECTED_KEPT_MILLISECONDS = 100 * 365 * 24 * 60 * 60 * 1_000
"""For good: Dramatiq throws away what was rejected a week ago, and to us that is a message lost."""
ACKNOWLEDGED_AT_ONCE_MAX = 1_000
EVENTS_AT_ONCE_MAX = 1_000
"""Events of several messages that are applied as one batch; their users are held in memory. A
worker takes as many at a time: while those beyond would wait, other workers would overtake them."""
GIVE_BACK_SECONDS = 10.0
"""How often a consumer looks for messages that it holds without knowing it."""
MESSAGES_HELD_MIN = 2
ROOM_SECONDS_MAX = 0.02
"""How long a worker that has its hands more than half full waits before it fetches a few more."""
ROOM_POLL_SECONDS = 0.001
ALWAYS = 1_000_000
"""Dramatiq counts the chance of maintenance in millionths."""

log = structlog.get_logger(__name__)


def open_broker(
    url: str, namespace: str, redis: AnyRedis, middleware: Sequence[Middleware] = ()
) -> Broker:
    """Return the broker at a URL of Redis or RabbitMQ; it connects when first used.

    `redis` is that of the rankings, where workers tell what they have taken from RabbitMQ.
    """
    if is_redis(url):
        return open_redis_broker(url, namespace, middleware)
    return TellingBroker(url, Takers(redis, namespace), middleware)


def open_redis_broker(
    url: str, namespace: str, middleware: Sequence[Middleware] = (), *, maintains: bool = False
) -> GatheringBroker:
    """Return a broker in Redis; with `maintains` each of its commands does maintenance first."""
    return GatheringBroker(
        client=open_redis(url),
        namespace=namespace,
        middleware=list(middleware),
        maintenance_chance=ALWAYS if maintains else 0,
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MILLISECONDS,
        dead_message_ttl=REJECTED_KEPT_MILLISECONDS,
    )


# As Dramatiq does it for one: what was given to another worker meanwhile stays that one's.
_ACKNOWLEDGE = """
for _, message_id in ipairs(ARGV) do
    if redis.call("srem", KEYS[1], message_id) > 0 then
        redis.call("hdel", KEYS[2], message_id)
    end
end
"""


# As Dramatiq does it, but each message comes with the id under which it lies.
_FETCH = """
local found = {}
for _ = 1, ARGV[1] do
    local message_id = redis.call("lpop", KEYS[1])
    if not message_id then
        break
    end
    local message = redis.call("hget", KEYS[2], message_id)
    if message then
        redis.call("sadd", KEYS[3], message_id)
        table.insert(found, {message_id, message})
    end
end
redis.call("zadd", KEYS[4], ARGV[2], ARGV[3])
return found
"""


class GatheringBroker(RedisBroker):
    """Dramatiq's, with consumers of our own.

    When a connection is cut Dramatiq forgets the messages whose fetch was answered into it, and the
    delayed ones that a consumer holds in memory; in Redis they are still this worker's, so nobody
    would run them while it lives. Here a consumer gives back what Redis says is held and no thread
    has: when it starts anew, and now and then, for redis-py repeats a fetch whose answer was lost
    without a word.

    `begun` tells how many of a queue's messages are done in part. They make room for others.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call] # its __init__ has no types
        self._acknowledge = self.client.register_script(_ACKNOWLEDGE)
        self._fetch = self.client.register_script(_FETCH)
        self._done: dict[str, deque[str | bytes]] = defaultdict(deque)
        self.begun: dict[str, Callable[[], int]] = {}
        self.handed: dict[str, set[str]] = defaultdict(set)
        """The ids in Redis of the messages that threads have, by queue."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        if queue_name in self.delay_queues:
            # What was delayed waited in the memory of the consumer before this one.
            self.handed[queue_name].clear()
        # One thread alone consumes a queue, and it has just begun: what it had fetched is gone.
        with _closing():
            self.give_back(queue_name)
        return _GatheringConsumer(self, queue_name, prefetch, timeout)

    def give_back(self, queue_name: str) -> None:
        """Put the messages back on the queue that are held for this worker and that no thread has.

        To be called by the thread that consumes the queue, with nothing fetched in its hands.
        """
        self.acknowledge(queue_name)
        held: set[bytes] = self.client.smembers(self._held(queue_name))  # type: ignore[assignment] # of bytes, unless asked otherwise
        # In this order: a message that is done is among the done before it is not handed any more.
        handed = set(self.handed[queue_name])
        kept = handed.union(map(_text, list(self._done[queue_name])))
        for message_id in held:
            if _text(message_id) not in kept:
                self.do_requeue(queue_name, message_id)

    def fetch(self, queue_name: str, messages_max: int) -> list[tuple[bytes, bytes]]:
        """Take messages from a queue, each with its id. Raises what redis-py raises."""
        name = f"{self.namespace}:{queue_name}"
        heartbeats = f"{self.namespace}:__heartbeats__"
        found: list[tuple[bytes, bytes]] = self._fetch(
            keys=[name, f"{name}.msgs", self._held(queue_name), heartbeats],
            args=[messages_max, current_millis(), self.broker_id],
        )
        return found

    def done(self, queue_name: str, message_id: str | bytes) -> None:
        """Take a message that is done, to acknowledge it with the next ones."""
        self._done[queue_name].append(message_id)

    def acknowledge(self, queue_name: str) -> None:
        """Acknowledge the messages that are done. Raises what redis-py raises."""
        done = self._done[queue_name]
        keys = [self._held(queue_name), f"{self.namespace}:{queue_name}.msgs"]
        while done:
            message_ids = [done.popleft() for _ in range(min(len(done), ACKNOWLEDGED_AT_ONCE_MAX))]
            try:
                self._acknowledge(keys=keys, args=message_ids)
            except BaseException:
                done.extendleft(message_ids)
                raise

    def _held(self, queue_name: str) -> str:
        return f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"


class _GatheringConsumer(_RedisConsumer):
    """Dramatiq's, with one round trip for many messages where it takes two for each.

    Messages are acknowledged together before the queue is next looked at, and fetched when half of
    those that may be held are done. A message whose worker dies meanwhile runs again, which changes
    nothing.
    """

    def __init__(
        self, broker: GatheringBroker, queue_name: str, prefetch: int, timeout: int
    ) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call] # as above
        self._messages_max = prefetch
        self._begun = broker.begun.get(queue_name, lambda: 0)
        self._gives_back_at = time.monotonic() + GIVE_BACK_SECONDS
        self.prefetch = min(prefetch, MESSAGES_HELD_MIN)

    @property
    def outstanding_message_count(self) -> int:
        """How many messages wait here or run, but for those that are done in part."""
        held: int = super().outstanding_message_count
        return held - self._begun()

    def ack(self, message: MessageProxy) -> None:
        self.broker.done(self.queue_name, message.options["redis_message_id"])
        self._take_back(message)
        self.queued_message_ids.discard(message.message_id)

    def nack(self, message: MessageProxy) -> None:
        self._take_back(message)
        with _closing():
            super().nack(message)  # type: ignore[no-untyped-call] # as above

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        given_back = list(messages)
        for message in given_back:
            self._take_back(message)
        with _closing():
            super().requeue(given_back)  # type: ignore[no-untyped-call] # as above

    def _take_back(self, message: MessageProxy) -> None:
        self.broker.handed[self.queue_name].discard(message.options["redis_message_id"])

    def __next__(self) -> MessageProxy | None:
        if not self.message_cache:
            self._acknowledge()
            self._wait_for_room()
            self._fetch()
        if not self.message_cache:
            self.misses, pause = compute_backoff(self.misses, max_backoff=self.timeout)
            time.sleep(pause / 1000)
            return None
        self.misses = 0
        return self._open(*self.message_cache.pop(0))

    def _fetch(self) -> None:
        room = self.prefetch - self.outstanding_message_count
        if room <= 0:
            return
        with _closing():
            self.message_cache = self.broker.fetch(self.queue_name, room)

    def _open(self, held_id: bytes, body: bytes) -> MessageProxy | None:
        """Return the message, or None where it is none and was set aside."""
        try:
            message_id = read_id(held_id)
            message = open_envelope(body, self.broker.actors, self.queue_name, current_millis())
        except MalformedMessage as error:
            self._set_aside(held_id, body, error)
            return None
        # What it says of itself does not count: this is where it lies.
        message.options["redis_message_id"] = message_id
        self.queued_message_ids.add(message.message_id)
        self.broker.handed[self.queue_name].add(message_id)
        proxy = MessageProxy(message)
        self._hold_few_events(proxy)
        return proxy

    def _set_aside(self, held_id: bytes, body: bytes, error: MalformedMessage) -> None:
        try:
            RetryOrKeep.of(self.broker).set_aside(self.queue_name, body, error)
        except Exception:
            # Rejected, it stays in the broker for `recovery` to find.
            log.exception("message_rejected", queue=self.queue_name)
            with _closing():
                self.broker.do_nack(self.queue_name, held_id)
        else:
            self.broker.done(self.queue_name, held_id)

    def _hold_few_events(self, message: MessageProxy) -> None:
        """Hold few messages of many events: what one worker holds, others overtake.

        A user's events that come in order are folded on; of those that were overtaken each asks for
        a look at the past.
        """
        events = message.kwargs.get("events")
        count = len(events) if isinstance(events, list) else 0
        fitting = max(MESSAGES_HELD_MIN, EVENTS_AT_ONCE_MAX // max(1, count))
        self.prefetch = min(self._messages_max, fitting)

    def close(self) -> None:
        # Dramatiq would leave what was fetched and not yet handed out with a worker that is gone.
        self.message_cache = []
        with _closing():
            self.broker.give_back(self.queue_name)
        super().close()

    def _acknowledge(self) -> None:
        with _closing():
            if time.monotonic() > self._gives_back_at:
                self.broker.give_back(self.queue_name)
                self._gives_back_at = time.monotonic() + GIVE_BACK_SECONDS
            else:
                self.broker.acknowledge(self.queue_name)

    def _wait_for_room(self) -> None:
        """Wait until half is done: a moment where there is some room, longer where there is none.

        Left to itself Dramatiq sleeps through the end of a batch, ever longer.
        """
        began = time.monotonic()
        while (held := self.outstanding_message_count) > self.prefetch // 2:
            seconds_max = ROOM_SECONDS_MAX if held < self.prefetch else self.timeout / 1000
            if time.monotonic() > began + seconds_max:
                return
            time.sleep(ROOM_POLL_SECONDS)


@contextmanager
def _closing() -> Iterator[None]:
    """Let a Redis that does not answer, or refuses, count as a connection that was closed.

    After any other error Dramatiq's consumer thread does not begin anew: it may end, unseen.
    """
    try:
        yield
    except RedisError as error:
        raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call] # has no types


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
