"""No password of any URL is in what commands and processes write, keep, or show of themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from redis import Redis

from models import tables
from streakline import Client
from tests.applying import opened, read_table
from tests.forking import forker
from tests.servers import free_port
from tests.stack import COMMAND_SECONDS_MAX, STREAKLINE, Stack, running_stack
from tests.waiting import wait_until

HUSH = "hush"
"""Every password begins with it."""
REFUSING = "127.0.0.1:1"
"""Nobody listens on port 1."""
SOURCE = "STREAKLINE_TEST_SOURCE_URL"
CLICKHOUSE, SMTP = "STREAKLINE_CLICKHOUSE_URL", "STREAKLINE_SMTP_URL"


def refusing(broker_url: str) -> dict[str, str]:
    """Return URLs of servers that are not there, each with a password of its own."""
    return {
        "STREAKLINE_DATABASE_URL": f"postgresql://app:hush-postgres@{REFUSING}/x",
        "STREAKLINE_REDIS_URL": f"rediss://app:hush-redis@{REFUSING}/0",
        "STREAKLINE_BROKER_URL": broker_url,
        CLICKHOUSE: f"clickhouses://app:hush-clickhouse@{REFUSING}/x",
        SMTP: f"smtp://app:hush-smtp@{REFUSING}",
        SOURCE: f"postgresql://app:hush-source@{REFUSING}/x?sslpassword=hush-key",
    }


def run_all(environment: Mapping[str, str], *commands: str) -> str:
    """Run commands and return all that they write."""
    written = ""
    for command in commands:
        done = forker().run(command.split("|"), environment, COMMAND_SECONDS_MAX)
        assert done.stdout + done.stderr, command
        written += done.stdout + done.stderr
    return written


IMPORT = (
    f"backfill|start|import-events|--query|select 1 order by 1|--database|{SOURCE}|--reason|test"
)
URL_FOR_A_NAME = f"postgresql://app:hush-typed@{REFUSING}/x"
COMMANDS = (
    "doctor",
    "status",
    "verify",
    IMPORT,
    IMPORT.replace(SOURCE, URL_FOR_A_NAME),
)


def test_where_no_server_lets_us_in_no_command_says_with_which_password(stack: Stack) -> None:
    urls = refusing(f"amqp://app:hush-broker@{REFUSING}")
    written = run_all({**stack.environment, **urls}, *COMMANDS)
    assert "STREAKLINE_DATABASE_URL" in written
    assert HUSH not in written


def test_a_password_that_breaks_its_url_is_not_shown_in_pieces(stack: Stack) -> None:
    urls = refusing(f"redis://app:hush-broker@{REFUSING}")
    broken = {name: url.replace("hush-", "12/@hush") for name, url in urls.items()}
    source = {SOURCE: broken.pop(SOURCE)}
    written = run_all({**stack.environment, **broken}, "doctor")
    assert [name for name in broken if f"{name}: is not a URL that can be read" in written] == [
        *broken
    ]
    written += run_all({**stack.environment, **source}, IMPORT)
    assert "the query's database cannot be read: in a name or a password write @ as" in written
    assert HUSH not in written


@pytest.fixture
def guarded_broker(valkey_url: str, namespace: str) -> Iterator[str]:
    """The embedded Valkey, through a user of this test's own with a password."""
    with Redis.from_url(valkey_url) as admin:
        admin.execute_command(
            "acl", "setuser", namespace, "on", ">hush-broker", "~*", "&*", "+@all"
        )
        yield valkey_url.replace("unix://", f"unix://{namespace}@") + "&password=hush-broker"
        admin.execute_command("acl", "deluser", namespace)


def test_where_some_let_us_in_no_log_table_or_process_shows_a_password(
    database_url: str, guarded_broker: str, namespace: str, tmp_path: Path
) -> None:
    # Given Postgres and a broker that work, and other servers that refuse
    with running_stack(
        database_url=database_url.replace("postgres@", "postgres:hush-postgres@"),
        broker_url=guarded_broker,
        namespace=namespace,
        home=tmp_path,
    ) as stack:
        refused = refusing(guarded_broker)
        port = free_port()
        stack.environment = {
            **stack.environment,
            **{name: refused[name] for name in (SOURCE, CLICKHOUSE, SMTP)},
            "STREAKLINE_MONITOR_PORT": str(port),
        }
        # When processes run, a client sends, and commands ask
        log = tmp_path / "up.log"
        with log.open("w") as file:
            up = subprocess.Popen(
                [STREAKLINE, "up", "--workers", "1"],
                env=stack.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        stack.processes.append(up)
        with Client(guarded_broker, namespace=namespace) as client:
            client.track("u", "lessons", key="1")
        wait_until(lambda: stack.ask("status")["warehouse"]["error"], deadline_seconds=60)
        family = [psutil.Process(up.pid), *psutil.Process(up.pid).children(recursive=True)]
        shown = repr(client) + " ".join(word for one in family for word in one.cmdline())
        written = run_all(stack.environment, *COMMANDS, "tick|run|load-warehouse")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        stack.stop()
        # Then none of them says how they got in
        with opened(database_url) as engine:
            kept = "".join(str(read_table(engine, one)) for one in tables.metadata.sorted_tables)
    assert len(family) > 4
    assert "ClickHouse" in kept
    for text in (log.read_text(), shown, written, metrics, kept):
        assert HUSH not in text
