"""Rows as arrays: how a set of rows goes into a statement whose text never changes.

`unnest` of one array a column keeps every statement the same for any number of rows, so that
SQLAlchemy compiles it once and Postgres plans it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Table,
    TableValuedAlias,
    and_,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, Insert, insert
from sqlalchemy.types import Text, TypeEngine

from models.tables import ID

USER_IDS = any_(bindparam("user_ids", type_=ARRAY(ID, dimensions=1)))
"""To compare a column with: it is one of the parameter `user_ids`, a list."""


def given(name: str, **columns: TypeEngine[Any]) -> TableValuedAlias:
    """Return a table whose rows are parameters: one array named as the column, for each column."""
    arrays = [
        bindparam(column_name, type_=ARRAY(type_, dimensions=1))
        for column_name, type_ in columns.items()
    ]
    return (
        func.unnest(*arrays)
        .table_valued(
            *[column(column_name, type_) for column_name, type_ in columns.items()], name=name
        )
        .render_derived(name=name)
    )


def given_columns(table: Table, *names: str) -> TableValuedAlias:
    """Return a table of parameters with some of another table's columns; JSON comes as text."""
    types = {name: table.c[name].type for name in names}
    return given(
        "given", **{name: Text() if is_json(type_) else type_ for name, type_ in types.items()}
    )


def is_json(type_: TypeEngine[Any]) -> bool:
    """Tell whether a column holds JSON, which parameters carry as text that is encoded already."""
    return isinstance(type_, JSONB)


def insert_given(table: Table, *names: str) -> Insert:
    """Return an insert of parameter rows into some columns of a table."""
    rows = given_columns(table, *names)
    values = [
        cast(rows.c[name], JSONB) if is_json(table.c[name].type) else rows.c[name] for name in names
    ]
    return insert(table).from_select(list(names), select(*values))


def match_given(table: Table, rows: TableValuedAlias, *names: str) -> ColumnElement[bool]:
    """Return the condition that a row of a table has the columns of a parameter row."""
    return and_(*[table.c[name] == rows.c[name] for name in names])


def upsert_given(table: Table, *names: str) -> Insert:
    """Return an insert of parameter rows that replaces what stands under the primary key."""
    statement = insert_given(table, *names)
    keys = [key.name for key in table.primary_key]
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: statement.excluded[name] for name in names if name not in keys},
    )


def arrays(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    """Turn rows into the parameters of a statement made with `given`: one list for each name."""
    columns = list(zip(*rows, strict=True))
    if not columns:
        return {name: [] for name in names}
    return {name: list(values) for name, values in zip(names, columns, strict=True)}
