"""The roles of docs/security.md: each does its work, and cannot do what is not its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from models.database import open_engine
from models.migrations import upgrade
from models.statements.events import list_rejected
from tests import servers
from tests.applying import must_verify, opened, put_events, put_program, put_users
from tests.backfilling import opened_context, run
from tests.clickhouse import ClickhouseServer
from tests.settings import make_settings
from worker.clock import utc_now
from worker.runtime import open_runtime
from worker.status import read_status

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
SQL = re.compile(r"^```sql title=\"[^\"]*\"\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = """
[app]
name = "Stack"
link_url = "https://stack.example.org"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[achievements.first]
on = "metric"
metric = "lessons"
at = 1
[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
[emails]
from = "Stack <stack@example.org>"
[emails.achievement]
on = "achievement"
"""
OWNER, WORKER, READER = "streakline_owner", "streakline_worker", "streakline_reader"


def as_role(url: str, role: str) -> str:
    return make_url(url).set(username=role).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def roles_url(postgres_url: str) -> Iterator[str]:
    """A database that was set up as the page says."""
    before, after = SQL.findall(PAGE.read_text("utf-8"))
    with servers.fresh_database(postgres_url) as url, opened(url) as superuser:
        try:
            with superuser.begin() as connection:
                connection.execute(text(before))
            with opened(as_role(url, OWNER)) as owner:
                upgrade(owner)
                with owner.begin() as connection:
                    connection.execute(text(after))
            yield url
        finally:
            with superuser.begin() as connection:
                for role in (OWNER, WORKER, READER):
                    connection.execute(text(f"drop owned by {role} cascade; drop role {role}"))


@pytest.fixture
def role(roles_url: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_engine(as_role(roles_url, request.param))
    yield engine
    engine.dispose()


def test_a_worker_s_role_is_enough_for_all_that_workers_do(
    roles_url: str,
    valkey_url: str,
    clickhouse_server: ClickhouseServer,
    namespace: str,
    tmp_path: Path,
) -> None:
    worker_url = as_role(roles_url, WORKER)
    settings = make_settings(
        worker_url,
        valkey_url,
        namespace,
        clickhouse_url=clickhouse_server.url,
        home=tmp_path,
        events_kept_days=30,
    )
    with open_runtime(settings) as runtime:
        engine = runtime.engine
        put_program(engine, PROGRAM)
        users = [{"user_id": "u", "email": "u@example.org", "tz": "UTC"}]
        put_users(engine, users, now=utc_now(), imported=False)
        for metric in ("lessons", "no such metric"):
            event = {"user_id": "u", "metric": metric, "key": "1"}
            put_events(engine, [event], now=utc_now(), imported=False)
        swept = {name: sweep(utc_now()) for name, sweep in runtime.sweeps.items()}
        assert swept["send-emails"] == {"emails": 1}
        assert len(list((tmp_path / "emails").iterdir())) == 1
        with opened_context(engine, valkey_url, namespace) as context:
            assert run(context, "recompute-users", {}).error is None
            assert run(context, "replay-rejected", {}).error is None
        assert must_verify(engine).users_checked == 1
    with opened(as_role(roles_url, READER)) as reader, reader.connect() as connection:
        assert len(list_rejected(connection, 10)) == 1


def test_a_reader_s_role_is_enough_for_status(
    roles_url: str, valkey_url: str, namespace: str
) -> None:
    settings = make_settings(as_role(roles_url, READER), valkey_url, namespace)
    with open_runtime(settings) as runtime:
        assert read_status(runtime)["ready"] is True


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (WORKER, "drop table events"),
        (WORKER, "alter table events add column note text"),
        (WORKER, "truncate events"),
        (WORKER, "create table notes (note text)"),
        (WORKER, "update alembic_version set version_num = '0001'"),
        (WORKER, "create role another"),
        (WORKER, "create function f() returns int language sql as 'select 1'"),
        (WORKER, "drop trigger keep_updated on emails"),
        (READER, "select key from signing_keys"),
        (READER, "insert into event_counts (shard, outcome, events) values (0, 'applied', 1)"),
        (READER, "delete from events"),
        (READER, "update users set state = null"),
        (READER, "create table notes (note text)"),
        (OWNER, "create role another"),
        (OWNER, "copy events to '/tmp/events'"),
    ],
    indirect=["role"],
)
def test_a_role_cannot_do_what_is_not_its_own(role: Engine, statement: str) -> None:
    denied = "permission denied|must be owner"
    with role.connect() as connection, pytest.raises(ProgrammingError, match=denied):
        connection.execute(text(statement))
