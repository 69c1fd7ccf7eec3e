"""Migrations let those who use the tables go on: no lock that is held as long as there are rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from models.migrations import current_revision, newest_revision, upgrade
from tests.applying import opened, put_events, put_program
from tests.frozen import Frozen, read_frozen
from tests.migrating import judging, put_rows
from tests.servers import fresh_database
from tests.stack import PROGRAM

EVENT = {"user_id": "u", "metric": "lessons", "key": "k", "occurred_at": "2026-11-01T09:00:00Z"}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_events(engine, [EVENT])
        yield engine


@pytest.mark.parametrize("frozen", read_frozen(), ids=str)
def test_no_migration_since_a_release_keeps_writers_out_for_long(
    postgres_url: str, frozen: Frozen
) -> None:
    with fresh_database(postgres_url) as url, opened(url) as engine:
        upgrade(engine, frozen.revision)
        put_rows(engine, frozen.tables)
        with judging(engine) as wrong:
            upgrade(engine)
        assert wrong == []


@pytest.mark.parametrize(
    "statement",
    [
        "alter table events add column more text",
        "alter table events add column more integer not null default 7",
        "alter table events add constraint small check (value < 1000) not valid",
        "alter table events drop column attributes",
        "create table more (id integer primary key)",
        "create index concurrently more on events (applied_at)",
    ],
)
def test_what_takes_no_longer_with_more_rows_is_let_pass(engine: Engine, statement: str) -> None:
    assert _judged(engine, statement) == []


def test_a_check_is_validated_beside_those_who_write(engine: Engine) -> None:
    _judged(engine, "alter table events add constraint small check (value < 1000) not valid")
    assert _judged(engine, "alter table events validate constraint small") == []


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("create index more on events (applied_at)", "an index of events is built"),
        ("alter table events alter column value type double precision", "events is rewritten"),
        ("alter table events add column at timestamptz default clock_timestamp()", "rewritten"),
        (
            "alter table events add constraint small check (value < 9)",
            "all rows of events are read",
        ),
        ("alter table events alter column attributes set not null", "are read"),
        ("update events set value = 2", "rows of events are changed"),
    ],
)
def test_what_keeps_writers_out_the_longer_the_more_rows_there_are_is_found(
    engine: Engine, statement: str, wrong: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text("update events set attributes = '{}'"))
    [found] = _judged(engine, statement)
    assert wrong in found


def test_a_migration_that_cannot_have_a_table_gives_up_soon_and_can_be_run_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.migrations._LIMITS", text("set lock_timeout = 50"))
    with fresh_database(postgres_url) as url, opened(url) as engine:
        upgrade(engine, "0008")
        with engine.begin() as other:
            other.execute(text("lock table users in row exclusive mode"))
            with pytest.raises(OperationalError, match="lock timeout"):
                upgrade(engine)
        with engine.connect() as connection:
            assert current_revision(connection) == "0009", "what was done stays"
        upgrade(engine)
        with engine.connect() as connection:
            assert current_revision(connection) == newest_revision()


def _judged(engine: Engine, statement: str) -> list[str]:
    with judging(engine) as wrong:
        if "concurrently" in statement:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(statement))
        else:
            with engine.begin() as connection:
                connection.execute(text(statement))
    return wrong
