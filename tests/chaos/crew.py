"""The processes of a run: those of the Procfile, started anew whenever one dies."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import BinaryIO

from tests.forking import Forked, forker
from worker.cli.servers import PROCFILE
from worker.processes import read_procfile

COUNTS = {"worker": 2, "scheduler": 2}
RESTART_SECONDS = 0.2
STOP_SECONDS_MAX = 40.0
"""A worker that is told to stop takes up to 20 s, and some more on a busy machine."""


class Member(Thread):
    """One process, which is started anew in a thread of its own until the crew is dismissed."""

    def __init__(
        self, name: str, words: tuple[str, ...], environment: Mapping[str, str], logs: Path
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._words = words
        self._environment = environment
        self._log = logs / f"{name}.log"
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._dismissed = Event()
        self._skew_seconds = 0.0
        self.ended: Counter[str] = Counter()
        """How often the process ended, by how."""

    def run(self) -> None:
        """Keep the process running."""
        with self._log.open("ab") as log:
            while True:
                with self._lock:
                    if self._dismissed.is_set():
                        return
                    self._process = process = self._start(log)
                code = process.wait()
                self.ended[signal.Signals(-code).name if code < 0 else f"exit {code}"] += 1
                self._dismissed.wait(RESTART_SECONDS)

    def end(self, number: signal.Signals) -> None:
        """Send the process a signal, if it runs."""
        with self._lock:
            if self._process is not None:
                self._process.send_signal(number)

    def restart(self, *, skew_seconds: float) -> None:
        """Kill the process; the clock of those that follow is wrong by so much."""
        self._skew_seconds = skew_seconds
        self.end(signal.SIGKILL)

    def dismiss(self) -> None:
        """Stop the process as a platform would, and start none any more."""
        with self._lock:
            self._dismissed.set()
        self.end(signal.SIGTERM)

    def _start(self, log: BinaryIO) -> subprocess.Popen[bytes] | Forked:
        words = self._words[1:]
        if not self._skew_seconds:
            return forker().start(words, self._environment, log.fileno(), log.fileno())
        # Its clock has to be wrong before anything of ours is imported.
        return subprocess.Popen(
            (sys.executable, "-m", "tests.chaos.skewed", str(self._skew_seconds), *words),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


class Crew:
    """All processes of a run, by their names: `worker.1`, `worker.2`, `analytics.1`, ..."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self.members = members

    def died_by_themselves(self) -> dict[str, int]:
        """Return how often a process ended that nobody had told to, by what its end was."""
        found: Counter[str] = Counter()
        for name, member in self.members.items():
            for end, count in member.ended.items():
                if end not in {"SIGKILL", "exit 0"}:
                    found[f"{name} {end}"] += count
        return dict(found)

    def dismiss(self) -> None:
        """Stop all; kill those that do not stop."""
        for member in self.members.values():
            member.dismiss()
        for member in self.members.values():
            member.join(STOP_SECONDS_MAX)
            if member.is_alive():
                member.end(signal.SIGKILL)
                member.join()


@contextmanager
def running_crew(environment: Mapping[str, str], logs: Path) -> Iterator[Crew]:
    """Run the processes of the Procfile, workers and schedulers twice."""
    crew = Crew(
        {
            name: Member(name, command.words, environment, logs)
            for command in read_procfile(PROCFILE)
            for number in range(COUNTS.get(command.name, 1))
            for name in (f"{command.name}.{number + 1}",)
        }
    )
    for member in crew.members.values():
        member.start()
    try:
        yield crew
    finally:
        crew.dismiss()
