"""A buffer for hot paths: events wait a moment and are sent together.

`track` checks the event and returns; the broker holds it only after the next flush that succeeds:
at `max_events`, after `max_delay_ms`, on `flush()`, on leaving. Until then a process that dies
takes its buffered events along. Where the broker is down, accepted events stay and are tried
again, with the same keys; once the buffer is full, `track` refuses more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING

from streakline.contract import Event
from streakline.errors import BrokerUnavailable

if TYPE_CHECKING:
    from typing import Self, Unpack

    from streakline.contract import EventOptions

EVENTS_MAX = 100_000
DELAY_MS = 50.0
DELAY_MS_MAX = 60_000.0
RETRY_DELAY_SECONDS = 1.0
"""How long the timer waits after a flush that failed."""

_log = logging.getLogger("streakline")


class Buffer:
    """Made by `Client.buffer`; any number of threads may call `track` at once.

    Every buffered event has its key before it is sent for the first time, so that sending it
    again counts nothing twice.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Event]], object],
        *,
        max_events: int,
        max_delay_ms: float,
    ) -> None:
        if not 1 <= max_events <= EVENTS_MAX:
            raise ValueError(f"max_events must be from 1 to {EVENTS_MAX}, not {max_events}")
        if not 0 < max_delay_ms <= DELAY_MS_MAX:
            raise ValueError(f"max_delay_ms must be up to {DELAY_MS_MAX:.0f}, not {max_delay_ms}")
        self._send = send
        self._events_max = max_events
        self._delay_seconds = max_delay_ms / 1000
        self._held: list[Event] = []
        self._closed = False
        self._changed = threading.Condition()  # guards what is above and the timer
        self._sending = threading.Lock()  # one flush at a time; taken before `_changed`
        self._timer: threading.Thread | None = None

    def track(self, user_id: str, metric: str, **options: Unpack[EventOptions]) -> None:
        """Accept one event, as Client.track takes it; the caller that fills the buffer sends it.

        Raises InvalidEvent, and BrokerUnavailable where the buffer is full and cannot be sent:
        then this event, and no other, was refused.
        """
        now = datetime.now(UTC)
        event = Event(user_id=user_id, metric=metric, **options)
        event.check_time(now)
        event = event.keyed()
        while not (held := self._hold(event)):
            self._make_room(event.fixed(now))
        if held == self._events_max:
            self._flush_accepted()

    def flush(self) -> None:
        """Send what is held; when it returns, the broker holds it. Raises BrokerUnavailable."""
        with self._sending:
            with self._changed:
                batch = tuple(self._held)
            unconfirmed = batch  # whatever is raised on the way, nothing is forgotten
            try:
                self._send(batch)
                unconfirmed = ()
            except BrokerUnavailable as error:
                unconfirmed = error.events
                raise
            finally:
                with self._changed:
                    self._held[: len(batch)] = unconfirmed

    def close(self) -> None:
        """Accept no more and send what is held.

        Raises BrokerUnavailable: its `events` are still held, and `flush` tries them again.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            timer = self._timer
        if timer is not None:
            timer.join()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _hold(self, event: Event) -> int:
        """Accept the event if there is room; return how many are held then, or 0."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the buffer is closed; make another with client.buffer()")
            if len(self._held) >= self._events_max:
                return 0
            self._held.append(event)
            if len(self._held) == 1:
                self._start_timer()
            return len(self._held)

    def _make_room(self, refused: Event) -> None:
        try:
            self.flush()
        except BrokerUnavailable as error:
            error.events = (refused,)
            error.add_note(f"The buffer is full: it still holds {self._events_max} earlier events.")
            raise

    def _flush_accepted(self) -> bool:
        """Send what is held; where that fails the events stay, and nobody is to send them anew."""
        try:
            self.flush()
        except BrokerUnavailable as error:
            _log.warning("buffered events wait: %s", error)
            return False
        return True

    def _start_timer(self) -> None:
        if self._timer is None or not self._timer.is_alive():  # after a fork it is not
            self._timer = threading.Thread(
                target=self._flush_in_time, name="streakline-buffer", daemon=True
            )
            self._timer.start()
        self._changed.notify_all()

    def _flush_in_time(self) -> None:
        wait_seconds = self._delay_seconds
        while self._wait_until_due(wait_seconds):
            sent = self._flush_accepted()
            wait_seconds = self._delay_seconds if sent else RETRY_DELAY_SECONDS

    def _wait_until_due(self, wait_seconds: float) -> bool:
        """Wait for a first event, and then for its time; return False once the buffer closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._closed)
            self._changed.wait_for(lambda: self._closed, wait_seconds)
            return not self._closed
