"""Import events of any age from files, histories and databases, and what is told about users.

First everything is read, in chunks, into a table beside: what cannot be read is kept with its
place. Then it is applied user by user, all of a user in one chunk, in the order in which it was
read. So a user is folded once instead of once for each time the file comes to them, what is told
about a user is there before the first event, and a dry run sees of each user what the run will.
Each row counts twice: once read, once applied.

The files must be where the process of the queue `backfills` runs, and stay as they are: one that
has changed is an error. A chunk goes on where the one before has left the file open; in another
process, or after a crash, it reads up to there again.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from jobs.backfills.ahead import ReadAhead
from jobs.backfills.changes import ADDED
from jobs.backfills.kind import Chunk, Context, Hopeless, NotPossible, Work, only
from models.applying import Item, Kind, Received, apply_locked, collect, decode
from models.sources import (
    EventRow,
    Format,
    Refused,
    Row,
    SourceError,
    check_query,
    check_source,
    count_rows,
    find_head,
    guess_format,
    read_events,
    read_queried_events,
    read_users,
)
from models.statements import staged as statements
from models.statements import users as user_statements
from models.statements.backfills import Backfill
from models.statements.events import Outcome
from models.statements.staged import Refusal, StagedRow
from streakline.addresses import without_password

ROWS_MAX = 5_000
PASSED_ROWS_MAX = 100_000
"""Rows that are read once more in a chunk: some two seconds' work."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """Sources that are being read: which one, and how many of its rows were taken.

    Where it is opened anew it is `behind` by so many rows, which are read once more.
    """

    context: Context
    sources: Sequence[Mapping[str, Any]]
    source: int
    taken: int
    behind: int
    rows: ReadAhead[Row] | None = None

    def is_at(self, work: Work) -> bool:
        """Tell whether a chunk begins where this is."""
        at = (work.cursor.get("source", 0), work.cursor.get("row", 0))
        return at == (self.source, self.taken) and self.context.engine is work.context.engine

    def pass_over(self) -> bool:
        """Read some of what was taken before; tell whether that is all. Raises SourceError."""
        if not self.behind:
            return True
        rows, until = self.open(), max(0, self.behind - PASSED_ROWS_MAX)
        while self.behind > until:
            passed = rows.take(min(ROWS_MAX, self.behind - until))
            if not passed:
                raise SourceError("the source has become shorter; start another backfill")
            self.behind -= len(passed)
        return not self.behind

    def take(self, rows_max: int) -> list[Row]:
        """Take the next rows; none is the end of all sources. Raises SourceError."""
        while self.source < len(self.sources):
            if found := self.open().take(rows_max):
                self.taken += len(found)
                return found
            self.close()
            self.source, self.taken = self.source + 1, 0
        return []

    def open(self) -> ReadAhead[Row]:
        """Return the rows of the source that is read."""
        if self.rows is None:
            self.rows = ReadAhead(_read(self.context, self.sources[self.source]))
        return self.rows

    def close(self) -> None:
        """Close the source that is read."""
        if self.rows is not None:
            self.rows.close()
            self.rows = None


class _Decoded(NamedTuple):
    """Rows of the next users, and what each comes to."""

    rows: Sequence[StagedRow]
    items: Sequence[Item]


@dataclass(slots=True, kw_only=True)
class _Staged:
    """What was read before, of which all up to a user was taken, in parts of so many rows."""

    engine: Engine
    after: str
    rows_max: int
    parts: ReadAhead[_Decoded]

    def is_at(self, work: Work) -> bool:
        """Tell whether a chunk begins where this is."""
        wanted = (work.cursor.get("after"), work.rows_max)
        return wanted == (self.after, self.rows_max) and self.engine is work.context.engine

    def take(self) -> _Decoded | None:
        """Take the rows of the next users; None at the end."""
        for part in self.parts.take(1):
            self.after = part.rows[-1].user_id
            return part
        return None

    def close(self) -> None:
        """Read no more."""
        self.parts.close()


class ImportEvents:
    """`{"files": [...], "users": [...], "format": …, "columns": {…}, "constants": {…}}`.

    Paths are of files that the workers can read. `format` is told by the names where it is left
    out. Instead of files, or beside them, `{"query": "select …", "database": "OLD_DATABASE_URL"}`:
    what is named is the secret that holds the URL. All of it becomes `{"sources": [...]}`.
    """

    name = "import-events"
    unit = "rows"
    rows_max = ROWS_MAX

    def __init__(self) -> None:
        self._open: dict[int, _Open | _Staged] = {}

    def read(self, context: Context, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Look at the files: they are there, and have the columns."""
        only(parameters, "files", "users", "format", "columns", "constants", "query", "database")
        if not any(parameters.get(name) for name in ("files", "users", "query")):
            raise NotPossible("name a file to import")
        asked = parameters.get("format")
        known = [one.value for one in Format]
        if asked is not None and asked not in known:
            raise NotPossible(f"there is no format {asked!r}; there are {', '.join(known)}")
        mapped = {name: dict(parameters.get(name, {})) for name in ("columns", "constants")}
        users = [_source(Path(name), None, of_users=True) for name in parameters.get("users", ())]
        events = []
        for name in parameters.get("files", ()):
            source = _source(Path(name), asked, of_users=False) | mapped
            if source["format"] == Format.GIT.value:
                users.append(source | {"of_users": True})
            events.append(source)
        checked = [_checked(source) for source in users + events]
        if parameters.get("query"):
            checked.append(_check_query(context, parameters, mapped))
        return {"sources": checked}

    def count(self, _context: Context, parameters: Mapping[str, Any]) -> int:
        """Count the rows, each twice."""
        return 2 * sum(
            one["rows"] if "query" in one else count_rows(Path(one["path"]), Format(one["format"]))
            for one in parameters["sources"]
        )

    def run(self, work: Work) -> Chunk:
        """Read the next rows; where all are read, apply those of the next users."""
        if "after" in work.cursor:
            return self._apply(work)
        return self._stage(work)

    def let_go(self, backfill_id: int) -> None:
        """Close what a backfill has open in this process; its next chunk opens it again."""
        found = self._open.pop(backfill_id, None)
        if found is not None:
            found.close()

    def forget(self, _connection: Connection, backfill: Backfill) -> None:
        """Close what is open; what was read may be millions of rows, which a tick clears away."""
        self.let_go(backfill.backfill_id)

    def _stage(self, work: Work) -> Chunk:
        number = work.cursor.get("number", 0)
        try:
            opened = self._find_open(work)
            if not opened.pass_over():
                return Chunk(rows=0, cursor=work.cursor)
            rows = opened.take(work.rows_max)
        except SourceError as error:
            # What was open has ended with the error, and would seem to be at its end.
            self.let_go(work.backfill.backfill_id)
            raise Hopeless(str(error)) from error
        if not rows:
            self.let_go(work.backfill.backfill_id)
            applied_later = number - statements.count_refusals(
                work.connection, work.backfill.backfill_id
            )
            total = work.backfill.done + applied_later
            return Chunk(rows=0, cursor={"after": ""}, total=total)
        numbered = list(enumerate(rows, start=number))
        refused = [_refusal(at, row) for at, row in numbered if isinstance(row, Refused)]
        good = [_staged(at, row) for at, row in numbered if not isinstance(row, Refused)]
        backfill_id = work.backfill.backfill_id
        if refused:
            statements.add_refusals(work.connection, backfill_id, refused)
        if good:
            statements.add_rows(work.connection, backfill_id, good)
        cursor = {"source": opened.source, "row": opened.taken, "number": number + len(rows)}
        return Chunk(rows=len(rows), cursor=cursor)

    def _find_open(self, work: Work) -> _Open:
        """Return the sources at the cursor: as the chunk before has left them, or opened anew."""
        backfill_id = work.backfill.backfill_id
        found = self._open.get(backfill_id)
        if isinstance(found, _Open) and found.is_at(work):
            return found
        self.let_go(backfill_id)
        source, row = work.cursor.get("source", 0), work.cursor.get("row", 0)
        sources = work.parameters["sources"]
        for one in sources[source:]:
            _must_be_unchanged(one)
        opened = _Open(context=work.context, sources=sources, source=source, taken=row, behind=row)
        self._open[backfill_id] = opened
        return opened

    def _apply(self, work: Work) -> Chunk:
        backfill_id = work.backfill.backfill_id
        try:
            part = self._find_staged(work).take()
        except BaseException:
            self.let_go(backfill_id)
            raise
        if part is None:
            return Chunk(rows=0, cursor=None)
        with work.effects():
            refused = _apply_part(work, part)
        # Kept by a dry run, too: it is what the run would refuse.
        if refused:
            statements.add_refusals(work.connection, backfill_id, refused)
        return Chunk(rows=len(part.rows), cursor={"after": part.rows[-1].user_id})

    def _find_staged(self, work: Work) -> _Staged:
        """Return what was read before from the cursor on."""
        backfill_id = work.backfill.backfill_id
        found = self._open.get(backfill_id)
        if isinstance(found, _Staged) and found.is_at(work):
            return found
        self.let_go(backfill_id)
        engine, after, rows_max = work.context.engine, work.cursor["after"], work.rows_max
        parts = ReadAhead(_decode_parts(engine, work.backfill, after, rows_max))
        opened = _Staged(engine=engine, after=after, rows_max=rows_max, parts=parts)
        self._open[backfill_id] = opened
        return opened


