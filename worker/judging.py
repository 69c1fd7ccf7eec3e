"""RabbitMQ's consumer with the door that Redis' has: what is no message is kept in Postgres.

Dramatiq's own would leave it to RabbitMQ, which drops it after a week, and would let the options of
a message end threads. Where Postgres cannot be reached the connection is given up and made anew:
RabbitMQ then brings what was not settled again.
"""

from __future__ import annotations

from dramatiq import MessageProxy
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer, _RabbitmqMessage
from dramatiq.common import current_millis, q_name
from dramatiq.errors import ConnectionClosed
from pika.exceptions import (  # type: ignore[import-untyped]  # pika carries no types
    AMQPChannelError,
    AMQPConnectionError,
)

from worker.envelopes import open_envelope
from worker.retries import MalformedMessage, RetryOrKeep

NOT_FOUND = 404


class JudgingBroker(RabbitmqBroker):
    """Dramatiq's, with consumers that look at what they take."""

    @property
    def consumer_class(self) -> type[JudgingConsumer]:
        """What takes messages."""
        return JudgingConsumer


class JudgingConsumer(_RabbitmqConsumer):
    """Dramatiq's, but for how a message is opened."""

    def __next__(self) -> MessageProxy | None:
        try:
            method, _, body = next(self.iterator)
        except (AssertionError, AMQPConnectionError, AMQPChannelError) as error:
            if getattr(error, "reply_code", None) == NOT_FOUND:
                # It is declared again when the consumer starts anew.
                self.broker.queues_pending.add(q_name(self.queue_name))
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call] # it has no types
        if method is None:
            return None
        tag = method.delivery_tag
        try:
            message = open_envelope(body, self.broker.actors, self.queue_name, current_millis())
        except MalformedMessage as error:
            self._set_aside(body, error)
            self.channel.basic_ack(tag)
            return None
        self.known_tags.add(tag)
        return _RabbitmqMessage(method.redelivered, tag, message)  # type: ignore[no-untyped-call] # as above

    def _set_aside(self, body: bytes, error: MalformedMessage) -> None:
        try:
            RetryOrKeep.of(self.broker).set_aside(self.queue_name, body, error)
        except Exception as reason:
            raise ConnectionClosed(reason) from reason  # type: ignore[no-untyped-call] # as above
