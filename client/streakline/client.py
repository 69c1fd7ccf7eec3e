"""The client: checks events, puts them on the queue, says which the queue had already.

When `track` or `track_many` returns, the broker holds the events; when it raises InvalidEvent,
nothing was sent; when it raises BrokerUnavailable, its `events` were not confirmed and can be
sent again with the same keys. The client needs neither the program nor the database: what only
they can tell (an unknown metric, say) is set aside by the workers with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from streakline.addresses import find_broker
from streakline.buffer import DELAY_MS, Buffer
from streakline.contract import EVENTS_PER_MESSAGE_MAX, NAMESPACE, Event, UserFields
from streakline.errors import BrokerUnavailable, InvalidEvent
from streakline.fields import check_text, shown
from streakline.transport import Pending, Transport, connect

if TYPE_CHECKING:
    from typing import Self, Unpack

    from streakline.contract import EventOptions, UserOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The broker holds this event, with its key.

    `duplicate` says that it was seen in the last 10 to 20 minutes, or earlier in the same call,
    and was not sent again. False proves nothing: Postgres has the last word, at any distance.
    """

    event: Event
    duplicate: bool

    @property
    def event_id(self) -> str:
        """The event's identity (user, metric, key) as a UUID; the ledger knows it by this."""
        return self.event.id


class Client:
    """Puts events on the queue at `broker_url`: `redis://`, `rediss://`, `unix://` or `amqp://`.

    With Redis, what was seen lately is kept beside the queue. With RabbitMQ it is kept at
    `redis_url`; without one, only repeats inside one call are told apart. `namespace` must be the
    workers' own.

    One client serves any number of threads, and should live as long as its process. It connects
    when it first sends, and again after `close`. Raises AddressError.
    """

    def __init__(
        self, broker_url: str, redis_url: str | None = None, *, namespace: str = NAMESPACE
    ) -> None:
        self._transport: Transport = connect(broker_url, redis_url, namespace)

    @classmethod
    def from_env(cls) -> Self:
        """Make a client as STREAKLINE_BROKER_URL, _REDIS_URL and _NAMESPACE say.

        Where neither URL is set, it is the broker that `streakline up` runs for STREAKLINE_HOME.
        Raises AddressError, which says what to set.
        """
        broker_url, redis_url = find_broker(os.environ)
        namespace = os.environ.get("STREAKLINE_NAMESPACE") or NAMESPACE
        return cls(broker_url, redis_url, namespace=namespace)

    def track(self, user_id: str, metric: str, **options: Unpack[EventOptions]) -> Receipt:
        """Send one event; `value`, `key`, `occurred_at`, `attributes`, `user` as in Event.

        Raises InvalidEvent, BrokerUnavailable.
        """
        return self.track_many([Event(user_id=user_id, metric=metric, **options)])[0]

    def track_many(self, events: Iterable[Event]) -> list[Receipt]:
        """Send events, up to 500 in a message, and return their receipts in the same order.

        All are checked before the first is sent. Raises InvalidEvent (nothing was sent) and
        BrokerUnavailable (its `events` were not confirmed; all others were).
        """
        received_at = datetime.now(UTC)
        pending = [_prepare(event, received_at) for event in events]
        seen = self._send(_without_repeats(pending), received_at)
        return _receipts(pending, seen)

    def identify(self, user_id: str, **options: Unpack[UserOptions]) -> None:
        """Tell what is known of a user: `tz`, `email`, `name`, `attributes`, as in UserFields.

        Raises InvalidEvent, BrokerUnavailable.
        """
        check_text("user_id", user_id)
        user = {"user_id": user_id, **UserFields(**options).to_json()}
        self._transport.send_users([user], datetime.now(UTC))

    def buffer(
        self, max_events: int = EVENTS_PER_MESSAGE_MAX, max_delay_ms: float = DELAY_MS
    ) -> Buffer:
        """Return a buffer that sends events together; see Buffer for what it promises."""
        return Buffer(self.track_many, max_events=max_events, max_delay_ms=max_delay_ms)

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, pending: Sequence[Pending], received_at: datetime) -> set[bytes]:
        seen: set[bytes] = set()
        for start in range(0, len(pending), EVENTS_PER_MESSAGE_MAX):
            batch = pending[start : start + EVENTS_PER_MESSAGE_MAX]
            try:
                seen |= self._transport.send_events(batch, received_at)
            except BrokerUnavailable as error:
                error.events = tuple(one.event.fixed(received_at) for one in pending[start:])
                raise
        return seen


def _prepare(event: Any, now: datetime) -> Pending:
    if not isinstance(event, Event):
        raise InvalidEvent("event", f"must be an Event, not {shown(event)}")
    event.check_time(now)
    if event.key is None:
        return Pending(event.keyed(), None)  # its key is new, so nobody can have seen it
    return Pending(event, event.fingerprint)


def _without_repeats(pending: Iterable[Pending]) -> list[Pending]:
    first: dict[bytes | str | None, Pending] = {}
    for one in pending:
        first.setdefault(one.fingerprint or one.event.key, one)
    return list(first.values())


def _receipts(pending: Iterable[Pending], seen: set[bytes]) -> list[Receipt]:
    known: set[bytes | None] = set(seen)
    receipts = []
    for event, fingerprint in pending:
        receipts.append(Receipt(event=event, duplicate=fingerprint in known))
        if fingerprint is not None:
            known.add(fingerprint)
    return receipts
