"""Records from a query to any database that SQLAlchemy reads; a row's line is its number, from 1.

The query must say its order, so that rows are the same ones when it is asked again after a crash.
Drivers of other databases than Postgres and SQLite are to be installed beside us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from models.sources.columns import find_columns, plain_value
from models.sources.records import Record, SourceError
from streakline.addresses import HOW_TO_WRITE, is_readable, without_password

NAME = "the query"
"""What stands for a file's name."""
ROWS_AT_ONCE = 5_000
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)


def read_query(
    url: str, query: str, columns: Mapping[str, str], constants: Mapping[str, str]
) -> Iterator[Record]:
    """Read rows. Raises SourceError."""
    with _asked(url) as connection:
        streaming = text(query).execution_options(yield_per=ROWS_AT_ONCE)
        with connection.execute(streaming) as rows:
            found = find_columns(NAME, list(rows.keys()), columns, constants)
            for number, row in enumerate(rows, start=1):
                values = {name: plain_value(value) for name, value in row._mapping.items()}
                yield Record(line=number, data=found.row(values))


def check_query(
    url: str, query: str, columns: Mapping[str, str], constants: Mapping[str, str]
) -> int:
    """Look whether a query can be asked and has the columns; count its rows. Raises SourceError."""
    if not _ORDERED.search(query):
        raise SourceError("the query must end with an order by of what tells its rows apart")
    with _asked(url) as connection:
        with connection.execute(text(query).execution_options(stream_results=True)) as rows:
            find_columns(NAME, list(rows.keys()), columns, constants)
        count: int = connection.execute(
            text(f"select count(*) from ({query.rstrip().rstrip(';')}) as counted")
        ).scalar_one()
    return count


@contextmanager
def _asked(url: str) -> Iterator[Connection]:
    if not is_readable(url):
        raise SourceError(f"the URL of the query's database cannot be read: {HOW_TO_WRITE}")
    try:
        engine = create_engine(url, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise SourceError(
            f"{without_password(url)} is no database that can be read ({error}); "
            "is its driver installed beside Streakline?"
        ) from None
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = without_password(str(getattr(error, "orig", None) or error)).strip()
        raise SourceError(f"the query cannot be asked: {reason.splitlines()[0]}") from error
    finally:
        engine.dispose()
