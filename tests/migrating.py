"""Whom a migration keeps from the tables while it runs, and for how long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event, text

LOOKED_AT = (
    "RowExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""Modes of who writes rows, and those that keep others from writing, or even reading."""
_OLD_TABLES = """
create temporary table old_tables on commit preserve rows as
select oid, relname, relfilenode from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'alembic_version'
"""
_FOUND = """
select old.relname, array_agg(distinct held.mode) as modes,
    max(seen.seq_tup_read) as looked_at,
    max(seen.n_tup_upd + seen.n_tup_del) as changed,
    bool_or(now.relfilenode <> old.relfilenode) as rewritten
from old_tables old
join pg_class now on now.oid = old.oid
join pg_locks held on held.relation = old.oid and held.pid = pg_backend_pid() and held.granted
left join pg_stat_xact_user_tables seen on seen.relid = old.oid
where held.mode = any(%(modes)s)
group by old.relname order by old.relname
"""


_NUMBERED = """
select table_name, column_name from information_schema.columns
where table_schema = 'public' and is_identity = 'YES'
"""


@contextmanager
def judging(engine: Engine) -> Iterator[list[str]]:
    """Judge every transaction that is committed; yield a list that gets what is wrong with them.

    A table that was there before may be kept from writers only for what takes no longer the more
    rows it has: nothing that reads or rewrites them, and no building of an index. Nor are rows
    changed that were there: a job does that later, a few at a time.
    """
    wrong: list[str] = []

    def remember(connection: Any, _: Any) -> None:
        connection.execute(_OLD_TABLES)
        connection.commit()

    def judge(connection: Connection) -> None:
        for row in connection.exec_driver_sql(_FOUND, {"modes": list(LOOKED_AT)}):
            wrong.extend(_judge(row))

    engine.dispose()
    event.listen(engine, "connect", remember)
    event.listen(engine, "commit", judge)
    try:
        yield wrong
    finally:
        event.remove(engine, "connect", remember)
        event.remove(engine, "commit", judge)
        engine.dispose()


def _judge(row: Any) -> Iterator[str]:
    if row.changed:
        yield f"rows of {row.relname} are changed, and whoever wants them waits until the end"
    elif row.modes == ["RowExclusiveLock"]:
        return
    elif row.rewritten:
        yield f"{row.relname} is rewritten while nobody can use it"
    elif "ShareLock" in row.modes:
        yield f"an index of {row.relname} is built while nobody can write"
    elif row.looked_at:
        yield f"all rows of {row.relname} are read while nobody can write"


def put_rows(engine: Engine, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Write rows as JSON has them, each table's with the columns that they name."""
    with engine.begin() as connection:
        for table, rows in tables.items():
            columns = ", ".join(f'"{name}"' for name in rows[0])
            connection.execute(
                text(
                    f"insert into {table} ({columns}) select {columns}"
                    f" from jsonb_populate_recordset(null::{table}, cast(:rows as jsonb))"
                ),
                {"rows": json.dumps(rows)},
            )
        # As a dump does: numbers that rows have already are not given again.
        for table, column in connection.execute(text(_NUMBERED)).all():
            connection.execute(
                text(
                    f"select setval(pg_get_serial_sequence('{table}', '{column}'), max({column}))"
                    f" from {table}"
                )
            )
