"""A queue in Redis: check, enqueue and mark are one script, so one round trip and atomic.

A message holds unseen events only, while the check is made in the script. So the script gets the
message for the usual case, that nothing was seen; otherwise it changes nothing, says what was
seen, and the message goes again without that. A single event takes one round trip always.

Redis answers only after it has the message; what of it survives a crash of Redis itself is a
matter of its persistence settings. Sending again with the same keys is always right. Where its
`maxmemory` is reached nothing of a call is taken (QueueFull), while workers can still take off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from redis import RedisError
from redis.exceptions import OutOfMemoryError

from streakline.contract import EVENTS_QUEUE, Event
from streakline.messages import JsonMessage, events_message, imported_message, users_message
from streakline.redis_connection import SEEN_MAX, SEEN_SECONDS, open_redis, seen_keys
from streakline.transport import Pending, no_room, not_confirmed

CHECKS_MAX = 3
"""More would need other clients to send the same events in the very same milliseconds."""

_SCRIPT = Path(__file__).with_name("enqueue.lua").read_text(encoding="utf-8")


class RedisTransport:
    """Sends to the queue that Dramatiq's RedisBroker reads under the same namespace."""

    def __init__(self, broker_url: str, namespace: str) -> None:
        self._broker_url = broker_url
        self._namespace = namespace
        self._queue = f"{namespace}:{EVENTS_QUEUE}"
        self._redis = open_redis(broker_url)
        self._script = self._redis.register_script(_SCRIPT)

    def send_events(self, pending: Sequence[Pending], received_at: datetime, /) -> set[bytes]:
        """As Transport says; atomic, so that of two equal calls at once one is told 'seen'."""
        seen: set[bytes] = set()
        for sent in range(CHECKS_MAX + 1):
            unseen = [one for one in pending if one.fingerprint not in seen]
            if not unseen:
                break
            message = events_message((one.event for one in unseen), received_at)
            fingerprints = [one.fingerprint for one in unseen if one.fingerprint is not None]
            found = self._enqueue(message, received_at, fingerprints, check=sent < CHECKS_MAX)
            if not found:
                break
            seen.update(found)
        return seen

    def send_imported(self, events: Sequence[Event], received_at: datetime, /) -> None:
        """As Transport says."""
        self._enqueue(imported_message(events, received_at), received_at, (), check=False)

    def send_users(self, users: Sequence[dict[str, Any]], received_at: datetime, /) -> None:
        """As Transport says."""
        self._enqueue(users_message(users, received_at), received_at, (), check=False)

    def close(self) -> None:
        """Close the pooled connections."""
        self._redis.close()

    def _enqueue(
        self, message: JsonMessage, now: datetime, fingerprints: Iterable[bytes], *, check: bool
    ) -> list[bytes]:
        # Dramatiq finds a message in the hash under this option; the first time it is on the
        # queue, its own id is as unique as another.
        message.options["redis_message_id"] = message.message_id
        keys = [self._queue, f"{self._queue}.msgs", *seen_keys(self._namespace, now)]
        values: list[bytes | str | int] = [
            message.message_id,
            message.encode(),
            SEEN_SECONDS,
            SEEN_MAX,
            int(check),
            *fingerprints,
        ]
        try:
            seen: list[bytes] = self._script(keys=keys, args=values)
        except OutOfMemoryError as error:
            raise no_room(self._broker_url, error) from error
        except (RedisError, OSError) as error:
            raise not_confirmed(self._broker_url, error) from error
        return seen
