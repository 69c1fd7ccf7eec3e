"""`streakline` commands in processes of their own, without the second and a half that imports take.

One process imports the command once and forks for each that is run: what such a process is given,
does and leaves is what it is with one that was started anew, but for that.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from tempfile import TemporaryFile

_NUMBER_BYTES = 4


class Forked:
    """A process that was forked: as much of `subprocess.Popen` as tests use."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self.returncode: int | None = None
        """How it ended, once somebody has waited for it; below zero: by which signal."""
        self.pid = self._read_number()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return how it ended; None: it runs."""
        with suppress(TimeoutError):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended and return how; one thread may. Raises TimeoutError."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise TimeoutError(f"process {self.pid} runs on after {timeout} s")
            self.returncode = self._read_number()
            self._told.close()
        return self.returncode

    def _read_number(self) -> int:
        number = self._told.recv(_NUMBER_BYTES)
        assert len(number) == _NUMBER_BYTES, "the process that forks is gone"
        return int.from_bytes(number, signed=True)


class Forker:
    """The process that forks; it ends with the one that made it."""

    def __init__(self) -> None:
        self._near, far = socket.socketpair(type=socket.SOCK_SEQPACKET)
        words = [sys.executable, "-m", "tests.forking", str(far.fileno())]
        # Rich looks at it when it is imported, and each command has its own.
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        with far:
            self._process = subprocess.Popen(
                words,
                env=environment,
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], out: int, err: int
    ) -> Forked:
        """Start `streakline` with these words, in a session of its own, writing to these files."""
        near, far = socket.socketpair()
        with far, TemporaryFile() as asked:
            asked.write(json.dumps([list(words), dict(environment)]).encode())
            asked.seek(0)
            given = [asked.fileno(), out, err, far.fileno()]
            socket.send_fds(self._near, [b"?"], given)
        return Forked(near)

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], seconds_max: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `streakline` with these words to its end.

        Raises TimeoutError, and what ran is killed then, with all that it started.
        """
        with TemporaryFile() as out, TemporaryFile() as err:
            process = self.start(words, environment, out.fileno(), err.fileno())
            try:
                code = process.wait(seconds_max)
            except TimeoutError as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise TimeoutError(f"not within {seconds_max} s: streakline {words}") from error
            said = []
            for one in (out, err):
                one.seek(0)
                said.append(one.read().decode())
        return subprocess.CompletedProcess(list(words), code, *said)

    def close(self) -> None:
        """Let the process end; what it has forked runs on."""
        self._near.close()
        self._process.wait()


@cache
def forker() -> Forker:
    """Return the one of this process."""
    found = Forker()
    atexit.register(found.close)
    return found


def _serve(far: socket.socket) -> None:
    """Fork whenever asked, and return in each child; end the process when nobody asks any more.

    Each child has a keeper, which is forked for it, waits for its end and tells of it.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that keepers leave no zombies
    while True:
        _, given, _, _ = socket.recv_fds(far, 1, 4)
        if not given:
            sys.exit()
        if not os.fork():
            far.close()
            return _keep(*given)
        for one in given:
            os.close(one)


def _keep(asked: int, out: int, err: int, told: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        os.close(told)
        return _become(asked, out, err)
    for one in (asked, out, err):
        os.close(one)
    os.write(told, child.to_bytes(_NUMBER_BYTES, signed=True))
    _, status = os.waitpid(child, 0)
    os.write(told, os.waitstatus_to_exitcode(status).to_bytes(_NUMBER_BYTES, signed=True))
    os._exit(0)


def _become(asked: int, out: int, err: int) -> None:
    os.setsid()
    with open(asked, "rb") as file:
        words, environment = json.loads(file.read())
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for one in (out, err):
        os.close(one)
    sys.argv = ["streakline", *words]


if __name__ == "__main__":
    from worker.cli import main

    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
