"""The migrations lead to the tables that the code has, from nothing and as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Engine, Integer, MetaData, text

from models import tables
from models.migrations import current_revision, newest_revision, upgrade
from tests.applying import opened, put_program, read_table
from tests.servers import fresh_database

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


def test_an_upgraded_database_has_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        assert current_revision(connection) == newest_revision()
    assert differences(engine, tables.metadata) == []


def test_a_column_without_a_migration_would_be_found(engine: Engine) -> None:
    """Proof that the comparison above compares."""
    changed = MetaData(naming_convention=tables.metadata.naming_convention)
    for table in tables.metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["scores"].append_column(Column("forgotten", Integer))
    assert len(differences(engine, changed)) == 1


def test_what_alembic_does_not_compare_is_the_same_too_s44(engine: Engine) -> None:
    """The order of ids hangs on collations; checks and fill factors are no columns either."""
    expected = {
        (table.name, column.name): column.type.collation
        for table in tables.metadata.sorted_tables
        for column in table.columns
        if getattr(column.type, "collation", None)
    }
    with engine.connect() as connection:
        found = {(row[0], row[1]): row[2] for row in connection.execute(text(COLLATIONS))}
        checks = list(connection.execute(text(CHECKS)).scalars())
    assert found == expected
    assert checks == sorted(
        str(constraint.name)
        for table in tables.metadata.sorted_tables
        for constraint in table.constraints
        if type(constraint).__visit_name__ == "check_constraint"
    )


def test_upgrading_again_changes_nothing_and_keeps_the_rows(engine: Engine) -> None:
    put_program(engine, PROGRAM)
    upgrade(engine)
    upgrade(engine)
    assert [row["version"] for row in read_table(engine, tables.programs)] == [1]
    assert differences(engine, tables.metadata) == []


def test_two_that_upgrade_an_empty_database_at_once_both_end_well(postgres_url: str) -> None:
    together = Barrier(2, timeout=60)

    def start(engine: Engine) -> None:
        together.wait()
        upgrade(engine)

    with (
        fresh_database(postgres_url) as url,
        opened(url) as engine,
        ThreadPoolExecutor(max_workers=2) as threads,
    ):
        with engine.connect() as connection:
            assert current_revision(connection) is None
        for future in [threads.submit(start, engine) for _ in range(2)]:
            future.result()
        assert differences(engine, tables.metadata) == []
