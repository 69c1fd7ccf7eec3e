"""A small supervisor: runs the processes of a Procfile and starts again what dies.

Guarantees: a process that ends for whatever reason runs again after a pause that doubles from
BACKOFF_SECONDS_MIN to BACKOFF_SECONDS_MAX and is short again once it has run for
STEADY_SECONDS; `stop` asks each process with SIGTERM and kills what is left after the grace.
Each runs in a session of its own: Ctrl-C in a terminal reaches the supervisor alone, which then
stops them in order, and with a process die those that it has started itself. If the supervisor
itself is killed, its processes run on: they hold nothing that a next supervisor needs.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread

import structlog

from streakline.errors import StreaklineError

BACKOFF_SECONDS_MIN = 0.5
BACKOFF_SECONDS_MAX = 30.0
STEADY_SECONDS = 60.0
GRACE_SECONDS = 30.0
POLL_SECONDS = 0.02

log = structlog.get_logger(__name__)


class ProcfileError(StreaklineError, ValueError):
    """A Procfile cannot be run; the message names the file and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One line of a Procfile: words, not a shell's line, so nothing in it is expanded."""

    name: str
    words: tuple[str, ...]


def read_procfile(path: Path) -> tuple[Command, ...]:
    """Read lines like `worker: streakline worker`; empty ones and `#` are skipped.

    Raises ProcfileError: no such file, no command in it, a line of another form, a name twice, a
    program that is not there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ProcfileError(f"{path} cannot be read: {error.strerror}.") from error
    commands: dict[str, Command] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            command = _command(line, place=f"{path}, line {number}")
            if command.name in commands:
                raise ProcfileError(f"{path}, line {number}: {command.name} stands there twice.")
            commands[command.name] = command
    if not commands:
        raise ProcfileError(f"{path} names no process: `worker: streakline worker` would be one.")
    return tuple(commands.values())


class Supervisor:
    """Runs commands, each as many times as `counts` says (once if it does not), until stopped.

    `environment` is all that the processes see of one, but for `ports`: a variable, and the port
    that it names to the first process; to the second it names the one after it, and so on.
    `run` may be called once.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        *,
        environment: Mapping[str, str],
        counts: Mapping[str, int] | None = None,
        ports: tuple[str, int] | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Raises ProcfileError: a count for a name that there is not."""
        self._grace_seconds = grace_seconds
        self._stopping = Event()
        # A SimpleQueue, because its put() may be called in a signal's handler at any moment.
        self._wishes: SimpleQueue[None] = SimpleQueue()
        self._children = [
            _Child(name, command.words, {**environment, **_port(ports, place)}, self._stopping)
            for place, (name, command) in enumerate(_instances(commands, counts or {}))
        ]

    def run(self) -> None:
        """Keep the processes running until `stop` is called; return when all have ended."""
        try:
            for child in self._children:
                child.start()
            self._wishes.get()
        finally:
            self._end()

    def stop(self) -> None:
        """Ask `run` to end: any thread and a signal's handler may. A second time, at once."""
        self._wishes.put(None)

    def _end(self) -> None:
        self._stopping.set()
        for child in self._children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_seconds
        while any(child.is_alive() for child in self._children) and time.monotonic() < deadline:
            with suppress(Empty):
                self._wishes.get(timeout=POLL_SECONDS)
                break
        for child in self._children:
            child.kill()
        for child in self._children:
            child.join()


class _Child(Thread):
    """Keeps one process running, in a thread of its own that waits for the process to end."""

    def __init__(
        self, name: str, words: tuple[str, ...], environment: dict[str, str], stopping: Event
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._words = words
        self._environment = environment
        self._stopping = stopping
        self._lock = Lock()  # a process is either seen by `signal` or not started after it
        self._process: subprocess.Popen[bytes] | None = None
        self._log = log.bind(process=name)

    def run(self) -> None:
        backoff = BACKOFF_SECONDS_MIN
        while True:
            began = time.monotonic()
            end = self._run_once()
            if self._stopping.is_set():
                return
            if time.monotonic() - began >= STEADY_SECONDS:
                backoff = BACKOFF_SECONDS_MIN
            self._log.warning("process_died", end=end, restart_in_seconds=backoff)
            if self._stopping.wait(backoff):
                return
            backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone: what it has started is its own to stop."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process, if it still runs, with all that it has started."""
        with self._lock:
            if self._process is not None:
                self._log.warning("process_killed", pid=self._process.pid)
                _kill_group(self._process.pid)

    def _run_once(self) -> str:
        with self._lock:
            if self._stopping.is_set():
                return "not started"
            try:
                self._process = process = subprocess.Popen(
                    self._words,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                return str(error)
        self._log.info("process_started", pid=process.pid)
        code = process.wait()
        with self._lock:
            self._process = None
            _kill_group(process.pid)  # a worker's own children must not outlive it unseen
        end = f"exit {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"
        if self._stopping.is_set():
            self._log.info("process_stopped", end=end)
        return end


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS: PermissionError if only zombies
        os.killpg(leader, signal.SIGKILL)


def _port(ports: tuple[str, int] | None, place: int) -> dict[str, str]:
    return {ports[0]: str(ports[1] + place)} if ports else {}


def _instances(
    commands: Sequence[Command], counts: Mapping[str, int]
) -> Iterator[tuple[str, Command]]:
    names = [command.name for command in commands]
    for name in counts:
        if name not in names:
            raise ProcfileError(f"There is no process {name!r}: there are {', '.join(names)}.")
    for command in commands:
        for number in range(counts.get(command.name, 1)):
            yield f"{command.name}.{number + 1}", command


def _command(line: str, *, place: str) -> Command:
    name, colon, rest = line.partition(":")
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise ProcfileError(f"{place}: {error}.") from error
    if not colon or not name.strip() or not words:
        raise ProcfileError(f"{place}: must be like `worker: streakline worker`, is {line!r}.")
    beside = Path(sys.executable).parent / words[0]
    program = str(beside) if beside.exists() else shutil.which(words[0])
    if program is None:
        raise ProcfileError(f"{place}: there is no program {words[0]!r}.")
    return Command(name=name.strip(), words=(program, *words[1:]))
