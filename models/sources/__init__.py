"""Sources of events and users: JSON lines, CSV, Parquet, histories of git, queries to databases.

Every line is judged for itself: what is wrong with one is told with its file and number, and the
next one is read. Every event has a key that comes from its source, so that importing the same again
changes nothing (S75).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any

from models.sources import git_history
from models.sources.csv_rows import check_csv, read_csv
from models.sources.git_history import HEAD, find_head
from models.sources.lines import (
    SHOWN_CHARACTERS_MAX,
    check_readable,
    count_lines,
    read_lines,
)
from models.sources.parquet import check_parquet, count_parquet, read_parquet
from models.sources.queries import NAME, check_query, read_query
from models.sources.records import (
    EventRow,
    Record,
    Refused,
    Row,
    SourceError,
    UserLine,
    UserRow,
)
from models.sources.repeats import Repeats
from streakline.contract import Event, UserFields
from streakline.errors import InvalidEvent
from streakline.fields import check_text, shown

__all__ = [
    "EventRow",
    "Format",
    "Refused",
    "Row",
    "SourceError",
    "UserLine",
    "UserRow",
    "check_query",
    "check_source",
    "count_rows",
    "find_head",
    "guess_format",
    "read_events",
    "read_queried_events",
    "read_users",
]

ROW_CHARACTERS_MAX = 1 << 14
"""As JSON: more than twice what an event can have; a chunk keeps thousands of rows in memory."""
NOTHING: Mapping[str, str] = {}


class Format(Enum):
    """What a source is."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    GIT = "git"


_ENDINGS = {".csv": Format.CSV, ".parquet": Format.PARQUET}
_COMPRESSED = {".gz", ".zst", ".zstd"}


def guess_format(path: Path) -> Format:
    """Return what a source is by its name; a folder is a git repository.

    >>> guess_format(Path("old/lessons.csv.zst"))
    <Format.CSV: 'csv'>
    """
    if path.is_dir():
        return Format.GIT
    suffixes = [one.lower() for one in path.suffixes if one.lower() not in _COMPRESSED]
    return _ENDINGS.get(suffixes[-1] if suffixes else "", Format.JSONL)


def read_events(
    path: Path,
    format_: Format | None = None,
    columns: Mapping[str, str] = NOTHING,
    constants: Mapping[str, str] = NOTHING,
    revision: str = HEAD,
) -> Generator[EventRow | Refused]:
    """Read events, in the shape of the wire. Raises SourceError.

    `columns` names, of CSV and Parquet, the column of a field; `constants` what a field is in every
    row; `revision` where a history ends. A line without `key` gets one made of its content and of
    how many lines like it came before in the file, so that the same file gives the same keys. One
    without `occurred_at` happens when it is imported for the first time: an instant left to default
    is not content (S11).
    """
    format_ = format_ or guess_format(path)
    if format_ is Format.GIT:
        for number, event in enumerate(git_history.read_commits(path, revision), start=1):
            yield EventRow(file=str(path), line=number, item=event)
        return
    yield from _judge(str(path), _records(path, format_, columns, constants, of_users=False))


def read_queried_events(
    url: str,
    query: str,
    columns: Mapping[str, str] = NOTHING,
    constants: Mapping[str, str] = NOTHING,
) -> Generator[EventRow | Refused]:
    """Read events from a query to a database, as from a table in a file. Raises SourceError."""
    return _judge(NAME, read_query(url, query, columns, constants))


def _judge(source: str, records: Iterator[Record]) -> Generator[EventRow | Refused]:
    with closing(Repeats()) as repeats:
        for record in _not_empty(records):
            try:
                event = _keyed(Event.from_json(_usable(record)), repeats)
            except (_Unusable, InvalidEvent, RecursionError) as error:
                yield _refused(source, record, str(error))
            else:
                yield EventRow(file=source, line=record.line, item=event)


def read_users(
    path: Path, format_: Format | None = None, revision: str = HEAD
) -> Generator[UserRow | Refused]:
    """Read users: `user_id` and fields as in an event's `user`; of a history, its authors.

    Raises SourceError.
    """
    format_ = format_ or guess_format(path)
    if format_ is Format.GIT:
        for number, told in enumerate(git_history.read_authors(path, revision), start=1):
            yield UserRow(file=str(path), line=number, item=told)
        return
    for record in _not_empty(_records(path, format_, NOTHING, NOTHING, of_users=True)):
        try:
            line = _user(_usable(record))
        except (_Unusable, InvalidEvent, RecursionError) as error:
            yield _refused(str(path), record, str(error))
        else:
            yield UserRow(file=str(path), line=record.line, item=line)


def check_source(
    path: Path,
    format_: Format,
    columns: Mapping[str, str] = NOTHING,
    constants: Mapping[str, str] = NOTHING,
    *,
    of_users: bool = False,
) -> None:
    """Look whether a source can be read at all, and has the columns. Raises SourceError."""
    match format_:
        case Format.JSONL:
            check_readable(path)
        case Format.CSV:
            check_csv(path, columns, constants, of_users=of_users)
        case Format.PARQUET:
            check_parquet(path, columns, constants, of_users=of_users)
        case Format.GIT:
            git_history.count_commits(path)


def count_rows(path: Path, format_: Format | None = None) -> int:
    """Count what is to be read: about, for empty lines are no rows. Raises SourceError."""
    format_ = format_ or guess_format(path)
    match format_:
        case Format.JSONL | Format.CSV:
            return count_lines(path)
        case Format.PARQUET:
            return count_parquet(path)
        case Format.GIT:
            return git_history.count_commits(path)


class _Unusable(Exception):
    """A record cannot be used; the message says why."""


def _records(
    path: Path,
    format_: Format,
    columns: Mapping[str, str],
    constants: Mapping[str, str],
    *,
    of_users: bool,
) -> Iterator[Record]:
    if format_ is Format.CSV:
        return read_csv(path, columns, constants, of_users=of_users)
    if format_ is Format.PARQUET:
        return read_parquet(path, columns, constants, of_users=of_users)
    return read_lines(path)


def _not_empty(records: Iterator[Record]) -> Iterator[Record]:
    is_empty = True
    for record in records:
        is_empty = False
        yield record
    if is_empty:
        yield Record(line=1, reason="the file is empty, or has no rows")


def _usable(record: Record) -> Any:
    if record.reason is not None:
        raise _Unusable(record.reason)
    return record.data


def _keyed(event: Event, repeats: Repeats) -> Event:
    if event.key is not None:
        return event
    key = f"line-{event.fingerprint.hex()}-{repeats.count(event.fingerprint)}"
    return Event.from_json(event.to_json() | {"key": key})


def _user(data: Any) -> UserLine:
    if not isinstance(data, dict):
        raise InvalidEvent("user", f"must be an object with fields, not {shown(data)}")
    check_text("user_id", data.get("user_id"))
    told = {name: value for name, value in data.items() if name != "user_id"}
    return UserLine(data={"user_id": data["user_id"], **UserFields.from_json(told).to_json()})


def _refused(source: str, record: Record, reason: str) -> Refused:
    return Refused(file=source, line=record.line, reason=reason, row=_bounded(record.data))


def _bounded(row: Any) -> Any:
    """Return a row as it is kept among those refused: of a long one how it begins."""
    try:
        text = json.dumps(row, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # such as a number of more digits than Python writes
        return row
    return row if len(text) <= ROW_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX]
