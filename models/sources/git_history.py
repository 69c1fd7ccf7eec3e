"""The history of a git repository as events: a commit is an event of its author.

Addresses stay where they are: an author is known by a hash of theirs. Git keeps the offset from UTC
that an author's clock had, not the zone; the zone is taken to be the fixed one that the author used
most, which is off by an hour for half the year where clocks change.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from models.sources.records import SourceError, UserLine
from streakline.contract import Event

METRIC = "commits"
HEAD = "HEAD"
# commit hash, author's time with its offset, author's address, which may hold anything but NUL
FORMAT = "%H%x1f%aI%x1f%ae"
ZONES = {
    "+03:30": "Asia/Tehran",
    "+04:30": "Asia/Kabul",
    "+05:30": "Asia/Kolkata",
    "+05:45": "Asia/Kathmandu",
    "+06:30": "Asia/Yangon",
    "+09:30": "Australia/Darwin",
    "+10:30": "Australia/Adelaide",
    "-03:30": "America/St_Johns",
    "-02:30": "America/St_Johns",
}
"""Zones of the offsets that are no whole hours; whole ones have zones of their own, `Etc/GMT…`."""


def read_commits(repository: Path, revision: str = HEAD) -> Iterator[Event]:
    """Read the commits that a revision leads to, newest first. Raises SourceError."""
    for commit, author, instant in _log(repository, revision):
        yield Event(
            user_id=author,
            metric=METRIC,
            key=commit,
            occurred_at=instant,
            attributes={"repo": repository.resolve().name},
        )


def read_authors(repository: Path, revision: str = HEAD) -> Iterator[UserLine]:
    """Read the authors of these commits, each with the zone inferred. Raises SourceError."""
    offsets: dict[str, Counter[str]] = {}
    for _, author, instant in _log(repository, revision):
        offsets.setdefault(author, Counter())[instant.isoformat()[-6:]] += 1
    for author, used in offsets.items():
        yield UserLine(data={"user_id": author, "tz": _zone(used.most_common(1)[0][0])})


def count_commits(repository: Path) -> int:
    """Count the commits that `read_commits` would read. Raises SourceError."""
    return int(_git(repository, "rev-list", "--count", HEAD))


def find_head(repository: Path) -> str:
    """Return the newest commit: what leads to it stays the same. Raises SourceError."""
    return _git(repository, "rev-parse", HEAD).decode().strip()


def _log(repository: Path, revision: str) -> Iterator[tuple[str, str, datetime]]:
    log = _git(repository, "log", "-z", "--no-show-signature", f"--format={FORMAT}", revision)
    for record in log.split(b"\0"):
        if record:
            commit, instant, address = record.decode(errors="replace").split("\x1f", 2)
            yield commit, _author(address), _instant(commit, instant)


def _git(repository: Path, *words: str) -> bytes:
    command = ["git", "-C", str(repository), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise SourceError(f"git cannot be run ({error.strerror}); is it installed?") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["git log failed"]
        raise SourceError(
            f"{repository} has no history to read ({said[0]}); name the folder of a git repository"
        )
    return done.stdout


def _instant(commit: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise SourceError(
            f"commit {commit} has a date that is none ({text}); import the history up to its parent"
        ) from None


def _author(address: str) -> str:
    return f"u-{sha256(address.lower().encode()).hexdigest()[:10]}"


def _zone(offset: str) -> str:
    hours, minutes = offset[:3], offset[4:6]
    if minutes != "00":
        return ZONES.get(offset[:6], "UTC")
    # POSIX counts west of Greenwich, and so do the names Etc/GMT±n.
    east = int(hours)
    return "UTC" if not -12 <= east <= 14 or east == 0 else f"Etc/GMT{-east:+d}"