def _source(path: Path, format_: str | None, *, of_users: bool) -> dict[str, Any]:
    path = path.absolute()
    if not path.is_file() and not path.is_dir():
        raise NotPossible(f"{path} is no file, which could be read again after a crash")
    found = format_ or guess_format(path).value
    return {"path": str(path), "format": found, "of_users": of_users} | _stamp(path)


def _stamp(path: Path) -> dict[str, Any]:
    """Return what tells whether a file is the same; a history is read up to where it is now."""
    if path.is_dir():
        return {}
    stat = path.stat()
    return {"bytes": stat.st_size, "modified": stat.st_mtime_ns}


def _checked(source: dict[str, Any]) -> dict[str, Any]:
    path, format_ = Path(source["path"]), Format(source["format"])
    try:
        check_source(
            path,
            format_,
            source.get("columns", {}),
            source.get("constants", {}),
            of_users=source["of_users"],
        )
        return source | ({"revision": find_head(path)} if format_ is Format.GIT else {})
    except SourceError as error:
        raise NotPossible(str(error)) from error


def _check_query(
    context: Context, parameters: Mapping[str, Any], mapped: Mapping[str, dict[str, str]]
) -> dict[str, Any]:
    query, database = parameters["query"], parameters.get("database")
    if not database:
        raise NotPossible("name the variable that holds the URL of the query's database")
    try:
        url = _find_url(context, database)
        rows = check_query(url, query, mapped["columns"], mapped["constants"])
    except SourceError as error:
        raise NotPossible(str(error)) from error
    return {"query": query, "database": database, "of_users": False, "rows": rows, **mapped}


