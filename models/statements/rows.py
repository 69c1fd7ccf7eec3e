"""Rows as arrays: how a set of rows goes into a statement whose text never changes.

`unnest` of one array a column keeps every statement the same for any number of rows, so that
SQLAlchemy compiles it once and Postgres plans it once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Dialect,
    Table,
    TableValuedAlias,
    and_,
    bindparam,
    cast,
    collate,
    column,
    func,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, Insert, insert
from sqlalchemy.types import Text, TypeDecorator, TypeEngine

from models.tables import THIS_TRANSACTION


class _ArrayText(TypeDecorator[Sequence[Any]]):
    """A list as Postgres writes an array: psycopg's own dumper takes half the time of a batch.

    Postgres manual, 8.15.6: elements in quotes, quotes and backslashes escaped by a backslash.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[Any] | None, dialect: Dialect) -> str:  # noqa: ARG002
        """Return the array's text."""
        values = value or ()
        if values and values.count(values[0]) == len(values):
            return "{" + ",".join([_element(values[0])] * len(values)) + "}"
        kinds = set(map(type, values))
        if kinds == {str}:
            return _texts(values)
        if kinds <= _WRITTEN_AS_THEY_ARE:
            return "{" + ",".join(map(str, values)) + "}"
        return "{" + ",".join(map(_element, values)) + "}"


JSON_SEPARATOR = "\x1e"
"""JSON holds no control character but escaped ones, so this one can stand between its texts."""


class JsonText(Text):
    """A text that is JSON, which goes to Postgres without escaping a single quote."""


class _JoinedJson(TypeDecorator[Sequence[str | None]]):
    """A list of JSON texts as one text; of the quotes in an array each would need a backslash."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[str | None] | None, dialect: Dialect) -> str:  # noqa: ARG002
        """Return the texts in one; nothing stands for NULL."""
        return JSON_SEPARATOR.join([text or "" for text in value or ()])


_WRITTEN_AS_THEY_ARE = {bool, int, Decimal, date, datetime}


def _texts(values: Sequence[str]) -> str:
    """Return the array's text; one look at all of it tells whether anything needs escaping."""
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
        return "{" + ",".join(map(_element, values)) + "}"
    return '{"' + joined + '"}'


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def array_parameter(name: str, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return a parameter that takes a list of values of a column's type."""
    if isinstance(type_, JsonText):
        joined = bindparam(name, type_=_JoinedJson())
        return type_coerce(func.string_to_array(joined, JSON_SEPARATOR, ""), Text())
    is_text = isinstance(type_, Text)
    array = cast(bindparam(name, type_=_ArrayText()), ARRAY(Text() if is_text else type_))
    # Coerced, because SQLAlchemy knows COLLATE for texts only, not for arrays of them.
    return collate(type_coerce(array, Text()), "C") if is_text else array


def one_of(compared: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Return the condition that a column has one of the values of a parameter, a list.

    The values go in as rows: Postgres then looks each up in the index. Compared with `= any`, whose
    array it knows only when it runs, it would read the whole table.
    """
    rows = given("given", **{name: compared.type})
    return compared.in_(select(rows.c[name]))


def given(name: str, /, **columns: TypeEngine[Any]) -> TableValuedAlias:
    """Return a table whose rows are parameters: one array named as the column, for each column."""
    parameters = [array_parameter(key, type_) for key, type_ in columns.items()]
    derived = [column(key, type_) for key, type_ in columns.items()]
    return func.unnest(*parameters).table_valued(*derived, name=name).render_derived(name=name)


def given_columns(table: Table, *names: str) -> TableValuedAlias:
    """Return a table of parameters with some of another table's columns; JSON comes as text."""
    types = {name: table.c[name].type for name in names}
    return given(
        "given", **{name: JsonText() if is_json(type_) else type_ for name, type_ in types.items()}
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
    replaced: dict[str, Any] = {
        name: statement.excluded[name] for name in names if name not in keys
    }
    if "txid" in table.c:
        replaced["txid"] = THIS_TRANSACTION
    return statement.on_conflict_do_update(index_elements=keys, set_=replaced)


def arrays(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Turn rows into the parameters of a statement made with `given`: a sequence for each name."""
    columns = list(zip(*rows, strict=True))
    return dict(zip(names, columns or [()] * len(names), strict=True))


def last_whole(keys: Sequence[str], rows_max: int) -> str | None:
    """Return up to which key all rows are among the first `rows_max`, by their keys in order.

    Where a single key has more than that it is that key; None where there are no rows.

    >>> last_whole(["a", "a", "b"], 3), last_whole(["a", "a", "b"], 9), last_whole(["a", "a"], 2)
    ('a', 'b', 'a')
    """
    if not keys:
        return None
    if len(keys) < rows_max or keys[0] == keys[-1]:
        return keys[-1]
    return next(key for key in reversed(keys) if key != keys[-1])


def storable_json(raw: object) -> bytes:
    """Return the JSON of what came, or of its repr where Postgres could not store it.

    Not stored: NUL, halves of surrogate pairs, numbers beyond 64 bits and those that are none, and
    what is nested deeper than it can be written.
    """
    try:
        data = msgspec.json.encode(raw, order="sorted")
        if b"null" in data:  # it writes NaN and Infinity so
            json.dumps(raw, allow_nan=False)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return msgspec.json.encode(_repr(raw))
    return msgspec.json.encode(_repr(raw)) if b"\\u0000" in data else data


def _repr(raw: object) -> str:
    try:
        return ascii(raw)
    except RecursionError:
        return f"a {type(raw).__name__} that is nested too deep to be written"
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return f"a {type(raw).__name__} with a number of too many digits to be written"
