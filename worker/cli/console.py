"""What the commands share: settings, the runtime, printing, and errors as one readable line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from streakline.contract import read_instant
from streakline.errors import InvalidEvent
from worker.runtime import Runtime, open_runtime
from worker.settings import Settings
from worker.shapes import plain
from worker.telemetry import configure_logs, visible

DONE, NO, WRONG_USE = 0, 1, 2
"""Exit codes: done; the answer is no; wrong use or an environment that does not allow it."""


class _Console(Console):
    """Rich's, in which no text steers the terminal: only what we style does."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


out = _Console(markup=False, highlight=False)
"""For answers. What they show is data, ids of users among it: no markup is read into it."""
err = _Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def load_settings(**bound: Any) -> Settings:
    """Return the settings, with logs set up as they say."""
    settings = Settings.load()
    configure_logs(settings.log_format, **bound)
    return settings


@contextmanager
def open_console_runtime(
    *, connections_max: int = 5, threads: int = 1, **bound: Any
) -> Iterator[Runtime]:
    """Open the servers for one command."""
    settings = load_settings(**bound)
    with open_runtime(settings, connections_max=connections_max, threads=threads) as runtime:
        yield runtime


def print_json(data: Any) -> None:
    """Print JSON in the shapes of the interface: decimals and instants as texts."""
    sys.stdout.write(json.dumps(data, default=plain, indent=2, ensure_ascii=False) + "\n")


def fail(reason: str, code: int = WRONG_USE) -> NoReturn:
    """End the command with a line on standard error."""
    err.print(f"[red]error:[/red] {escape(reason)}", soft_wrap=True)
    raise typer.Exit(code)


def refuse(reason: str, as_json: bool) -> NoReturn:
    """End the command with the answer no and the reason, as JSON too where that is asked for."""
    if as_json:
        print_json({"error": reason})
    fail(reason, NO)


def when(instant: datetime | None) -> str:
    """Return an instant for people, or that there is none."""
    return "never" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S}"


def read_when(text: str | None, option: str = "--as-of") -> datetime | None:
    """Read an instant that an option names."""
    if text is None:
        return None
    try:
        return read_instant(option, text)
    except InvalidEvent as error:
        fail(str(error))


def read_attributes(pairs: list[str], option: str) -> dict[str, str]:
    """Read options like `country=FR`."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            fail(f"{option} {pair!r} must be like country=FR")
        found[name] = value
    return found
