"""Postgres and Valkey from wheels, started when needed and shared by all processes of one home.

    with embedded_servers(Path(".streakline")) as addresses:
        addresses.database_url, addresses.redis_url

Guarantees: any number of processes may do this at once and get the same servers; the last to leave
stops them. A process that is killed counts as gone, and whoever leaves next stops the servers.
What cannot be started raises EmbeddedServerError, and nothing is left running for it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from worker.embedded.errors import EmbeddedServerError
from worker.embedded.home import Home, open_home, starting_or_stopping
from worker.embedded.postgres import EmbeddedPostgres
from worker.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedAddresses", "EmbeddedServerError", "embedded_servers", "stop_if_unused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAddresses:
    """Where the embedded servers are; None for one that was not asked for."""

    database_url: str | None
    redis_url: str | None


@contextmanager
def embedded_servers(
    home: Path,
    *,
    postgres: bool = True,
    valkey: bool = True,
    postgres_port: int | None = None,
    valkey_port: int | None = None,
    postgres_settings: Mapping[str, str] | None = None,
) -> Iterator[EmbeddedAddresses]:
    """Use the servers of this home: start those that do not run; stop them if nobody is left.

    A port means 127.0.0.1 besides the Unix socket. `postgres_settings` go over our own and count
    only where this call starts the server. Raises EmbeddedServerError, which names the way out.
    """
    place = open_home(home)
    with (place.path / "users.lock").open("rb") as users:
        try:
            with starting_or_stopping(place):
                fcntl.flock(users, fcntl.LOCK_SH)
                server = EmbeddedPostgres(
                    home=place, port=postgres_port, settings=postgres_settings or {}
                )
                addresses = EmbeddedAddresses(
                    database_url=server.ensure_running() if postgres else None,
                    redis_url=EmbeddedValkey(home=place, port=valkey_port).ensure_running()
                    if valkey
                    else None,
                )
            yield addresses
        finally:
            _leave(place, users)


def stop_if_unused(home: Path) -> bool:
    """Stop the servers of a home that nobody uses any more; tell whether nobody does."""
    place = open_home(home)
    with (place.path / "users.lock").open("rb") as users:
        return _leave(place, users)


def _leave(place: Home, users: BinaryIO) -> bool:
    with starting_or_stopping(place):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        EmbeddedValkey(home=place).stop()
        EmbeddedPostgres(home=place).stop()
        return True