def _find_url(context: Context, database: str) -> str:
    url = context.find_secret(database)
    if not url:
        raise SourceError(
            f"the variable {without_password(database)} is not set; it must hold the URL of the "
            "query's database, here and where the backfills run"
        )
    return url


def _must_be_unchanged(source: Mapping[str, Any]) -> None:
    if "query" in source:
        return
    path = Path(source["path"])
    try:
        stamp = _stamp(path)
    except OSError as error:
        raise Hopeless(
            f"{path} cannot be read where the backfills run ({error.strerror}); put it there "
            "and resume"
        ) from error
    if any(source[name] != value for name, value in stamp.items()):
        raise Hopeless(f"{path} has changed since the backfill was started; start another one")


def _read(context: Context, source: Mapping[str, Any]) -> Generator[Row]:
    if "query" in source:
        url = _find_url(context, source["database"])
        return read_queried_events(url, source["query"], source["columns"], source["constants"])
    path, format_ = Path(source["path"]), Format(source["format"])
    history = {"revision": source["revision"]} if "revision" in source else {}
    if source["of_users"]:
        return read_users(path, format_, **history)
    columns, constants = source.get("columns", {}), source.get("constants", {})
    return read_events(path, format_, columns, constants, **history)


def _staged(number: int, row: Row) -> StagedRow:
    assert not isinstance(row, Refused)
    is_event = isinstance(row, EventRow)
    body: dict[str, Any] = row.item.to_json() if isinstance(row, EventRow) else row.item.data
    return StagedRow(
        user_id=body["user_id"],
        number=number,
        is_event=is_event,
        file=row.file,
        line=row.line,
        body=body,
    )


def _refusal(number: int, row: Refused) -> Refusal:
    return Refusal(number=number, file=row.file, line=row.line, reason=row.reason, body=row.row)


def _decode_parts(
    engine: Engine, backfill: Backfill, after: str, rows_max: int
) -> Generator[_Decoded]:
    """Yield what was read before, about so many rows at once: all of a user, or none."""
    while True:
        with engine.connect() as connection:
            rows = statements.read_rows(connection, backfill.backfill_id, after, rows_max)
        if not rows:
            return
        yield _Decoded(rows, _decode(rows, backfill.planned_at))
        after = rows[-1].user_id


def _decode(rows: Sequence[StagedRow], received_at: datetime) -> Sequence[Item]:
    return decode(
        Received(
            kind=Kind.EVENT if row.is_event else Kind.USER,
            raw=row.body,
            received_at=received_at,
            imported=True,
        )
        for row in rows
    )


def _apply_part(work: Work, part: _Decoded) -> list[Refusal]:
    connection, now = work.connection, work.now
    rules = work.context.rulebooks.current(connection)
    row_of = {id(item): row for item, row in zip(part.items, part.rows, strict=True)}
    batch = collect(part.items)
    user_ids = batch.user_ids()
    with work.changes.watching(connection, rules, user_ids):
        user_statements.add_missing_users(connection, user_ids, now, rules.stamp)
        users = user_statements.lock_users(connection, user_ids, rules.stamp)
        applied = apply_locked(connection, rules, batch, users, now)
    work.changes.add("events", ADDED, applied.outcomes[Outcome.APPLIED])
    return [
        Refusal(
            number=row.number,
            file=row.file,
            line=row.line,
            reason=f"{refusal.reason.value}: {refusal.detail}",
            body=row.body,
        )
        for item, refusal in applied.refused
        for row in (row_of[id(item)],)
    ]
