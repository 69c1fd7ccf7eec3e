"""Records from CSV, plain or compressed: the first line names the columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from models.sources.columns import Columns, find_columns
from models.sources.compression import BROKEN, broken_off, open_decompressed
from models.sources.lines import begin_line, is_too_long, long_line, shown_line
from models.sources.records import Record, SourceError

BYTE_ORDER_MARK = "\ufeff"


def read_csv(
    path: Path,
    columns: Mapping[str, str],
    constants: Mapping[str, str],
    *,
    of_users: bool = False,
) -> Iterator[Record]:
    """Read rows; an empty cell is an absent one. A row's line is that on which it ends.

    Raises SourceError: a column that is asked for is not there.
    """
    with closing(_Lines(path)) as lines:
        rows = csv.reader(lines, strict=True)
        header = _read_header(rows)
        if header is None:
            yield from lines.take_refused()
            return
        found = find_columns(str(path), header, columns, constants, of_users=of_users)
        while True:
            record = _next(rows, lines, header, found)
            yield from lines.take_refused()
            if record is None:
                return
            if record.data or record.reason:
                yield record


def check_csv(
    path: Path, columns: Mapping[str, str], constants: Mapping[str, str], *, of_users: bool
) -> None:
    """Look at the header alone. Raises SourceError."""
    with closing(_Lines(path)) as lines:
        header = _read_header(csv.reader(lines, strict=True))
    if header is not None:
        find_columns(str(path), header, columns, constants, of_users=of_users)


class _Lines:
    """The lines of a file as text; those that are none are left out and kept apart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.number = 0
        self._refused: list[Record] = []
        try:
            self._file: BinaryIO = open_decompressed(path)
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        while True:
            try:
                line = begin_line(self._file)
                is_whole = not is_too_long(self._file, line)
            except (*BROKEN, OSError) as error:
                self._refuse(Record(line=self.number + 1, reason=broken_off(self._path, error)))
                raise StopIteration from None
            if not line:
                raise StopIteration
            self.number += 1
            if not is_whole:
                self._refuse(long_line(self.number, line))
                continue
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                reason = f"is not UTF-8 (byte {error.start + 1})"
                self._refuse(Record(line=self.number, data=shown_line(line), reason=reason))
                continue
            return text.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else text

    def take_refused(self) -> Iterator[Record]:
        """Yield what was no text since this was asked last."""
        refused, self._refused = self._refused, []
        yield from refused

    def _refuse(self, record: Record) -> None:
        self._refused.append(record)


def _read_header(rows: Iterator[list[str]]) -> list[str] | None:
    try:
        return [name.strip() for name in next(rows)]
    except (StopIteration, csv.Error):
        return None


def _next(
    rows: Iterator[list[str]], lines: _Lines, header: list[str], columns: Columns
) -> Record | None:
    """Return the next row, or None at the end; an empty line is a record of nothing."""
    try:
        cells = next(rows)
    except StopIteration:
        return None
    except csv.Error as error:
        return Record(line=lines.number, reason=f"is no CSV: {error}")
    if not cells:
        return Record(line=lines.number)
    if len(cells) != len(header):
        reason = f"has {len(cells)} cells where the first line names {len(header)} columns"
        return Record(line=lines.number, data=cells, reason=reason)
    values = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
    return Record(line=lines.number, data=columns.row(values))
