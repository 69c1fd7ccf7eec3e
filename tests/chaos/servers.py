"""The servers of one run: embedded ones in a home of its own, which can be killed and refuse.

Processes reach them through proxies; the harness itself, when it breaks and when it counts, goes
straight to their sockets.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import urlsplit

import psycopg
from dramatiq.common import xq_name
from psycopg import sql
from redis import Redis

from streakline.contract import EVENTS_QUEUE, NAMESPACE
from streakline.rabbitmq_transport import QuorumBroker
from tests.proxy import Proxy, Upstream, proxying
from tests.rabbitmq_node import RabbitmqNode, running_rabbitmq
from tests.smtp import MailServer, mail_server
from worker.embedded import embedded_postgres, embedded_valkey
from worker.embedded.home import open_home, starting_or_stopping
from worker.embedded.postgres import EmbeddedPostgres
from worker.embedded.valkey import EmbeddedValkey
from worker.taken import Takers

# What dies here are processes, not the machine: what was written is there, synced or not.
POSTGRES = {"fsync": "off", "shared_buffers": "64MB", "io_method": "sync"}
VALKEY = {"appendfsync": "no"}
"""What was accepted is written before the answer, as with `always`. With `everysec` a write waits
for up to two seconds while a sync takes long, and what waits dies with the server."""
NEVER_ENOUGH = "1"
"""As many replicas must take a write, and there is none: so every write is refused."""
MESSAGES = ("events.msgs", "events.DQ.msgs", "events.XQ.msgs")
"""Where messages of events are in Valkey: at once, for later, rejected."""


class BrokerKind(StrEnum):
    """Where the queue is; rankings are in Valkey."""

    VALKEY = "valkey"
    RABBITMQ = "rabbitmq"


@dataclass(slots=True, kw_only=True)
class Servers:
    """Postgres, Valkey, SMTP and maybe RabbitMQ, each behind a proxy of its name."""

    home: Path
    database_url: str
    valkey_url: str
    mail: MailServer
    rabbitmq: RabbitmqNode | None
    """The broker, where Valkey is none."""
    proxies: dict[str, Proxy]
    _changing: RLock = field(default_factory=RLock)
    """One fault at a time is a server's."""

    def environment(self) -> dict[str, str]:
        """Return the variables that bring processes to the servers, through the proxies."""
        ports = {name: proxy.port for name, proxy in self.proxies.items()}
        return {
            "STREAKLINE_HOME": str(self.home),
            "STREAKLINE_DATABASE_URL": (
                f"postgresql://postgres@127.0.0.1:{ports['postgres']}/streakline"
            ),
            "STREAKLINE_BROKER_URL": (
                f"redis://127.0.0.1:{ports['valkey']}/0"
                if self.rabbitmq is None
                else f"amqp://guest:guest@127.0.0.1:{ports['rabbitmq']}"
            ),
            "STREAKLINE_REDIS_URL": f"redis://127.0.0.1:{ports['valkey']}/1",
            "STREAKLINE_SMTP_URL": f"smtp://127.0.0.1:{ports['smtp']}",
        }

    def redis(self, database: int = 0) -> Redis:
        """Return a client of the server itself."""
        return Redis.from_url(
            self.valkey_url.replace("db=0", f"db={database}"), socket_timeout=10.0
        )

    def count_messages(self) -> dict[str, int]:
        """Return how many messages of events are in the broker, by where they are."""
        if self.rabbitmq is None:
            with self.redis() as redis:
                client: Any = redis
                return {name: client.hlen(f"{NAMESPACE}:{name}") for name in MESSAGES}
        broker = QuorumBroker(self.rabbitmq.url)
        try:
            ready, delayed, rejected = broker.get_queue_message_counts(EVENTS_QUEUE)
        finally:
            broker.close()
        with self.redis(1) as redis:
            taken = Takers(redis, NAMESPACE).read()
        return {
            "events": ready,
            "events.DQ": delayed,
            "events.XQ": rejected,
            "taken": taken[EVENTS_QUEUE].messages if EVENTS_QUEUE in taken else 0,
        }

    def kill_postgres(self) -> None:
        """Kill the postmaster, and start Postgres again."""
        self._end_postgres(signal.SIGKILL)

    def restart_postgres(self) -> None:
        """Let Postgres end at once, as after a crash, and start it again."""
        self._end_postgres(signal.SIGQUIT)

    def kill_valkey(self) -> None:
        """Kill Valkey and start it again."""
        place = open_home(self.home)
        with self._changing, starting_or_stopping(place):
            with self.redis() as client:
                os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
            EmbeddedValkey(home=place, settings=VALKEY).ensure_running()

    def kill_rabbitmq(self) -> None:
        """Kill RabbitMQ and start it again."""
        assert self.rabbitmq is not None
        with self._changing:
            self.rabbitmq.wait_until_kept(xq_name(EVENTS_QUEUE))
            self.rabbitmq.kill()
            self.rabbitmq.start()

    def refuse_writes(self, server: str, refuses: bool) -> None:
        """Let a server that answers refuse whatever would change anything, or take it again."""
        with self._changing:
            if server == "valkey":
                self._configure("min-replicas-to-write", NEVER_ENOUGH if refuses else "0")
                return
            words = sql.Literal("on" if refuses else "off")
            with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as one:
                one.execute(
                    sql.SQL("alter system set default_transaction_read_only = {}").format(words)
                )
                one.execute("select pg_reload_conf()")

    def fill_memory(self, full: bool) -> None:
        """Let Valkey say that its memory is full, or not any more."""
        with self._changing:
            self._configure("maxmemory", "1" if full else "0")

    def heal(self) -> None:
        """Let all servers do again what they do."""
        for proxy in self.proxies.values():
            proxy.heal()
        self.refuse_writes("valkey", False)
        self.refuse_writes("postgres", False)
        self.fill_memory(False)

    def _configure(self, name: str, value: str) -> None:
        with self.redis() as client:
            client.config_set(name, value)

    def _end_postgres(self, number: signal.Signals) -> None:
        place = open_home(self.home)
        with self._changing, starting_or_stopping(place):
            pid_file = self.home / "postgres" / "postmaster.pid"
            os.kill(int(pid_file.read_text().split()[0]), number)
            EmbeddedPostgres(home=place, settings=POSTGRES).ensure_running()


@contextmanager
def running_servers(home: Path, kind: BrokerKind) -> Iterator[Servers]:
    """Start servers in a home, with a proxy before each; all of them are gone afterwards."""
    with ExitStack() as stack:
        database_url = stack.enter_context(embedded_postgres(home, settings=POSTGRES))
        valkey_url = stack.enter_context(embedded_valkey(home, settings=VALKEY))
        mail = stack.enter_context(mail_server())
        host, _, port = mail.address.rpartition(":")
        upstreams: dict[str, Upstream] = {
            "postgres": open_home(home).sockets / "postgres" / ".s.PGSQL.5432",
            "valkey": open_home(home).sockets / "valkey" / "valkey.sock",
            "smtp": (host, int(port)),
        }
        rabbitmq = None
        if kind is BrokerKind.RABBITMQ:
            (home / "rabbitmq").mkdir()
            rabbitmq = stack.enter_context(running_rabbitmq(home / "rabbitmq"))
            upstreams["rabbitmq"] = ("127.0.0.1", urlsplit(rabbitmq.url).port or 0)
        proxies = {name: stack.enter_context(proxying(up)) for name, up in upstreams.items()}
        yield Servers(
            home=home,
            database_url=database_url,
            valkey_url=valkey_url,
            mail=mail,
            rabbitmq=rabbitmq,
            proxies=proxies,
        )
