"""From one release to the next on living data: the code of before, and this, on the same servers.

`python -m tests.upgrading v1.2.0` does so from a tag, or from any commit. The code of before comes
from git and runs on this environment's packages. It makes the tables, applies events and leaves
messages on the queue; this version migrates and takes them; the code of before then works on the
new tables; in the end both work side by side. Every event must count once, whoever applied it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from models.database import open_engine
from models.statements.boards import count_touches
from models.statements.events import Outcome, read_counts
from models.statements.messages import count_dead_messages
from tests.applying import read_states
from tests.servers import FAST_POSTGRES, temporary_home
from tests.stack import COMMAND_SECONDS_MAX, PROGRAM, STOP_SECONDS_MAX
from tests.waiting import wait_until
from worker.embedded import embedded_postgres, embedded_valkey

ROOT = Path(__file__).parents[1]
USERS = 5
EVENTS_PER_STEP = 150
APPLY_SECONDS_MAX = 90.0
_MAIN = "from worker.cli import main; main()"
_SEND = """
import json, sys
from streakline import Client, Event
with Client.from_env() as client:
    client.track_many([Event(**fields) for fields in json.load(sys.stdin)])
"""
_WHERE = """
import models, streakline, worker
print(models.__file__, streakline.__file__, worker.__file__)
"""


@dataclass(slots=True, kw_only=True)
class Version:
    """The code in a folder, run with the servers' addresses."""

    folder: Path
    environment: Mapping[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *words: str) -> str:
        """Run a `streakline` command that must succeed; return what it printed."""
        return self._python(_MAIN, *words)

    def send(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Send events with this version's client."""
        self._python(_SEND, stdin=json.dumps(events))

    def start(self) -> None:
        """Start a worker and a scheduler."""
        for words in (["worker", "--queues", "events,sweeps"], ["scheduler"]):
            command = [sys.executable, "-c", _MAIN, *words]
            self.running.append(
                subprocess.Popen(command, cwd=self.folder, env=dict(self.environment))
            )

    def stop(self) -> None:
        """Stop them as a platform would."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(STOP_SECONDS_MAX)
        self.running.clear()

    def must_be_itself(self) -> None:
        """Make sure that what runs is the code of the folder and no other."""
        found = self._python(_WHERE).split()
        if not all(Path(one).is_relative_to(self.folder.resolve()) for one in found):
            raise RuntimeError(f"{self.folder} would run {found}")

    def _python(self, code: str, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=self.folder,
            env=dict(self.environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.folder.name}: {words}: {done.stderr}{done.stdout}")
        return done.stdout


def upgrade_from(reference: str) -> None:
    """Go from the code of a tag or commit to this. Raises what shows that it does not go."""
    with ExitStack() as stack:
        home = stack.enter_context(temporary_home())
        environment = os.environ | {
            "STREAKLINE_HOME": str(home),
            "STREAKLINE_DATABASE_URL": stack.enter_context(
                embedded_postgres(home, settings=FAST_POSTGRES)
            ),
            "STREAKLINE_BROKER_URL": stack.enter_context(embedded_valkey(home)),
            "STREAKLINE_PROGRAM": str(home / "streakline.toml"),
        }
        (home / "streakline.toml").write_text(PROGRAM, encoding="utf-8")
        engine = open_engine(environment["STREAKLINE_DATABASE_URL"])
        stack.callback(engine.dispose)
        before = stack.enter_context(
            _version(_checked_out(reference, home / "before"), environment)
        )
        after = stack.enter_context(_version(ROOT, environment))
        sent: list[dict[str, Any]] = []

        def send(*versions: Version) -> None:
            for version in versions:
                new = [_event(len(sent) + number) for number in range(EVENTS_PER_STEP)]
                version.send(new)
                sent.extend(new)

        def must_be_applied() -> None:
            def is_applied() -> bool:
                with engine.connect() as connection:
                    return read_counts(connection)[Outcome.APPLIED] == len(sent)

            wait_until(
                is_applied, deadline_seconds=APPLY_SECONDS_MAX, message=f"{len(sent)} applied"
            )

        # The code of before makes tables and rows, and leaves messages behind.
        before.run("migrate")
        before.run("program", "apply")
        before.start()
        send(before)
        must_be_applied()
        before.stop()
        send(before)
        # This version migrates, and takes them.
        after.run("migrate")
        after.start()
        must_be_applied()
        after.stop()
        # Processes of before still run on the tables of now, and read what new clients send.
        before.start()
        send(after)
        must_be_applied()
        before.run("status", "--json")
        before.run("user", "show", "user-0", "--json")
        # Both at once, and all of it sent again by both.
        after.start()
        send(before, after)
        for version in (before, after):
            version.send(sent)
        must_be_applied()
        before.stop()
        _must_agree(after, engine, sent)
        with engine.connect() as connection:
            assert count_dead_messages(connection) == 0


def _must_agree(version: Version, engine: Engine, sent: Sequence[object]) -> None:
    """Compare what users have with what was sent, and everything with a fold from nothing."""

    def is_projected() -> bool:
        with engine.connect() as connection:
            return count_touches(connection) == 0

    version.run("recompute")
    wait_until(is_projected, deadline_seconds=APPLY_SECONDS_MAX, message="all is projected")
    found = {
        user_id: state.totals["lessons"].value for user_id, state in read_states(engine).items()
    }
    assert found == {f"user-{number}": len(sent) // USERS for number in range(USERS)}
    version.run("verify", "--without-warehouse")


def _event(number: int) -> dict[str, Any]:
    return {"user_id": f"user-{number % USERS}", "metric": "lessons", "key": str(number)}


@contextmanager
def _version(folder: Path, environment: Mapping[str, str]) -> Iterator[Version]:
    paths = os.pathsep.join([str(folder), str(folder / "client")])
    version = Version(folder=folder, environment={**environment, "PYTHONPATH": paths})
    version.must_be_itself()
    try:
        yield version
    finally:
        version.stop()


def _checked_out(reference: str, folder: Path) -> Path:
    """Return a folder with the code of a tag or commit."""
    command = ["git", "archive", "--format=tar", reference, "client", "models", "jobs", "worker"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


if __name__ == "__main__":
    upgrade_from(sys.argv[1])
    print(f"from {sys.argv[1]} to this: every event counts once")  # noqa: T201 - a command's output
