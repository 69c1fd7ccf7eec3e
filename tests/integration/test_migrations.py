"""The migrations lead to the tables that the code has, from nothing and as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Column, Engine, Integer, MetaData, text
from sqlalchemy.exc import SQLAlchemyError

from models import tables
from models.migrations import current_revision, newest_revision, upgrade
from tests.applying import opened, put_program, read_table
from tests.servers import fresh_database
from tests.waiting import wait_until

PROGRAM = """
[app]
name = "App"
[metrics.runs]
"""
COLLATIONS = """
select table_name, column_name, collation_name from information_schema.columns
where table_schema = 'public' and collation_name is not null
"""
CHECKS = """
select conname from pg_constraint
where contype = 'c' and connamespace = 'public'::regnamespace order by conname
"""
UNCOMPRESSED = """
select attrelid::regclass::text, attname from pg_attribute join pg_class on attrelid = pg_class.oid
where attstorage = 'e' and relkind = 'r' and relnamespace = 'public'::regnamespace
"""
WAITING = """
select count(*) from pg_locks where locktype = 'advisory' and classid = 24228 and not granted
"""
BUILDING = """
select pid from pg_stat_activity
where datname = current_database() and query ilike 'create index concurrently%'
and wait_event_type = 'Lock'
"""
INVALID = "select indexrelid::regclass::text from pg_index where not indisvalid"


@pytest.fixture
def engine(every_database_url: str) -> Iterator[Engine]:
    """A database that was upgraded from nothing, on each kind of Postgres."""
    with opened(every_database_url) as engine:
        yield engine


def differences(engine: Engine, metadata: MetaData) -> list[object]:
    """Return what Alembic would change to make the database what the metadata says."""
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))


def upgrade_at(database_url: str) -> None:
    """Upgrade as a process of its own does when it starts."""
    with opened(database_url) as engine:
        upgrade(engine)


def test_an_upgraded_database_has_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        assert current_revision(connection) == newest_revision()
    assert differences(engine, tables.metadata) == []


def test_a_column_without_a_migration_would_be_found(engine: Engine) -> None:
    """Proof that the comparison above compares."""
    changed = MetaData(naming_convention=tables.metadata.naming_convention)
    for table in tables.metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["events"].append_column(Column("forgotten", Integer))
    assert len(differences(engine, changed)) == 1


def test_what_alembic_does_not_compare_is_the_same_too_s44(engine: Engine) -> None:
    """The order of ids hangs on collations; checks are no columns either."""
    expected = {
        (table.name, column.name): "C"
        for table in tables.metadata.sorted_tables
        for column in table.columns
        if tables.ID in (column.type, getattr(column.type, "item_type", None))
    }
    with engine.connect() as connection:
        found = {(row[0], row[1]): row[2] for row in connection.execute(text(COLLATIONS))}
        checks = list(connection.execute(text(CHECKS)).scalars())
    assert found == expected
    assert checks == sorted(
        str(constraint.name)
        for table in tables.metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    )


def test_what_is_rewritten_all_the_time_is_not_compressed(engine: Engine) -> None:
    with engine.connect() as connection:
        found = set(connection.execute(text(UNCOMPRESSED)).all())
    assert found == {("users", "state"), ("checkpoints", "state"), ("touched_boards", "scores")}


def test_upgrading_again_changes_nothing_and_keeps_the_rows(engine: Engine) -> None:
    put_program(engine, PROGRAM)
    upgrade(engine)
    upgrade(engine)
    assert [row["version"] for row in read_table(engine, tables.programs)] == [1]
    assert differences(engine, tables.metadata) == []


def test_two_processes_that_upgrade_an_empty_database_at_once_both_end_well(
    postgres_url: str,
) -> None:
    """Both wait for the lock that this test holds, so that they go on side by side."""
    with (
        fresh_database(postgres_url) as url,
        opened(url) as engine,
        ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as processes,
    ):
        with engine.begin() as connection:
            connection.execute(text("select pg_advisory_xact_lock(24228, 0)"))
            assert current_revision(connection) is None
            running = [processes.submit(upgrade_at, url) for _ in range(2)]
            wait_until(
                lambda: connection.execute(text(WAITING)).scalar_one() == 2,
                message="both processes wait for the lock of migrations",
            )
        for process in running:
            process.result()
        assert differences(engine, tables.metadata) == []


def test_an_index_that_was_left_half_built_is_built_anew(postgres_url: str) -> None:
    with fresh_database(postgres_url) as url, opened(url) as engine:
        upgrade(engine, "0010")
        with (
            engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader,
            engine.connect().execution_options(isolation_level="AUTOCOMMIT") as operator,
            ThreadPoolExecutor(max_workers=1) as beside,
        ):
            reader.execute(text("select 1"))
            upgrading = beside.submit(upgrade, engine)
            building = wait_until(lambda: operator.execute(text(BUILDING)).scalar())
            operator.execute(text("select pg_terminate_backend(:pid)"), {"pid": building})
            with pytest.raises(SQLAlchemyError):
                upgrading.result()
            assert operator.execute(text(INVALID)).scalars().all() == ["ix_users_stamp"]
        upgrade(engine)
        with engine.connect() as connection:
            assert connection.execute(text(INVALID)).scalars().all() == []
        assert differences(engine, tables.metadata) == []
