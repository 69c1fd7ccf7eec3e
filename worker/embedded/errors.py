"""What can go wrong with an embedded server."""

from __future__ import annotations

from pathlib import Path

from streakline.errors import StreaklineError

LOG_TAIL_LINES = 15


class EmbeddedServerError(StreaklineError):
    """An embedded server cannot be had; the message names the place and the way out."""


def log_tail(path: Path) -> str:
    """Return the last lines of a server's log, indented, for the message of an error."""
    try:
        lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    except OSError:
        lines = []
    return f"Its log, {path}, ends:\n" + "\n".join(f"  {line}" for line in lines or ["(empty)"])
