"""From what Postgres copies out to what ClickHouse takes in: CSV to Arrow, in slices of one size.

The same text gives the same slices, so that a batch that is sent again is the same batch.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped] # has no types
from pyarrow import csv

from models.rules.control import bucket_of
from models.warehouse.schema import AMOUNT, INSTANT, NAME, WarehouseTable

ROWS_PER_INSERT_MAX = 100_000
BLOCK_BYTES = 4 * 1024 * 1024
"""Of text that is parsed at a time; a single row must fit."""

_TYPES = {
    "String": pa.string(),
    NAME: pa.string(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Int8": pa.int8(),
    "Bool": pa.bool_(),
    "Date32": pa.date32(),
    INSTANT: pa.timestamp("us", tz="UTC"),
    AMOUNT: pa.decimal128(18, 4),
}
DERIVED = {"bucket": ("user_id", bucket_of)}
"""Columns that a rule computes from another one, rather than Postgres."""


def read_slices(chunks: Iterable[bytes], table: WarehouseTable) -> Iterator[pa.Table]:
    """Yield tables of up to ROWS_PER_INSERT_MAX rows from CSV with a header.

    Raises pyarrow.ArrowInvalid where a value does not fit its column.
    """
    types = {name: _TYPES[type_] for name, type_ in table.columns.items() if name not in DERIVED}
    reader = csv.open_csv(
        io.BufferedReader(_Stream(chunks), BLOCK_BYTES),
        read_options=csv.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= ROWS_PER_INSERT_MAX:
            found = pa.Table.from_batches(waiting)
            yield _derive(found.slice(0, ROWS_PER_INSERT_MAX), table)
            waiting = found.slice(ROWS_PER_INSERT_MAX).to_batches()
            rows -= ROWS_PER_INSERT_MAX
    if rows:
        yield _derive(pa.Table.from_batches(waiting), table)


def to_rows(table: WarehouseTable, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return columns of values, all those of a table, as rows for it."""
    return pa.table(
        {name: pa.array(columns[name], _TYPES[type_]) for name, type_ in table.columns.items()}
    )


def _derive(found: pa.Table, table: WarehouseTable) -> pa.Table:
    for name in table.columns:
        if name in DERIVED:
            source, rule = DERIVED[name]
            values = [rule(value) for value in found[source].to_pylist()]
            found = found.append_column(name, pa.array(values, _TYPES[table.columns[name]]))
    return found.select(list(table.columns))


class _Stream(io.RawIOBase):
    """Chunks as a file that is read once, from its beginning to its end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # a writable buffer
        filled = 0
        while filled < len(buffer):
            if not self._left:
                self._left = memoryview(next(self._chunks, b""))
                if not self._left:
                    break
            size = min(len(buffer) - filled, len(self._left))
            buffer[filled : filled + size] = self._left[:size]
            self._left = self._left[size:]
            filled += size
        return filled
