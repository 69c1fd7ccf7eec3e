"""A queue in RabbitMQ: Dramatiq's broker on quorum queues, with every publication confirmed.

What was seen lately is kept in a Redis, if one is named: asked first, marked after RabbitMQ has
confirmed. It is a courtesy. Without a Redis, or while it is down, every event goes to the queue
and Postgres alone tells repeats apart; receipts then say `duplicate=False`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from dramatiq import Middleware
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import xq_name
from dramatiq.errors import BrokerConnectionError
from pika import BlockingConnection  # type: ignore[import-untyped]  # pika carries no types
from pika.adapters.utils.connection_workflow import (  # type: ignore[import-untyped]  # no types
    AMQPConnectorException,
)
from pika.exceptions import (  # type: ignore[import-untyped]  # as above
    AMQPConnectionError,
    AMQPError,
    ConnectionBlockedTimeout,
)
from redis import RedisError
from redis.exceptions import RedisClusterException

from streakline.addresses import without_password
from streakline.contract import Event
from streakline.messages import JsonMessage, events_message, imported_message, users_message
from streakline.redis_connection import (
    SEEN_MAX,
    SEEN_SECONDS,
    AnyRedis,
    open_any_redis,
    seen_keys,
)
from streakline.transport import Pending, no_room, not_confirmed

LIMITS = {"socket_timeout": "2", "stack_timeout": "4", "blocked_connection_timeout": "5"}
"""Seconds: to connect, to connect in full, and to wait while RabbitMQ has run out of room."""
ANSWER_SECONDS_MAX = 10.0
"""Longer than it is waited where there is no room."""
DECLARED_SECONDS_MAX = 1.0
"""How long a thread waits while another declares a queue: some ms where RabbitMQ answers at all."""
QUORUM = {"x-queue-type": "quorum"}
"""A queue that a majority of RabbitMQ's nodes hold, on disk, before a publication is confirmed."""
KEPT_WHEN_REJECTED = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
"""A rejected message leaves its queue when the other one has it; RabbitMQ demands the second."""
RABBITMQ_ERRORS = (BrokerConnectionError, AMQPError, AMQPConnectorException, OSError)
"""What a call raises where RabbitMQ cannot be reached, refuses, or does not confirm."""
FILTER_PAUSE_SECONDS = 30.0
"""How long a Redis that failed is left alone, so that each call does not wait for it anew."""

_log = logging.getLogger("streakline")
_Answer = TypeVar("_Answer")


class NoAnswer(AMQPConnectionError):  # type: ignore[misc] # pika carries no types
    """RabbitMQ holds the connection and does not answer."""


class _Answering(BlockingConnection):  # type: ignore[misc] # as above
    """Pika's, which would wait for an answer for as long as the connection is held.

    A RabbitMQ that has lost most of its nodes holds it, and neither confirms nor refuses.
    """

    def _flush_output(self, *waiters: Callable[[], bool]) -> None:
        limit = self._impl.ioloop.call_later(ANSWER_SECONDS_MAX, self._give_up)
        try:
            super()._flush_output(*waiters)
        finally:
            self._impl.ioloop.remove_timeout(limit)

    def _give_up(self) -> None:
        self._impl._terminate_stream(NoAnswer(f"no answer within {ANSWER_SECONDS_MAX:g} s"))


class QuorumBroker(RabbitmqBroker):
    """The broker as backends and workers both must declare it: same queues, same arguments.

    RabbitMQ refuses a queue that is declared otherwise than it was made. `url` may be several, with
    semicolons between them. It connects when first used.
    """

    def __init__(self, url: str, middleware: Sequence[Middleware] = ()) -> None:
        super().__init__(
            url=";".join(map(_limited, url.split(";"))),
            confirm_delivery=True,
            middleware=list(middleware),
        )
        self._declaring = Lock()

    @property
    def connection(self) -> BlockingConnection:
        """This thread's connection, which answers within a time or is given up."""
        found: BlockingConnection | None = getattr(self.state, "connection", None)
        if found is None:
            found = self.state.connection = _Answering(parameters=self.parameters)
            self.connections.add(found)
        return found

    @connection.deleter
    def connection(self) -> None:
        """Give this thread's connection up, as Dramatiq does before it tries again.

        Where RabbitMQ has no room or no answer the error goes on to the caller: each of Dramatiq's
        six tries would wait as long.
        """
        # Dramatiq's have no types.
        RabbitmqBroker.connection.fdel(self)  # type: ignore[attr-defined]
        error = sys.exception()
        if isinstance(error, (ConnectionBlockedTimeout, NoAnswer)):
            raise error

    @RabbitmqBroker.channel.deleter  # type: ignore[attr-defined,untyped-decorator]
    def channel(self) -> None:
        """Give this thread's channel up, one too that broke before Dramatiq had noted it.

        It does so once confirms are on, and `del` would raise KeyError from a connection that was
        lost at that moment.
        """
        if (channel := getattr(self.state, "channel", None)) is not None:
            self.channels.add(channel)
        RabbitmqBroker.channel.fdel(self)  # type: ignore[attr-defined]

    def _ensure_queue(self, canonical_queue_name: str) -> None:
        """Declare a queue that is new to this process, one thread after the other.

        Who declares a quorum queue while another still makes it is answered before it runs:
        RabbitMQ 3.10 then refuses what is published there, and closes a connection that asks for
        messages (541, `noproc`).
        """
        if canonical_queue_name not in self.queues_pending:
            return
        is_alone = self._declaring.acquire(timeout=DECLARED_SECONDS_MAX)
        try:
            super()._ensure_queue(canonical_queue_name)  # type: ignore[no-untyped-call] # it has no types
        finally:
            if is_alone:
                self._declaring.release()

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        arguments: dict[str, Any] = super()._build_queue_arguments(queue_name)  # type: ignore[no-untyped-call] # it has no types
        return {**arguments, **QUORUM, **KEPT_WHEN_REJECTED}

    def _declare_xq_queue(self, queue_name: str) -> Any:
        """Declare where rejected messages are: for good, while Dramatiq drops them after a week."""
        name = xq_name(queue_name)
        return self.channel.queue_declare(queue=name, durable=True, arguments=QUORUM)


