"""Connections to Redis with every limit named, and the keys of what has been seen lately.

The fingerprints of accepted events are kept in one set per ten minutes. Few large sets, not a key
per event: Dramatiq's maintenance looks through all keys of the broker's database with KEYS.

    {namespace}:seen:{slot}    set of 16-byte fingerprints; slot = Unix time // 600
"""

from __future__ import annotations

from datetime import datetime

from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

CONNECT_SECONDS_MAX = 2.0
REPLY_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 1000
"""One for each thread that sends at the same moment."""
RETRIES_MAX = 2
RETRY_DELAY_SECONDS = 0.01
RETRY_DELAY_SECONDS_MAX = 0.1

SLOT_SECONDS = 600
SEEN_SECONDS = 2 * SLOT_SECONDS
"""An event is remembered for 10 to 20 minutes."""


def open_redis(url: str) -> Redis:
    """Return a thread-safe connection pool's client; it connects when first used.

    A cut connection is tried again at once, a time-out is not: whoever waits for the call has
    waited long enough. Raises ValueError where the URL is none of Redis.
    """
    retry = Retry(
        ExponentialBackoff(cap=RETRY_DELAY_SECONDS_MAX, base=RETRY_DELAY_SECONDS),
        RETRIES_MAX,
        supported_errors=(RedisConnectionError,),
    )
    return Redis.from_url(
        url,
        retry=retry,
        socket_connect_timeout=CONNECT_SECONDS_MAX,
        socket_timeout=REPLY_SECONDS_MAX,
        max_connections=CONNECTIONS_MAX,
    )


def seen_keys(namespace: str, now: datetime) -> tuple[str, str]:
    """Return the key of the set that is written now, and of the one before it."""
    slot = int(now.timestamp()) // SLOT_SECONDS
    return f"{namespace}:seen:{slot}", f"{namespace}:seen:{slot - 1}"
