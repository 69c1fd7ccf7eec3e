"""What the fixtures of tests/conftest.py do with servers: homes, databases, keys.

Two kinds of servers: embedded ones in a home of this session's own, and those that run on this
machine (CI has them all). On the latter every database, key and queue has a name of its own, and
nothing of anybody else is ever touched.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from random import SystemRandom
from typing import NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from dramatiq.common import dq_name, xq_name
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import make_url

from models.database import open_engine
from models.migrations import upgrade
from streakline.rabbitmq_transport import QuorumBroker
from tests.waiting import wait_until
from worker.cli.servers import QUEUES
from worker.embedded import stop_if_unused

HOME_PREFIX = "streakline-test-"
FRESH_SECONDS = 60  # a home younger than this may be one that is just being made
HELD = "held"
NAMES = "streakline_test_"
# For speed: what these tests write need not survive the machine.
FAST_POSTGRES = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "io_method": "sync",
}
RUNNING_POSTGRES_URL = os.environ.get(
    "STREAKLINE_TEST_POSTGRES_URL", "postgresql+psycopg://127.0.0.1:5432/postgres"
)
RUNNING_REDIS_URL = os.environ.get("STREAKLINE_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
RUNNING_RABBITMQ_URL = os.environ.get(
    "STREAKLINE_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672"
)
RABBITMQ_CONTROL_SECONDS_MAX = 60
PORTS = range(20_000, 32_000)
"""Below those that outgoing connections are given (from 32,768 on, on Linux): one of them could
take the port of a server that is killed before it is started again."""
REDIS_DATABASES = (0, 1)  # the broker's and the rest's: streakline.addresses.place_redis


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Make a home with a short path; away it goes, servers and all, when it is left."""
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
    try:
        # While it is held nobody takes it for abandoned, even where no server runs in it.
        with (home / HELD).open("w") as file:
            flock(file, LOCK_EX)
            yield home
    finally:
        stop_if_unused(home)
        shutil.rmtree(home)


def remove_abandoned_homes() -> None:
    """Stop and remove what test runs that were killed have left behind."""
    for home in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*"):
        mine = home.stat().st_uid == os.geteuid()
        old = time.time() - home.stat().st_mtime > FRESH_SECONDS
        if mine and old and not _is_held(home) and stop_if_unused(home):
            shutil.rmtree(home, ignore_errors=True)


def _is_held(home: Path) -> bool:
    try:
        with (home / HELD).open() as file:
            flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextmanager
def fresh_database(admin_url: str, *, template: str = "template0") -> Iterator[str]:
    """Clone a database under a name of its own, yield its URL, drop it afterwards."""
    url = make_url(admin_url)
    name = NAMES + uuid4().hex[:12]
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    words = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {name} template {template}").format(**words))
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            admin.execute(sql.SQL("drop database {name} with (force)").format(**words))


@contextmanager
def migrated_database(admin_url: str) -> Iterator[str]:
    """Make a database with our schema, to clone from, and yield its name."""
    with fresh_database(admin_url) as url:
        engine = open_engine(url)
        upgrade(engine)
        engine.dispose()
        yield str(make_url(url).database)


def delete_keys(url: str, part: str) -> None:
    """Delete the keys whose names contain `part`, in the databases that a test uses."""
    for number in REDIS_DATABASES:
        with Redis.from_url(url, db=number) as client:
            for key in client.scan_iter(match=f"*{part}*", count=1000):
                client.delete(key)


def require_postgres(url: str) -> None:
    """Skip the test, or fail it in CI, unless a Postgres lets us in at this URL."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError as error:
        lacks(f"no PostgreSQL at {make_url(url)}: {error}")


def require_redis(url: str) -> None:
    """Skip the test, or fail it in CI, unless a Redis answers at this URL."""
    try:
        with Redis.from_url(url, socket_timeout=2, retry=None) as client:
            client.ping()
    except RedisError as error:
        lacks(f"no Redis at {RUNNING_REDIS_URL}: {error}")


@contextmanager
def virtual_host(url: str) -> Iterator[str]:
    """Make a virtual host of RabbitMQ, in which queues' names are free, and yield its URL.

    Skips the test, or fails it in CI, where nothing listens at the URL or rabbitmqctl may not.
    """
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 5672), timeout=2).close()
    except OSError as error:
        lacks(f"no RabbitMQ at {parts.hostname}:{parts.port}: {error}")
    name = f"streakline-test-{uuid4().hex[:10]}"
    control_rabbitmq("add_vhost", name)
    try:
        control_rabbitmq("set_permissions", "-p", name, parts.username or "", ".*", ".*", ".*")
        yield f"{url.rstrip('/')}/{name}"
    finally:
        control_rabbitmq("delete_vhost", name)


def control_rabbitmq(*command: str) -> str:
    """Run rabbitmqctl and return its output; skip or fail the test where that is impossible."""
    program = shutil.which("rabbitmqctl")
    if program is None:
        lacks("rabbitmqctl is not installed")
    done = subprocess.run(  # the program and its words are ours
        [program, *command], capture_output=True, text=True, timeout=RABBITMQ_CONTROL_SECONDS_MAX
    )
    if done.returncode:
        lacks(f"rabbitmqctl {command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def delete_queues(url: str) -> None:
    """Delete all queues that Streakline makes in a virtual host."""
    broker = QuorumBroker(url)
    for queue in QUEUES:
        for name in (queue, dq_name(queue), xq_name(queue)):
            broker.channel.queue_delete(name)
    broker.close()


def lacks(what: str) -> NoReturn:
    """Skip the test, or fail it in CI, for want of a server."""
    if os.environ.get("STREAKLINE_TEST_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{what} (STREAKLINE_TEST_REQUIRE_SERVERS=1)")
    pytest.skip(what)


@contextmanager
def started_redis(
    program: Path, settings: Mapping[str, str], client: Redis, *words: str
) -> Iterator[None]:
    """Run a Redis or Valkey with settings, from when it answers its client until the end."""
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    server = subprocess.Popen([str(program), *options, *words], stdout=subprocess.DEVNULL)
    try:
        with client:
            wait_until(lambda: _answers(client), message=f"{program.name} answers")
            yield
    finally:
        server.kill()
        server.wait()


def _answers(redis: Redis) -> bool:
    with suppress(RedisError):
        return bool(redis.ping())
    return False


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    while True:
        port = SystemRandom().choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
