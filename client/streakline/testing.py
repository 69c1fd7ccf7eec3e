"""For the tests of a backend: a client that checks what it is given and sends nothing.

from streakline.testing import RecordingClient

client = RecordingClient()
finish_lesson(client, "user-1")
assert [event.metric for event in client.events] == ["lessons"]
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from streakline.client import Client
from streakline.contract import Event, UserFields
from streakline.transport import Pending

if TYPE_CHECKING:
    from typing import Self


class RecordingClient(Client):
    """A Client whose broker is a list; it raises InvalidEvent and tells duplicates as Client does.

    `events` are the events that would have been sent, with their keys; `users` are the pairs of
    user id and fields that `identify` was called with; both in the order of the calls.
    """

    def __init__(self) -> None:
        self._transport = self._record = _Record()

    @classmethod
    def from_env(cls) -> Self:
        """Make a recording client, whatever the environment says."""
        return cls()

    @property
    def events(self) -> list[Event]:
        """The events recorded so far."""
        return list(self._record.events)

    @property
    def users(self) -> list[tuple[str, UserFields]]:
        """What was told about users so far, apart from what came along with events."""
        return list(self._record.users)

    def clear(self) -> None:
        """Forget everything recorded, and what was seen."""
        self._transport = self._record = _Record()


class _Record:
    """The transport of the recording client."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.users: list[tuple[str, UserFields]] = []
        self._seen: set[bytes] = set()
        self._lock = Lock()

    def send_events(self, pending: Sequence[Pending], _received_at: datetime, /) -> set[bytes]:
        fingerprints = {one.fingerprint for one in pending if one.fingerprint is not None}
        with self._lock:
            seen = fingerprints & self._seen
            self.events += [one.event for one in pending if one.fingerprint not in seen]
            self._seen |= fingerprints
        return seen

    def send_imported(self, events: Sequence[Event], _received_at: datetime, /) -> None:
        with self._lock:
            self.events += events

    def send_users(self, users: Sequence[dict[str, Any]], _received_at: datetime, /) -> None:
        for user in users:
            fields = {name: value for name, value in user.items() if name != "user_id"}
            self.users.append((user["user_id"], UserFields.from_json(fields)))

    def close(self) -> None:
        """Nothing is open."""
