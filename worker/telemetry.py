"""Logs: structlog for everything, as lines for people or as JSON, always to standard error.

What libraries log through the standard library comes out in the same form. Dramatiq's own word on a
failed message is left out: it would print the message, which is somebody's data; ours
(`worker.retries`) names it by its id.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from structlog.types import Processor

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
QUIET = ("dramatiq", "apscheduler", "alembic", "pika")
"""Libraries of which only warnings are of interest."""
SILENT = ("dramatiq.worker.WorkerThread",)


def visible(text: str) -> str:
    """Return a text with what would steer a terminal written out; lines and tabs stay.

    Ids and names are what users chose.

    >>> visible("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def configure_logs(log_format: str, **bound: Any) -> None:
    """Send all logs of this process to standard error; `bound` is on every line of ours."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # Its default shows the values of variables, passwords and people's data among them.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                _bind(bound),
                _on_one_line,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if log_format == "json" else []),
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _on_one_line(_logger: Any, _name: str, event: Any) -> Any:
    """Let no value end its line, or begin what looks like another one."""
    return {
        name: visible(value).replace("\n", "\\n") if isinstance(value, str) else value
        for name, value in event.items()
    }


def _bind(bound: dict[str, Any]) -> Processor:
    """Put the same values on every line, whichever thread writes it."""

    def add(_logger: Any, _name: str, event: Any) -> Any:
        return {**bound, **event}

    return add
