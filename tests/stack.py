"""A stack of real processes for end-to-end tests: workers, analytics, scheduler, and the command.

Every stack has a database, a namespace and so queues of its own, on servers that tests share.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streakline import Client
from tests.forking import Forked, forker

STREAKLINE = str(Path(sys.executable).with_name("streakline"))
COMMAND_SECONDS_MAX = 120
STOP_SECONDS_MAX = 30

PROGRAM = """
[app]
name = "Stack"

[metrics.lessons]

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }

[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10

[leaderboards.lessons]
rank_by = { metric = "lessons" }
period = "all"

[leaderboards.xp]
rank_by = { points = "xp" }
period = "all"
"""


@dataclass(slots=True, kw_only=True)
class Stack:
    """Processes that run against the same servers, and the way to ask them."""

    environment: Mapping[str, str]
    broker_url: str
    redis_url: str | None
    namespace: str
    processes: list[subprocess.Popen[bytes] | Forked] = field(default_factory=list)

    def start(self, *words: str, **environment: str) -> Forked:
        """Start a `streakline` command that runs long; it is stopped with the stack."""
        process = forker().start(words, {**self.environment, **environment}, 1, 2)
        self.processes.append(process)
        return process

    def start_dying(self, point: str, queue: str) -> subprocess.Popen[bytes]:
        """Start a worker of one queue that dies at a point of `tests.e2e.dying_worker`."""
        words = (sys.executable, "-m", "tests.e2e.dying_worker", point, queue)
        process = subprocess.Popen(words, env=dict(self.environment))
        self.processes.append(process)
        return process

    def start_all(self) -> None:
        """Start what the Procfile names, one of each, but for backfills."""
        self.start("worker", "--queues", "events,sweeps")
        self.start("worker", "--queues", "sweeps,analytics,emails", "--threads", "6")
        self.start("scheduler")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `streakline` command to its end."""
        return forker().run(words, self.environment, COMMAND_SECONDS_MAX)

    def ask(self, *words: str) -> Any:
        """Run a command with --json that must succeed, and return what it printed."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def client(self) -> Client:
        """Return a client of this stack's queue."""
        return Client(self.broker_url, self.redis_url, namespace=self.namespace)

    def stop(self) -> None:
        """Stop what runs, as a platform would."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=STOP_SECONDS_MAX)


@contextmanager
def running_stack(
    *,
    database_url: str,
    broker_url: str,
    redis_url: str | None = None,
    namespace: str,
    home: Path,
    program: str = PROGRAM,
) -> Iterator[Stack]:
    """Yield a stack with its program in force and nothing running yet.

    Without `redis_url` rankings are in the broker's Redis.
    """
    path = home / "streakline.toml"
    path.write_text(program, encoding="utf-8")
    stack = Stack(
        environment=os.environ
        | {
            "STREAKLINE_HOME": str(home),
            "STREAKLINE_DATABASE_URL": database_url,
            "STREAKLINE_BROKER_URL": broker_url,
            "STREAKLINE_REDIS_URL": redis_url or "",
            "STREAKLINE_NAMESPACE": namespace,
            "STREAKLINE_PROGRAM": str(path),
            "COLUMNS": "200",
        },
        broker_url=broker_url,
        redis_url=redis_url,
        namespace=namespace,
    )
    try:
        stack.ask("program", "apply")
        yield stack
    finally:
        stack.stop()


def read_boards(stack: Stack, names: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return what Redis and what Postgres say of each leaderboard, from the first to the last."""
    return {
        name: (
            stack.ask("leaderboard", "show", name, "--limit", "10000", "--source", "redis"),
            stack.ask("leaderboard", "show", name, "--limit", "10000", "--source", "postgres"),
        )
        for name in names
    }
