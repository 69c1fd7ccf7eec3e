"""The directory that holds the embedded servers' data, and who may use it at one time.

Layout of `STREAKLINE_HOME`:

    postgres/    data, socket and log of Postgres        broker-url   Valkey's URL, for clients
    valkey/      data, socket and log of Valkey          password     Postgres over TCP, if asked
    start.lock   held while servers are started or stopped
    users.lock   shared by everybody who uses the servers; the last to leave stops them

What we make is private (0700, files 0600). A home that existed keeps its mode, for it may be a
directory with other things in it; what lies in it is private all the same. The locks are flocks:
the kernel lets go of them when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.embedded.errors import EmbeddedServerError

SOCKET_PATH_BYTES_MAX = 103  # sun_path less its closing NUL: 107 on Linux, 103 on macOS
LONGEST_SOCKET_NAME = "postgres/.s.PGSQL.65535"
# Not tempfile.gettempdir(): TMPDIR may differ between two terminals, and be long itself.
SHORT_PLACE = Path("/tmp")
OWN_DATABASE = "STREAKLINE_DATABASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A home that exists and can be written to. Both paths are absolute."""

    path: Path
    sockets: Path
    """Below it each server keeps its socket: `path` itself unless that is too long for one."""


def open_home(path: Path) -> Home:
    """Make the home if it is not there and see that it can be used.

    Raises EmbeddedServerError: it is a file, cannot be made, cannot be written to, or its path is
    too long for sockets and the private directory that would hold them is not ours.
    """
    path = path.expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise _unusable(path, "it is a file") from error
    except OSError as error:
        raise _unusable(path, f"it cannot be made: {error.strerror}") from error
    path = path.resolve()
    try:
        (path / "start.lock").touch(mode=0o600)
        (path / "users.lock").touch(mode=0o600)
    except OSError as error:
        raise _unusable(path, f"it cannot be written to: {error.strerror}") from error
    return Home(path=path, sockets=_place_for_sockets(path))


def make_private(path: Path) -> Path:
    """Make a directory that only its owner may look into, or take the one that is there.

    Raises EmbeddedServerError: it cannot be made, or somebody else made it.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise EmbeddedServerError(f"{path} cannot be made: {error.strerror}.") from error
    ours = os.geteuid() in {0, found.st_uid} and stat.S_ISDIR(found.st_mode)
    if not ours:
        raise EmbeddedServerError(
            f"{path} is not a directory of this user: remove it, or choose another home "
            "with STREAKLINE_HOME."
        )
    return path


@contextmanager
def starting_or_stopping(home: Home) -> Iterator[None]:
    """Let one process at a time start or stop servers of this home; the others wait."""
    with (home.path / "start.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def refuse_port_in_use(port: int, setting: str) -> None:
    """Raise EmbeddedServerError if something listens on this port of 127.0.0.1 already."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EmbeddedServerError(
                f"{setting}={port}: port {port} of 127.0.0.1 cannot be had ({error.strerror}). "
                f"Choose another, or unset {setting}: Streakline itself needs no port."
            ) from error


def _place_for_sockets(home: Path) -> Path:
    if len(os.fsencode(home / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX:
        return home
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    place = make_private(SHORT_PLACE / f"streakline-{name}")
    if place.lstat().st_uid != os.geteuid():
        raise EmbeddedServerError(f"{place} belongs to another user: remove it.")
    return place


def _unusable(path: Path, reason: str) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"{path} cannot be the home of the embedded servers: {reason}. Set STREAKLINE_HOME to a "
        f"directory of your own, or use servers of your own ({OWN_DATABASE}, STREAKLINE_REDIS_URL)."
    )
