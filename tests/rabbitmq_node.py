"""A RabbitMQ of a test's own, which it may kill: the installed program in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from streakline.rabbitmq_transport import RABBITMQ_ERRORS, QuorumBroker
from tests.servers import free_port, lacks
from tests.waiting import wait_until

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS_MAX = 60
SAID_MAX = 4_000
COOKIE = "streakline"
"""By which Erlang's nodes know each other."""


class RabbitmqNode:
    """A single node; `url` is that of its default virtual host."""

    def __init__(self, place: Path) -> None:
        if not PROGRAM.exists():
            lacks(f"no RabbitMQ is installed as {PROGRAM}")
        self._place = place
        port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{port}"
        (place / "own.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
        (place / "plugins").write_text("[].\n")
        cookie = place / ".erlang.cookie"
        cookie.write_text(COOKIE)
        cookie.chmod(0o400)
        self._name = f"{uuid4().hex[:10]}@localhost"
        self._environment = os.environ | {
            "HOME": str(place),  # where Erlang keeps its cookie
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(place / "own.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(place / "data"),
            "RABBITMQ_LOG_BASE": str(place / "log"),
            "RABBITMQ_PID_FILE": str(place / "pid"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the data that it had, and wait until it answers."""
        said = self._place / "said"
        with said.open("wb") as file:
            self._process = subprocess.Popen(
                [str(PROGRAM)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self._place,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, deadline_seconds=START_SECONDS_MAX)
        except AssertionError as error:
            ends = said.read_text(errors="replace")[-SAID_MAX:]
            raise AssertionError(f"RabbitMQ does not answer; it said: {ends}") from error

    def control(self, *command: str) -> None:
        """Run rabbitmqctl for this node."""
        subprocess.run(
            [str(PROGRAM.with_name("rabbitmqctl")), *command],
            env=self._environment,
            check=True,
            capture_output=True,
            timeout=START_SECONDS_MAX,
        )

    def join(self, other: RabbitmqNode) -> None:
        """Become a node of the cluster of another one."""
        self.control("stop_app")
        self.control("join_cluster", other._name)
        self.control("start_app")

    def wait_until_kept(self, queue: str) -> None:
        """Wait until a queue that is new stands in the files by which it is found again.

        RabbitMQ writes them within a second or two; killed before, it has the queue and its
        messages, and never a leader for it.
        """
        wait_until(lambda: any(queue.encode() in path.read_bytes() for path in self._names()))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let it hold its connections and do nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it at once, with all that it has started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _names(self) -> Iterator[Path]:
        return self._place.glob("data/*/quorum/*/names.dets")

    def _answers(self) -> bool:
        broker = QuorumBroker(self.url)
        try:
            return bool(broker.connection.is_open)
        except RABBITMQ_ERRORS:
            return False
        finally:
            broker.close()


@contextmanager
def running_rabbitmq(place: Path) -> Iterator[RabbitmqNode]:
    """Yield one that runs, and kill it in the end."""
    node = RabbitmqNode(place)
    try:
        node.start()
        yield node
    finally:
        node.kill()
