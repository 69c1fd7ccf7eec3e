"""How events reach a broker: the one interface, and the choice between its implementations.

A transport puts one message on the queue, or raises BrokerUnavailable. It checks first which
events the broker has lately taken, then enqueues, and only then marks: a crash in between can
make an event arrive twice, which Postgres tells apart, but never lose it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from streakline.addresses import HOW_TO_WRITE, is_readable, is_redis, without_password
from streakline.contract import Event
from streakline.errors import AddressError, BrokerUnavailable, QueueFull


class Pending(NamedTuple):
    """An event on its way, with its key; without fingerprint it is neither checked nor marked."""

    event: Event
    fingerprint: bytes | None


class Transport(Protocol):
    """Where messages go. Any number of threads may call any of these at once."""

    def send_events(self, pending: Sequence[Pending], received_at: datetime, /) -> set[bytes]:
        """Put those not seen lately on the queue, as one message; return the others' fingerprints.

        Raises BrokerUnavailable where the broker did not confirm that it holds the message, and
        QueueFull where that is for want of room.
        """

    def send_imported(self, events: Sequence[Event], received_at: datetime, /) -> None:
        """Put an import's events, each with its key, on the queue as one message.

        The workers take them at any age (S13). What was seen lately is neither asked nor marked:
        Postgres alone tells repeats apart, and counts them. Raises BrokerUnavailable.
        """

    def send_users(self, users: Sequence[dict[str, Any]], received_at: datetime, /) -> None:
        """Put what is told about users on the queue. Raises BrokerUnavailable."""

    def close(self) -> None:
        """Give the connections back."""


def connect(broker_url: str, redis_url: str | None, namespace: str) -> Transport:
    """Return the transport for a broker's URL; it connects when it first sends.

    Raises AddressError where the URL is none that can be used.
    """
    for whose, url in (("broker", broker_url), ("Redis", redis_url)):
        if not is_readable(url or ""):
            raise AddressError(
                f"the address of the {whose} is not a URL that can be read: {HOW_TO_WRITE}"
            )
    try:
        if is_redis(broker_url):
            from streakline.redis_transport import RedisTransport

            return RedisTransport(broker_url, namespace)
        if urlsplit(broker_url).scheme in {"amqp", "amqps"}:
            from streakline.rabbitmq_transport import RabbitmqTransport

            return RabbitmqTransport(broker_url, redis_url, namespace)
    except ValueError:  # of an option behind the question mark
        named = " or ".join(repr(without_password(url)) for url in (broker_url, redis_url) if url)
        raise AddressError(f"{named} is not a URL") from None
    except ModuleNotFoundError as error:
        raise AddressError(
            "amqp:// needs one more package: pip install 'streakline[rabbitmq]'"
        ) from error
    raise AddressError(
        f"{without_password(broker_url)!r} is no broker; "
        "use redis://, rediss://, unix://, amqp:// or amqps://"
    )


def not_confirmed(broker_url: str, error: Exception) -> BrokerUnavailable:
    """Return the error that says which broker did not confirm, why, and what to do."""
    return BrokerUnavailable(
        f"the broker at {without_password(broker_url)} did not confirm "
        f"({type(error).__name__}: {error}); send the same again with the same keys, "
        "nothing will count twice"
    )


def no_room(broker_url: str, error: Exception) -> QueueFull:
    """Return the error that says which broker has no room, and what to do."""
    return QueueFull(
        f"the broker at {without_password(broker_url)} has no room for more events ({error}); "
        "they come faster than workers apply them: wait, then send the same again with the same "
        "keys"
    )
