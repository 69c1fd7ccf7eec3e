"""`streakline` commands in processes of their own, without the second and a half that imports take.

One process imports the command once and forks for each that is run: what such a process is given,
does and leaves is what it is with one that was started anew, but for that.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from tempfile import TemporaryFile
from threading import Lock

ANSWER_BYTES_MAX = 16


class Forker:
    """The process that forks; it ends with the one that made it."""

    def __init__(self) -> None:
        self._near, far = socket.socketpair()
        self._lock = Lock()
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

    def run(
        self, words: Sequence[str], environment: Mapping[str, str], seconds_max: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `streakline` with these words to its end.

        Raises TimeoutError, and what ran is killed then; the next command has another forker.
        """
        with self._lock, TemporaryFile() as asked, TemporaryFile() as out, TemporaryFile() as err:
            asked.write(json.dumps([list(words), dict(environment)]).encode())
            asked.seek(0)
            self._near.settimeout(seconds_max)
            socket.send_fds(self._near, [b"?"], [one.fileno() for one in (asked, out, err)])
            try:
                code = int(self._near.recv(ANSWER_BYTES_MAX))
            except TimeoutError as error:
                os.killpg(self._process.pid, signal.SIGKILL)
                forker.cache_clear()
                raise TimeoutError(f"not within {seconds_max} s: streakline {words}") from error
            said = []
            for one in (out, err):
                one.seek(0)
                said.append(one.read().decode())
        return subprocess.CompletedProcess(list(words), code, *said)

    def close(self) -> None:
        """Let the process end."""
        self._near.close()
        self._process.wait()


@cache
def forker() -> Forker:
    """Return the one of this process."""
    found = Forker()
    atexit.register(found.close)
    return found


def _serve(far: socket.socket) -> None:
    """Fork whenever asked, and return in each child; end the process when nobody asks any more."""
    while True:
        _, given, _, _ = socket.recv_fds(far, 1, 3)
        if not given:
            sys.exit()
        child = os.fork()
        if not child:
            far.close()
            return _become(*given)
        for one in given:
            os.close(one)
        _, status = os.waitpid(child, 0)
        far.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(asked: int, out: int, err: int) -> None:
    with open(asked, "rb") as file:
        words, environment = json.loads(file.read())
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.argv = ["streakline", *words]


if __name__ == "__main__":
    from worker.cli import main

    _serve(socket.socket(fileno=int(sys.argv[1])))
    main()
