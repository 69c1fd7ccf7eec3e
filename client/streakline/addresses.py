"""Where the broker is and where the rest of Redis is: the same answer for backends and workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from re import compile as pattern
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from streakline.errors import AddressError

HOME = ".streakline"
"""Where the embedded servers keep their data, unless STREAKLINE_HOME says otherwise."""
BROKER_URL_FILE = "broker-url"
"""The file in that directory in which `streakline up` leaves the URL of its embedded broker."""

HOW_TO_WRITE = (
    "in a name or a password write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25, "
    "[ as %5B, ] as %5D and a space as %20"
)
"""What to do about a URL that cannot be read."""

_CLUSTER = pattern(r"(rediss?)\+cluster://([^/?#]*@)?([^/?#]*)(.*)")
_BETWEEN_URLS = pattern(r";(?=\w+://)")
# Up to the last @ before another URL: a password that was not escaped is one, too.
_PASSWORD = pattern(r"(://[^/?#@:\s]*:)(?:(?!;\w+://)\S)*(?=@)|([?&\s](?:ssl)?password=)[^&\s]*")


def place_redis(broker_url: str | None, redis_url: str | None) -> tuple[str | None, str | None]:
    """Return the URLs of the broker and of everything else in Redis, given one or both of them.

    The broker keeps a database number to itself (its maintenance looks through all keys of the
    database it is in). Named once, a Redis serves as both: the broker in the database that the URL
    names, the rest in the next one. So a backend and a worker that were given the same URL meet.
    Raises AddressError where the broker would be a Redis Cluster: Dramatiq's cannot be in one.

    >>> place_redis(None, "redis://localhost:6379/0")
    ('redis://localhost:6379/0', 'redis://localhost:6379/1')
    >>> place_redis("amqp://localhost", "redis://localhost:6379/0")
    ('amqp://localhost', 'redis://localhost:6379/0')
    """
    broker = broker_url or redis_url
    if is_cluster(broker):
        raise AddressError(
            "A Redis Cluster holds rankings and no queue: set STREAKLINE_BROKER_URL to a Redis "
            "alone (redis://...) or to RabbitMQ (amqp://...)"
        )
    redis = redis_url or (broker_url if is_redis(broker_url) else None)
    if redis is not None and redis == broker:
        redis = _next_database(redis)
    return broker, redis


def find_broker(environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the URLs of the broker and of the rest of Redis that the environment names.

    It reads STREAKLINE_BROKER_URL and STREAKLINE_REDIS_URL; where neither is set, the embedded
    broker that `streakline up` runs for STREAKLINE_HOME. Raises AddressError where there is none.
    """
    named = environ.get("STREAKLINE_BROKER_URL"), environ.get("STREAKLINE_REDIS_URL")
    broker, redis = place_redis(*(url or None for url in named))
    if broker is not None:
        return broker, redis
    note = Path(environ.get("STREAKLINE_HOME") or HOME, BROKER_URL_FILE)
    try:
        broker, redis = place_redis(note.read_text(encoding="utf-8").strip() or None, None)
    except OSError:
        broker = None
    if broker is None:
        raise AddressError(
            "No broker is named: set STREAKLINE_BROKER_URL (redis://... or amqp://...), or run "
            f"`streakline up`, which writes the address of its own to {note}"
        )
    return broker, redis


def is_redis(url: str | None) -> bool:
    """Tell whether a broker's URL is one of Redis (TCP, TLS or a Unix socket)."""
    return url is not None and urlsplit(url).scheme in {"redis", "rediss", "unix"}


def is_cluster(url: str | None) -> bool:
    """Tell whether a URL is one of a Redis Cluster."""
    return _CLUSTER.fullmatch(url or "") is not None


def split_nodes(url: str) -> list[str]:
    """Return the nodes that a Redis Cluster's URL names, each as the URL of a Redis.

    >>> split_nodes("rediss+cluster://app:secret@a:7000,b?ssl_ca_certs=ca.pem")
    ['rediss://app:secret@a:7000?ssl_ca_certs=ca.pem', 'rediss://app:secret@b?ssl_ca_certs=ca.pem']
    >>> split_nodes("redis://a")
    []
    """
    found = _CLUSTER.fullmatch(url)
    if found is None:
        return []
    scheme, user, hosts, rest = found.groups(default="")
    return [f"{scheme}://{user}{host}{rest}" for host in hosts.split(",")]


def is_readable(url: str) -> bool:
    """Tell whether every reader of the URL takes the same part of it for the password.

    Where a password holds an unescaped `/` or `@`, errors would show the rest as a host or a port.

    >>> is_readable("redis://app:a%2Fb@host:6379/0"), is_readable("redis://app:a/b@host:6379/0")
    (True, False)
    """
    urls = split_nodes(url) or _BETWEEN_URLS.split(url)
    return not any(map(str.isspace, url)) and all(map(_is_one_readable, urls))


def without_password(url: str) -> str:
    """Return the URL as errors and logs may show it.

    >>> without_password("redis://app:secret@localhost:6379/0")
    'redis://app:***@localhost:6379/0'
    >>> without_password("unix:///run/valkey.sock?db=1&password=secret")
    'unix:///run/valkey.sock?db=1&password=***'
    """
    return _PASSWORD.sub(r"\1\2***", url)


def _next_database(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        query = dict(parse_qsl(parts.query))
        query["db"] = str(int(query.get("db", "0")) + 1)
        return f"unix://{parts.netloc}{parts.path}?{urlencode(query)}"
    number = parts.path.strip("/")
    return urlunsplit(parts._replace(path=f"/{int(number or 0) + 1}"))


def _is_one_readable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    is_path = parts.scheme in {"unix", "chdb"}
    outside = [parts.fragment, "" if is_path else parts.path, "" if parts.username else parts.query]
    return parts.netloc.count("@") <= 1 and not any("@" in part for part in outside)
