"""Connections to Redis with every limit named, and the keys of what has been seen lately.

The fingerprints of accepted events are kept in one set per ten minutes. Few large sets, not a key
per event: Dramatiq's maintenance looks through all keys of the broker's database with KEYS.

    {namespace}:seen:{slot}    set of 16-byte fingerprints; slot = Unix time // 600

A set that is full takes the place of the one before it, so that what is remembered does not take
the queue's room however many events come.
"""

from __future__ import annotations

from datetime import datetime
from threading import Lock
from typing import Any, TypeAlias, cast

from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.retry import Retry

from streakline.addresses import is_cluster, split_nodes

CONNECT_SECONDS_MAX = 2.0
REPLY_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 1000
"""One for each thread that sends at the same moment."""
RETRIES_MAX = 2
RETRY_DELAY_SECONDS = 0.01
RETRY_DELAY_SECONDS_MAX = 0.1

PORT = 6379
"""Where a node listens of which the URL names no port."""

SLOT_SECONDS = 600
SEEN_SECONDS = 2 * SLOT_SECONDS
"""An event is remembered for 10 to 20 minutes, or until a million others came after it."""
SEEN_MAX = 1_000_000
"""Of the two sets each has about so many at most: 72 bytes each in Redis 7.0, less in Valkey 9."""

AnyRedis: TypeAlias = Redis | RedisCluster


def open_redis(url: str) -> Redis:
    """Return a thread-safe connection pool's client; it connects when first used.

    A cut connection is tried again at once, a time-out is not: whoever waits for the call has
    waited long enough. Raises ValueError where the URL is none of Redis.
    """
    return Redis.from_url(url, **_limits())


def open_any_redis(url: str) -> AnyRedis:
    """Return what `open_redis` does, or the same for a Redis Cluster.

    Its URL names one or more of its nodes, of which the others are learnt:
    `redis+cluster://user:password@host:port,host:port`, `rediss+cluster://…`. Raises ValueError.
    """
    return cast(RedisCluster, _Cluster(url)) if is_cluster(url) else open_redis(url)


class _Cluster:
    """A RedisCluster that connects when first used: redis-py's does so when it is made."""

    def __init__(self, url: str) -> None:
        named = split_nodes(url)
        self._url = named[0]
        self._nodes = [_node(one) for one in named]
        self._lock = Lock()
        self._cluster: RedisCluster | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._cluster is None:
                self._cluster = RedisCluster(url=self._url, startup_nodes=self._nodes, **_limits())
        return getattr(self._cluster, name)

    def close(self) -> None:
        """Give the connections back, if any were made."""
        if self._cluster is not None:
            self._cluster.close()


def _node(url: str) -> ClusterNode:
    read = parse_url(url)  # type: ignore[no-untyped-call] # redis-py has none
    return ClusterNode(read.get("host", "localhost"), read.get("port", PORT))  # type: ignore[no-untyped-call] # redis-py has none


def _limits() -> dict[str, Any]:
    retry = Retry(
        ExponentialBackoff(cap=RETRY_DELAY_SECONDS_MAX, base=RETRY_DELAY_SECONDS),
        RETRIES_MAX,
        supported_errors=(RedisConnectionError,),
    )
    return {
        "retry": retry,
        "socket_connect_timeout": CONNECT_SECONDS_MAX,
        "socket_timeout": REPLY_SECONDS_MAX,
        "max_connections": CONNECTIONS_MAX,
    }


def seen_keys(namespace: str, now: datetime) -> tuple[str, str]:
    """Return the key of the set that is written now, and of the one before it."""
    slot = int(now.timestamp()) // SLOT_SECONDS
    return f"{namespace}:seen:{slot}", f"{namespace}:seen:{slot - 1}"
