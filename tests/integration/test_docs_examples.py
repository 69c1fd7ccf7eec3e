"""The examples of the documentation, run as a reader would run them.

A page is read from top to bottom. "It is `2026-11-10T12:00:00Z`." sets the clock. A TOML block that
is a whole program is put into force, a block titled `events.jsonl` is imported, and a block titled
`streakline …` is what that command prints with `--json`, when what is due was done: exactly, or,
after `| jq .a.b`, the part of it that is found under these names. Every page begins with empty
servers of its own.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jobs.recompute_users import recompute_stale
from streakline.contract import read_instant
from tests.applying import put_events, put_program
from tests.commands import invoke
from worker.runtime import open_runtime
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs" / "programs").glob("*.md")), ROOT / "docs" / "operators.md"]
CLOCK = r"^It is `(?P<clock>[^`]+)`"
BLOCK = r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<text>.*?)^```$"
STEP = re.compile(f"{CLOCK}|{BLOCK}", re.MULTILINE | re.DOTALL)
PROGRAM_MARK = "# program\n"
EVENTS_TITLE = "events.jsonl"
COMMAND = "streakline "


class Shown(NamedTuple):
    """A command of a page, what the page says that it prints, and what it prints."""

    command: str
    expected: Any
    found: Any


class Reader:
    """Somebody who does what a page says, with servers of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._now: datetime | None = None

    def read(self, page: str) -> Iterator[Shown]:
        """Do all that a page says, in order."""
        for step in STEP.finditer(page):
            title = step["title"] or ""
            if step["clock"]:
                self._set_clock(read_instant("the page's clock", step["clock"]))
            elif step["language"] == "toml" and step["text"].startswith(PROGRAM_MARK):
                self._apply(step["text"])
            elif title == EVENTS_TITLE:
                self._import(step["text"])
            elif title.startswith(COMMAND):
                yield Shown(title, json.loads(step["text"]), self._run(title))

    def _set_clock(self, now: datetime) -> None:
        self._now = now
        for name, module in list(sys.modules.items()):
            if name.startswith("worker.") and hasattr(module, "utc_now"):
                self._monkeypatch.setattr(module, "utc_now", lambda: now)

    def _apply(self, toml: str) -> None:
        assert self._now is not None, "say first which time it is"
        with open_runtime(Settings.load()) as runtime:
            put_program(runtime.engine, toml, self._now)
            recompute_stale(runtime.engine, runtime.rulebooks, self._now)
            runtime.projector.project()

    def _import(self, lines: str) -> None:
        assert self._now is not None, "say first which time it is"
        with open_runtime(Settings.load()) as runtime:
            put_events(runtime.engine, map(json.loads, lines.splitlines()), now=self._now)
            runtime.projector.project()

    def _pass_time(self) -> None:
        assert self._now is not None, "say first which time it is"
        with open_runtime(Settings.load()) as runtime:
            for tick in ("sweep-streaks", "sweep-leaderboards"):
                runtime.sweeps[tick](self._now)
            runtime.projector.project()

    def _run(self, title: str) -> Any:
        command, _, path = title.partition(" | jq ")
        self._pass_time()
        done = invoke([*shlex.split(command)[1:], "--json"])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        found = json.loads(done.stdout)
        for name in filter(None, path.strip().split(".")):
            found = found[name]
        return found


@pytest.fixture
def reader(
    database_url: str, valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Reader:
    monkeypatch.setenv("STREAKLINE_DATABASE_URL", database_url)
    monkeypatch.setenv("STREAKLINE_REDIS_URL", valkey_url)
    monkeypatch.setenv("STREAKLINE_BROKER_URL", valkey_url)
    monkeypatch.setenv("STREAKLINE_NAMESPACE", namespace)
    return Reader(monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_s_example_comes_to_what_the_page_says(page: Path, reader: Reader) -> None:
    shown = list(reader.read(page.read_text("utf-8")))
    assert shown, f"{page} shows nothing that is run"
    for one in shown:
        assert one.found == one.expected, one.command
