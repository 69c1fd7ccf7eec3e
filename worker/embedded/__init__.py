"""Postgres and Valkey from wheels, started when needed and shared by all processes of one home.

    with embedded_postgres(home) as database_url, embedded_valkey(home) as redis_url:
        ...

Guarantees: any number of processes may do this at once and get the same servers; the last to leave
a home stops its servers. A process that is killed counts as gone, and whoever leaves next stops
them. What cannot be started raises EmbeddedServerError, and nothing is left running for it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from worker.embedded.errors import EmbeddedServerError
from worker.embedded.home import Home, open_home, starting_or_stopping
from worker.embedded.postgres import EmbeddedPostgres
from worker.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedServerError", "embedded_postgres", "embedded_valkey", "stop_if_unused"]


@contextmanager
def embedded_postgres(
    home: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield the URL of the Postgres of this home, which runs at least until the end.

    With a port it listens on 127.0.0.1 too. `settings` go over our own and count only where this
    call starts the server. Raises EmbeddedServerError, which names the way out.
    """
    place = open_home(home)
    with _sharing(place, EmbeddedPostgres(home=place, port=port, settings=settings or {})) as url:
        yield url


@contextmanager
def embedded_valkey(
    home: Path, *, port: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield the URL (database 0) of the Valkey of this home, which runs at least until the end.

    `port` and `settings` are as above. Raises EmbeddedServerError, which names the way out.
    """
    place = open_home(home)
    with _sharing(place, EmbeddedValkey(home=place, port=port, settings=settings or {})) as url:
        yield url


def stop_if_unused(home: Path) -> bool:
    """Stop the servers of a home that nobody uses any more; tell whether nobody does."""
    place = open_home(home)
    with (place.path / "users.lock").open("rb") as users:
        return _leave(place, users)


@contextmanager
def _sharing(place: Home, server: EmbeddedPostgres | EmbeddedValkey) -> Iterator[str]:
    with (place.path / "users.lock").open("rb") as users:
        try:
            with starting_or_stopping(place):
                fcntl.flock(users, fcntl.LOCK_SH)
                url = server.ensure_running()
            yield url
        finally:
            _leave(place, users)


def _leave(place: Home, users: BinaryIO) -> bool:
    with starting_or_stopping(place):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(users, fcntl.LOCK_UN)  # here, or two that leave at once both see the other
            return False
        EmbeddedValkey(home=place).stop()
        EmbeddedPostgres(home=place).stop()
        return True
