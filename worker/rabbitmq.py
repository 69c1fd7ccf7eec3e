"""RabbitMQ as the workers hold it: quorum queues, and consumers that judge and tell.

What is no message is kept in Postgres: Dramatiq's own would reject it, and would let the options of
a message end threads. Where Postgres cannot be reached the connection is given up and made anew:
RabbitMQ then brings what was not settled again.

What a consumer has taken it tells (`worker.taken`): before the first message is begun, then once a
second, and when it has none any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import uuid4

import structlog
from dramatiq import MessageProxy, Middleware
from dramatiq.brokers.rabbitmq import _RabbitmqConsumer, _RabbitmqMessage
from dramatiq.common import current_millis, dq_name, q_name, xq_name
from dramatiq.errors import ConnectionClosed
from pika import BasicProperties  # type: ignore[import-untyped]  # pika carries no types
from pika.exceptions import (  # type: ignore[import-untyped]  # as above
    AMQPChannelError,
    AMQPConnectionError,
)
from redis import RedisError
from redis.exceptions import RedisClusterException

from streakline.contract import EVENTS_QUEUE
from streakline.rabbitmq_transport import RABBITMQ_ERRORS, QuorumBroker
from worker.envelopes import open_envelope
from worker.retries import MalformedMessage, RetryOrKeep
from worker.taken import NOTHING, Taken, Takers

NOT_FOUND = 404
PERSISTENT = 2
"""AMQP's delivery mode of messages that outlive a restart."""
TELL_SECONDS = 1.0
PAUSE_SECONDS = 10.0
"""How long a Redis that failed is left alone: messages must not wait for it."""

log = structlog.get_logger(__name__)
_Answer = TypeVar("_Answer")


class TellingBroker(QuorumBroker):
    """Dramatiq's on quorum queues, with consumers of our own; `takers` is where they tell."""

    def __init__(self, url: str, takers: Takers, middleware: Sequence[Middleware] = ()) -> None:
        super().__init__(url, middleware)
        self.takers = takers

    @property
    def consumer_class(self) -> type[TellingConsumer]:
        """What takes messages."""
        return TellingConsumer

    def describe(self) -> str:
        """Return the server's version, having seen that the queue can be used.

        Raises as `count_waiting`.
        """
        self.count_waiting(EVENTS_QUEUE)
        return f"RabbitMQ {self.connection._impl.server_properties['version']}"

    def count_waiting(self, queue: str) -> tuple[int, int]:
        """Return how many messages nobody has taken, at once or for later, and how many take them.

        While a queue has no leader RabbitMQ says that it has no messages and no consumers. Raises
        ConnectionClosed, whose text is what RabbitMQ said.
        """
        return self._with_connection(lambda: self._count_waiting(queue))

    def requeue_rejected(self, queue: str, messages_max: int) -> int:
        """Put rejected messages back on their queue; return how many those were.

        Each is there before it is taken away here: killed in between, it is there twice. Raises as
        `count_waiting`.
        """
        return self._with_connection(lambda: self._requeue_rejected(queue, messages_max))

    def _count_waiting(self, queue: str) -> tuple[int, int]:
        self.declare_queue(queue, ensure=True)
        ready, delayed = (
            self.channel.queue_declare(name, passive=True).method
            for name in (queue, dq_name(queue))
        )
        return ready.message_count + delayed.message_count, ready.consumer_count

    def _requeue_rejected(self, queue: str, messages_max: int) -> int:
        self.declare_queue(queue, ensure=True)
        for done in range(messages_max):
            method, _, body = self.channel.basic_get(xq_name(queue))
            if method is None:
                return done
            persistent = BasicProperties(delivery_mode=PERSISTENT)
            self.channel.basic_publish("", queue, body, persistent, mandatory=True)
            self.channel.basic_ack(method.delivery_tag)
        return messages_max

    def _with_connection(self, call: Callable[[], _Answer]) -> _Answer:
        """Call, and once more where the connection is closed: RabbitMQ does that to idle ones."""
        if getattr(self.state, "connection", None) is not None:
            try:
                return call()
            except RABBITMQ_ERRORS:
                del self.connection
        try:
            return call()
        except RABBITMQ_ERRORS as error:
            del self.connection
            # The text of some of pika's errors is empty.
            reason = str(error) or repr(error)
            raise ConnectionClosed(reason) from error  # type: ignore[no-untyped-call] # it has no types


class TellingConsumer(_RabbitmqConsumer):
    """Dramatiq's, but that it judges what it takes and tells how much that is."""

    def __init__(self, broker: TellingBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call] # as above
        self._taker = f"{queue_name}/{uuid4().hex}"
        self._taken: dict[int, Taken] = {}
        self._told, self._told_at = False, 0.0
        self._paused_until = 0.0

    def __next__(self) -> MessageProxy | None:
        try:
            method, _, body = next(self.iterator)
        except (AssertionError, AMQPConnectionError, AMQPChannelError) as error:
            if getattr(error, "reply_code", None) == NOT_FOUND:
                # It is declared again when the consumer starts anew.
                self.broker.queues_pending.add(q_name(self.queue_name))
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call] # as above
        message = None
        if method is not None:
            message = self._open(body, method.delivery_tag, redelivered=method.redelivered)
        self._tell()
        return message

    def ack(self, message: MessageProxy) -> None:
        super().ack(message)  # type: ignore[no-untyped-call] # as above
        self._taken.pop(message._tag, None)

    def nack(self, message: MessageProxy) -> None:
        super().nack(message)  # type: ignore[no-untyped-call] # as above
        self._taken.pop(message._tag, None)

    def close(self) -> None:
        self._taken.clear()
        self._tell()
        super().close()  # type: ignore[no-untyped-call] # as above

    def _open(self, body: bytes, tag: int, *, redelivered: bool) -> MessageProxy | None:
        """Return the message, or None where it is none and was set aside."""
        try:
            message = open_envelope(body, self.broker.actors, self.queue_name, current_millis())
        except MalformedMessage as error:
            self._set_aside(body, error)
            self.channel.basic_ack(tag)
            return None
        self.known_tags.add(tag)
        events = message.kwargs.get("events")
        self._taken[tag] = Taken(
            messages=1,
            events=len(events) if isinstance(events, list) and events else 1,
            oldest_milliseconds=message.message_timestamp,
        )
        return _RabbitmqMessage(redelivered, tag, message)  # type: ignore[no-untyped-call] # as above

    def _set_aside(self, body: bytes, error: MalformedMessage) -> None:
        try:
            RetryOrKeep.of(self.broker).set_aside(self.queue_name, body, error)
        except Exception as reason:
            raise ConnectionClosed(reason) from reason  # type: ignore[no-untyped-call] # as above

    def _tell(self) -> None:
        """Tell at once of the first message and when all are done, else now and then."""
        has_some, now = bool(self._taken), time.monotonic()
        is_due = has_some and now >= self._told_at + TELL_SECONDS
        if not (is_due or has_some is not self._told) or now < self._paused_until:
            return
        try:
            # Other threads finish messages meanwhile: the list is made in one step.
            self.broker.takers.tell(self._taker, sum(list(self._taken.values()), NOTHING))
            self._told, self._told_at = has_some, now
        except (RedisError, RedisClusterException, OSError) as error:
            self._paused_until = now + PAUSE_SECONDS
            log.warning("taken_not_told", queue=self.queue_name, error=str(error))
