"""Commands of `streakline` in this process, where starting another one is not the point."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from typer.testing import CliRunner, Result

from worker.cli import app


def invoke(arguments: Sequence[str]) -> Result:
    """Run a command; logging is afterwards as it was.

    What a command sets up writes to a standard error that is closed when the command has ended, and
    would get what later tests log.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return CliRunner().invoke(app, arguments)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