class RabbitmqTransport:
    """Sends to the queue that Dramatiq's RabbitmqBroker reads; one connection for each thread."""

    def __init__(self, broker_url: str, redis_url: str | None, namespace: str) -> None:
        self._broker_url = broker_url
        self._broker = QuorumBroker(broker_url)
        self._seen = _SeenFilter(redis_url, namespace) if redis_url else None

    def send_events(self, pending: Sequence[Pending], received_at: datetime, /) -> set[bytes]:
        """As Transport says; of two equal calls at once both may go to the queue."""
        fingerprints = [one.fingerprint for one in pending if one.fingerprint is not None]
        seen = self._seen.check(fingerprints, received_at) if self._seen else set()
        unseen = [one.event for one in pending if one.fingerprint not in seen]
        if unseen:
            self._enqueue(events_message(unseen, received_at))
            if self._seen:
                self._seen.mark([one for one in fingerprints if one not in seen], received_at)
        return seen

    def send_imported(self, events: Sequence[Event], received_at: datetime, /) -> None:
        """As Transport says."""
        self._enqueue(imported_message(events, received_at))

    def send_users(self, users: Sequence[dict[str, Any]], received_at: datetime, /) -> None:
        """As Transport says."""
        self._enqueue(users_message(users, received_at))

    def close(self) -> None:
        """Close the connections of all threads."""
        self._broker.close()
        if self._seen:
            self._seen.close()

    def _enqueue(self, message: JsonMessage) -> None:
        try:
            self._broker.enqueue(message)
        except ConnectionBlockedTimeout as error:
            raise no_room(self._broker_url, error) from error
        except RABBITMQ_ERRORS as error:
            raise not_confirmed(self._broker_url, error) from error


class _SeenFilter:
    """What was seen lately, in a Redis that may fail: then nothing was seen."""

    def __init__(self, redis_url: str, namespace: str) -> None:
        self._url = redis_url
        self._namespace = namespace
        self._redis = open_any_redis(redis_url)
        self._paused_until = 0.0

    def check(self, fingerprints: Sequence[bytes], now: datetime) -> set[bytes]:
        def ask(redis: AnyRedis) -> set[bytes]:
            found: set[bytes] = set()
            for key in seen_keys(self._namespace, now):
                # redis-py's synchronous and asynchronous clients share this signature.
                answers: Any = redis.smismember(key, list(fingerprints))
                found.update(
                    one for one, answer in zip(fingerprints, answers, strict=True) if answer
                )
            return found

        return self._try(ask, set()) if fingerprints else set()

    def mark(self, fingerprints: Sequence[bytes], now: datetime) -> None:
        def tell(redis: AnyRedis) -> None:
            key, _ = seen_keys(self._namespace, now)
            with redis.pipeline() as pipeline:
                pipeline.sadd(key, *fingerprints)
                pipeline.expire(key, SEEN_SECONDS)
                pipeline.scard(key)
                *_, count = pipeline.execute()
            if count >= SEEN_MAX:
                redis.unlink(key)  # no RENAME, as in enqueue.lua: a cluster has them apart

        if fingerprints:
            self._try(tell, None)

    def close(self) -> None:
        self._redis.close()

    def _try(self, call: Callable[[AnyRedis], _Answer], otherwise: _Answer) -> _Answer:
        if monotonic() < self._paused_until:
            return otherwise
        try:
            return call(self._redis)
        except (RedisError, RedisClusterException, OSError) as error:
            self._paused_until = monotonic() + FILTER_PAUSE_SECONDS
            _log.warning(
                "Redis at %s does not answer (%s); repeats go to the queue for %d s",
                without_password(self._url),
                error,
                FILTER_PAUSE_SECONDS,
            )
            return otherwise


def _limited(url: str) -> str:
    """Return the URL with limits on waiting; those that it names itself stay."""
    parts = urlsplit(url)
    query = {**LIMITS, **dict(parse_qsl(parts.query))}
    return urlunsplit(parts._replace(query=urlencode(query)))
