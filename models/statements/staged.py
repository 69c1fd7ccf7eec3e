"""What a backfill has read: rows to be applied user by user, and what it could not use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    literal_column,
    select,
)

from models.statements.rows import arrays, insert_given, last_whole, storable_json
from models.tables import backfill_refusals, backfill_rows, backfills

_ROW_COLUMNS = ("backfill_id", "user_id", "number", "is_event", "file", "line", "body")
_ADD_ROWS = insert_given(backfill_rows, *_ROW_COLUMNS)
_REFUSAL_COLUMNS = ("backfill_id", "number", "file", "line", "reason", "body")
# A row that is refused twice, as in a chunk of a dry run and of the run after it, is the same one.
_ADD_REFUSALS = insert_given(backfill_refusals, *_REFUSAL_COLUMNS).on_conflict_do_nothing()
_of: BindParameter[Any] = bindparam("of_id")
_after = backfill_rows.c.user_id > bindparam("after")
_mine = backfill_rows.c.backfill_id == _of
_COLUMNS = select(*[backfill_rows.c[name] for name in _ROW_COLUMNS[1:]])
_NEXT = (
    _COLUMNS.where(_mine, _after)
    .order_by(backfill_rows.c.user_id, backfill_rows.c.number)
    .limit(bindparam("limit"))
)
_REST = _COLUMNS.where(
    _mine,
    backfill_rows.c.user_id == bindparam("of_user"),
    backfill_rows.c.number > bindparam("number"),
).order_by(backfill_rows.c.number)
_COUNT_REFUSALS = (
    select(func.count())
    .select_from(backfill_refusals)
    .where(backfill_refusals.c.backfill_id == _of)
)
_REFUSALS = (
    select(backfill_refusals)
    .where(backfill_refusals.c.backfill_id == _of)
    .order_by(backfill_refusals.c.number)
    .execution_options(yield_per=1000)
)
# Row by row as they lie, for there may be millions, and nobody else looks at them.
_settled: Select[Any] = (
    select(literal_column("backfill_rows.ctid"))
    .select_from(
        backfill_rows.join(backfills, backfills.c.backfill_id == backfill_rows.c.backfill_id)
    )
    .where(backfills.c.settled_at.is_not(None))
    .limit(bindparam("limit"))
)
_CLEAR = delete(backfill_rows).where(literal_column("backfill_rows.ctid").in_(_settled))


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRow:
    """An event, or what is told about a user, as it stands at a place of a file."""

    user_id: str
    number: int
    is_event: bool
    file: str
    line: int
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What could not be used, where it stands, and why; `body` as far as it could be read."""

    number: int
    file: str
    line: int
    reason: str
    body: Any = None


def add_rows(connection: Connection, backfill_id: int, rows: Iterable[StagedRow]) -> None:
    """Keep rows until they are applied."""
    values = [
        (
            backfill_id,
            row.user_id,
            row.number,
            row.is_event,
            row.file,
            row.line,
            msgspec.json.encode(row.body).decode(),
        )
        for row in rows
    ]
    connection.execute(_ADD_ROWS, arrays(_ROW_COLUMNS, values))


def read_rows(
    connection: Connection, backfill_id: int, after: str, rows_max: int
) -> list[StagedRow]:
    """Return the rows of the next users, about so many: all of a user, or none."""
    asked = {"of_id": backfill_id, "after": after, "limit": rows_max}
    rows = _staged(connection.execute(_NEXT, asked))
    until = last_whole([row.user_id for row in rows], rows_max)
    whole = [row for row in rows if row.user_id == until or row.user_id != rows[-1].user_id]
    if len(whole) < rows_max:
        return whole
    rest = {"of_id": backfill_id, "of_user": until, "number": whole[-1].number}
    return whole + _staged(connection.execute(_REST, rest))


def _staged(rows: Iterable[Any]) -> list[StagedRow]:
    return [
        StagedRow(
            user_id=user_id, number=number, is_event=is_event, file=file, line=line, body=body
        )
        for user_id, number, is_event, file, line, body in rows
    ]


def clear_rows(connection: Connection, limit: int) -> int:
    """Forget some of what was read by backfills that have ended; return how many rows."""
    return connection.execute(_CLEAR, {"limit": limit}).rowcount


def add_refusals(connection: Connection, backfill_id: int, refusals: Iterable[Refusal]) -> None:
    """Keep what could not be used."""
    values = [
        (
            backfill_id,
            one.number,
            one.file,
            one.line,
            one.reason,
            None if one.body is None else storable_json(one.body).decode(),
        )
        for one in refusals
    ]
    connection.execute(_ADD_REFUSALS, arrays(_REFUSAL_COLUMNS, values))


def count_refusals(connection: Connection, backfill_id: int) -> int:
    """Return how many rows could not be used."""
    count: int = connection.execute(_COUNT_REFUSALS, {"of_id": backfill_id}).scalar_one()
    return count


def read_refusals(connection: Connection, backfill_id: int) -> Iterator[Refusal]:
    """Yield what could not be used, in the order in which it was read."""
    for row in connection.execute(_REFUSALS, {"of_id": backfill_id}):
        yield Refusal(
            number=row.number, file=row.file, line=row.line, reason=row.reason, body=row.body
        )
