"""Loads: batches for the warehouse, each a range of transactions, so that it can be sent again.

A transaction whose number is below the oldest one that still runs has ended: what it wrote is
there, and nothing comes to it. So all rows of such transactions are a batch that stays what it is,
with no mark on any row. What was taken away since comes out of `removed_rows`: with sign 1 in the
batch of the transaction that wrote it, and with sign -1 in the one of that which removed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    FromClause,
    RowMapping,
    Select,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert

from models.rules.calendar import ONE_DAY
from models.statements.boards import ADVISORY_CLASS
from models.statements.openings import read_sums
from models.tables import (
    achievements,
    emails,
    events,
    final_standings,
    loads,
    notices,
    point_entries,
    removed_rows,
    runs,
    streak_chains,
    users,
)

ROWS_PER_LOAD = 100_000
"""Rows after which a load is full; it holds the whole of the last transaction all the same."""
BYTES_TOGETHER = 256 * 1024
WAITING_MAX = 1_000_000
"""Rows that wait are counted up to here."""
LOCKS_FROM = 100
"""The second numbers of advisory locks from here on are those of sources, in their order."""
RELOAD_WAREHOUSE = "reload-warehouse"
"""The kind of backfills that make days of the warehouse anew."""
KEPT = timedelta(days=7)
"""How long one can see what was loaded when."""

Rows = FromClause
"""Rows of a table, from the table itself or of those that were removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is loaded of a table: columns as the warehouse names them, and what is compared.

    Rows are grouped by day and `group`, and `amount` is summed; `dated` is the column of the day, a
    date, or an instant, which is of the day that it is in UTC.
    """

    table: Table
    is_corrected: bool
    columns: Callable[[Rows], list[ColumnElement[Any]]]
    dated: str
    group: Callable[[Rows], ColumnElement[Any]]
    amount: Callable[[Rows], ColumnElement[Any]]
    joined: Callable[[Rows], FromClause] = lambda rows: rows

    def day(self, rows: Rows) -> ColumnElement[Any]:
        """Return the day of each row."""
        dated = rows.c[self.dated]
        if isinstance(dated.type, Date):
            return dated
        return cast(func.timezone("UTC", dated), postgresql.DATE)

    def is_within(self, rows: Rows, first: date, last: date) -> ColumnElement[bool]:
        """Return whether rows are of some days, the last one included; an index can answer it."""
        dated = rows.c[self.dated]
        if isinstance(dated.type, Date):
            return and_(dated >= first, dated <= last)
        return and_(dated >= _midnight(first), dated < _midnight(last + ONE_DAY))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _named(*names: str) -> Callable[[Rows], list[ColumnElement[Any]]]:
    return lambda rows: [rows.c[name] for name in names]


_nothing = literal("", Text())
_zero = literal(0, BigInteger())
_plus = cast(literal(1), SmallInteger)


def _event_columns(rows: Rows) -> list[ColumnElement[Any]]:
    names = ("metric", "key", "value", "occurred_at", "local_date")
    return [
        rows.c.user_id,
        users.c.number,
        *(rows.c[name] for name in names),
        func.coalesce(cast(rows.c.attributes, Text), _nothing).label("attributes"),
        rows.c.program_version,
        rows.c.received_at,
        rows.c.applied_at,
    ]


def _entry_columns(rows: Rows) -> list[ColumnElement[Any]]:
    before = ("user_id", "points", "trigger", "since", "cause", "amount", "base")
    after = ("clipped", "occurred_at", "decided_at", "number")
    return [
        *(rows.c[name] for name in before),
        func.coalesce(rows.c.boosts, _nothing).label("boosts"),
        *(rows.c[name] for name in after),
    ]


def _notice_columns(rows: Rows) -> list[ColumnElement[Any]]:
    names = ("user_id", "kind", "cause", "at", "silent")
    return [*(rows.c[name] for name in names), cast(rows.c.body, Text).label("body")]


def _standing_columns(rows: Rows) -> list[ColumnElement[Any]]:
    names = ("segment", "rank", "user_id", "score", "reached_at")
    return [runs.c.leaderboard, runs.c.since, runs.c.run, *(rows.c[name] for name in names)]


SOURCES: Mapping[str, Source] = {
    "users": Source(
        table=users,
        is_corrected=False,
        columns=_named("user_id", "number", "first_seen_at"),
        dated="first_seen_at",
        group=lambda _: _nothing,
        amount=lambda rows: rows.c.number,
    ),
    "events": Source(
        table=events,
        is_corrected=False,
        columns=_event_columns,
        joined=lambda rows: rows.join(users, users.c.user_id == rows.c.user_id),
        dated="local_date",
        group=lambda rows: rows.c.metric,
        amount=lambda rows: rows.c.value,
    ),
    "streak_chains": Source(
        table=streak_chains,
        is_corrected=True,
        columns=_named("user_id", "streak", "started_on", "ended_on", "length", "decided_at"),
        dated="ended_on",
        group=lambda rows: rows.c.streak,
        amount=lambda rows: rows.c.length,
    ),
    "point_entries": Source(
        table=point_entries,
        is_corrected=True,
        columns=_entry_columns,
        dated="occurred_at",
        group=lambda rows: rows.c.points,
        amount=lambda rows: rows.c.amount,
    ),
    "achievements": Source(
        table=achievements,
        is_corrected=True,
        columns=_named("user_id", "key", "since", "completed_at", "backdated", "decided_at"),
        dated="completed_at",
        group=lambda rows: rows.c.key,
        amount=lambda _: _zero,
    ),
    "notices": Source(
        table=notices,
        is_corrected=True,
        columns=_notice_columns,
        dated="at",
        group=lambda rows: rows.c.kind,
        amount=lambda _: _zero,
    ),
    "final_standings": Source(
        table=final_standings,
        is_corrected=True,
        columns=_standing_columns,
        joined=lambda rows: rows.join(runs, runs.c.run_id == rows.c.run_id),
        dated="reached_at",
        group=lambda _: runs.c.leaderboard,
        amount=lambda rows: rows.c.score,
    ),
    "emails": Source(
        table=emails,
        is_corrected=True,
        columns=_named(
            "user_id", "name", "kind", "cause", "state", "attempts", "planned_at", "settled_at"
        ),
        dated="settled_at",
        group=lambda rows: rows.c.state,
        amount=lambda rows: rows.c.attempts,
    ),
}
"""What is loaded, by the name that it has here and in the warehouse; users before their events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A batch: all that transactions from one number up to another, not included, did to a source.

    `txid` numbers are Postgres' own, 64 bits wide.
    """

    source: str
    from_txid: int
    to_txid: int
    frozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What is not loaded yet: rows, up to WAITING_MAX a source, and what failed last."""

    rows: Mapping[str, int]
    events_since: datetime | None
    failing_since: datetime | None
    error: str | None


class CountedAnew(Exception):
    """Postgres counts transactions from a lower number than what was loaded."""

    def __init__(self, loaded: int, running: int) -> None:
        super().__init__(
            f"transactions up to {loaded} were loaded, but Postgres is at {running}: was it "
            "restored from a dump? Stop it and let it count on from beyond: pg_resetwal, "
            "--next-transaction-id and --epoch"
        )


_HORIZON = select(cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger))
_LATEST = (
    select(loads)
    .where(loads.c.source == bindparam("source"))
    .order_by(loads.c.from_txid.desc())
    .limit(1)
)
_FREEZE = insert(loads).on_conflict_do_nothing().returning(loads.c.from_txid)
_OF_LOAD = (loads.c.source == bindparam("of_source"), loads.c.from_txid == bindparam("of_from"))
_IS_WAITING = select(loads.c.loaded_at.is_(None)).where(*_OF_LOAD)
_MARK = (
    update(loads)
    .where(*_OF_LOAD, loads.c.loaded_at.is_(None))
    .values(loaded_at=bindparam("at"), rows=bindparam("sent"), error=None)
)
_FORGET = delete(loads).where(
    loads.c.source == bindparam("source"),
    loads.c.to_txid <= bindparam("before_txid"),
    loads.c.loaded_at < bindparam("before"),
)
_FORGET_ALL = delete(loads).where(loads.c.source.in_(bindparam("sources", expanding=True)))
_FAIL = update(loads).where(*_OF_LOAD).values(error=bindparam("reason"))
# Numbers are given when a transaction first writes, and users are waited for after that: one may
# remove what one with a greater number wrote, and that is still to be loaded as written.
_PRUNE = delete(removed_rows).where(
    removed_rows.c.source == bindparam("source"),
    removed_rows.c.removed_txid < bindparam("to_txid"),
    removed_rows.c.txid < bindparam("to_txid"),
)
_TRY_LOCK = select(func.pg_try_advisory_xact_lock(ADVISORY_CLASS, bindparam("number")))
_LOCK = select(func.pg_advisory_xact_lock(ADVISORY_CLASS, bindparam("number")))
_FAILING = select(func.min(loads.c.frozen_at), func.max(loads.c.error)).where(
    loads.c.loaded_at.is_(None), loads.c.error.is_not(None)
)
_NO_LIMIT = text("set local statement_timeout = 0")


def read_horizon(connection: Connection) -> int:
    """Return the oldest transaction that still runs: all before it have ended."""
    return int(connection.execute(_HORIZON).scalar_one())


def freeze(connection: Connection, source: str, until: int, now: datetime) -> Load | None:
    """Return the load of a source that is to be sent: one that was not finished, or the next.

    `until` is a horizon that was read before; None where nothing new was written before it. Once
    this transaction is committed the load is frozen. Raises CountedAnew.
    """
    latest = connection.execute(_LATEST, {"source": source}).mappings().first()
    if latest is not None and latest["loaded_at"] is None:
        return _load(latest)
    start = 0 if latest is None else latest["to_txid"]
    # Another loader may have gone beyond what was the horizon, but never beyond what it is.
    if until < start and (horizon := read_horizon(connection)) < start:
        raise CountedAnew(start, horizon)
    last = connection.execute(_last_txid(source), {"start": start, "end": until}).scalar_one()
    if last is None:
        return None
    load = Load(source=source, from_txid=start, to_txid=last + 1, frozen_at=now)
    row = {
        "source": source,
        "from_txid": start,
        "to_txid": load.to_txid,
        "frozen_at": now,
    }
    # Another loader may have frozen the same: then it is that one's to send.
    return load if connection.execute(_FREEZE, row).first() else None


def lock_source(connection: Connection, source: str) -> bool:
    """Tell whether nobody else sends this source, nor will before this transaction ends."""
    return bool(connection.execute(_TRY_LOCK, {"number": _lock_number(source)}).scalar_one())


def lock_loaded(connection: Connection, source: str) -> int | None:
    """Let nobody send this source until this transaction ends, waiting for whoever does.

    Returns the transaction up to which, not included, all is loaded; None where a load was begun
    and not finished, so that a part of it may be there.
    """
    connection.execute(_LOCK, {"number": _lock_number(source)})
    latest = connection.execute(_LATEST, {"source": source}).mappings().first()
    if latest is None:
        return 0
    return None if latest["loaded_at"] is None else int(latest["to_txid"])


def is_loaded(connection: Connection, source: str, until: int) -> bool:
    """Tell whether what was loaded up to a transaction, not included, still counts as loaded."""
    return _loaded_until(connection, source) >= until


def is_waiting(connection: Connection, load: Load) -> bool:
    """Tell whether a load is not marked as loaded yet."""
    found = connection.execute(_IS_WAITING, _of(load)).scalar()
    return bool(found)


def forget_loads(connection: Connection, sources: Iterable[str]) -> None:
    """Forget that anything was loaded of some sources, waiting for whoever loads them.

    All of it will be, anew; none is before this transaction ends.
    """
    for source in sources:
        connection.execute(_LOCK, {"number": _lock_number(source)})
    connection.execute(_FORGET_ALL, {"sources": list(sources)})


def read_first_loaded(connection: Connection) -> datetime | None:
    """Return when the oldest load that is known was loaded."""
    found: datetime | None = connection.execute(select(func.min(loads.c.loaded_at))).scalar()
    return found


def copy_rows(connection: Connection, load: Load) -> Iterator[bytes]:
    """Yield the rows of a load as CSV with a header, in an order that is always the same.

    They come in parts of about BYTES_TOGETHER, each of whole rows; the last one may be empty.
    """
    return _copy(connection, _rows_of(SOURCES[load.source], load.from_txid, load.to_txid))


def copy_days(
    connection: Connection, source: str, first: date, last: date, loaded: int
) -> Iterator[bytes]:
    """Yield the rows of some days as `copy_rows` does: those that the warehouse must have.

    These are what transactions below `loaded` wrote, and none below it removed.
    """
    of = SOURCES[source]
    rows = _loaded_rows(of, loaded)
    return _copy(connection, _as_loaded(of, rows).where(of.is_within(rows, first, last)))


def copy_users_of_days(
    connection: Connection, first: date, last: date, loaded: int
) -> Iterator[bytes]:
    """Yield an event of each user who has any in some days, as `copy_days` does."""
    of = SOURCES["events"]
    rows = _loaded_rows(of, loaded)
    some = _as_loaded(of, rows).where(of.is_within(rows, first, last))
    return _copy(connection, some.ext(postgresql.distinct_on(rows.c.user_id)))


def _copy(connection: Connection, query: Select[Any]) -> Iterator[bytes]:
    connection.execute(_NO_LIMIT)
    statement = _literally(query)
    driver = connection.connection.driver_connection
    assert driver is not None
    with (
        driver.cursor() as cursor,
        cursor.copy(f"copy ({statement}) to stdout with (format csv, header)") as copy,
    ):
        # The driver gives each row by itself; many at once cost those who read them less.
        rows, size = list[bytes](), 0
        while data := copy.read():
            rows.append(bytes(data))
            size += len(data)
            if size >= BYTES_TOGETHER:
                yield b"".join(rows)
                rows, size = [], 0
        yield b"".join(rows)


def mark_loaded(connection: Connection, load: Load, rows: int, now: datetime) -> None:
    """Say that a load is in the warehouse; forget what was kept for it alone."""
    connection.execute(_MARK, _of(load) | {"at": now, "sent": rows})
    connection.execute(_PRUNE, {"source": load.source, "to_txid": load.to_txid})
    old = {"source": load.source, "before_txid": load.from_txid, "before": now - KEPT}
    connection.execute(_FORGET, old)


def mark_failed(connection: Connection, load: Load, error: str) -> None:
    """Keep why a load could not be sent; it will be tried again."""
    connection.execute(_FAIL, _of(load) | {"reason": error})


def read_loaded(connection: Connection) -> dict[str, int]:
    """Return, for each source, the transaction up to which, not included, all is loaded."""
    return {source: _loaded_until(connection, source) for source in SOURCES}


def _loaded_until(connection: Connection, source: str) -> int:
    latest = connection.execute(_LATEST, {"source": source}).mappings().first()
    if latest is None:
        return 0
    return int(latest["to_txid" if latest["loaded_at"] is not None else "from_txid"])


def read_waiting(connection: Connection) -> Waiting:
    """Return what is not loaded yet."""
    loaded = read_loaded(connection)
    rows = {}
    for name, source in SOURCES.items():
        some = (
            select(literal(1))
            .where(source.table.c.txid >= loaded[name])
            .limit(WAITING_MAX)
            .subquery()
        )
        rows[name] = connection.execute(select(func.count()).select_from(some)).scalar_one()
    oldest = select(events.c.applied_at).where(events.c.txid >= loaded["events"])
    since = connection.execute(oldest.order_by(events.c.txid).limit(1)).scalar()
    failing_since, error = connection.execute(_FAILING).one()
    return Waiting(rows=rows, events_since=since, failing_since=failing_since, error=error)


Sums = dict[tuple[str, str], tuple[int, Decimal]]
"""Counts and sums by (day, group)."""


def sum_loaded(connection: Connection, source: str, loaded: int) -> Sums:
    """Return the counts and sums of what transactions below `loaded` wrote of a source.

    Of events, those that have left are in it: all of them were loaded before they did.
    """
    connection.execute(_NO_LIMIT)
    of = SOURCES[source]
    rows = _loaded_rows(of, loaded)
    query = (
        select(
            cast(of.day(rows), Text),
            of.group(rows),
            func.count(),
            func.coalesce(func.sum(of.amount(rows)), 0),
        )
        .select_from(of.joined(rows))
        .group_by(text("1"), text("2"))
    )
    found: Sums = {}
    left = read_sums(connection) if of.table is events else ()
    for day, group, count, amount in (*connection.execute(query), *left):
        before = found.get((day, group), (0, Decimal()))
        found[day, group] = (before[0] + count, before[1] + Decimal(amount))
    return found


def _last_txid(source: str) -> Select[Any]:
    """Return the query for the last transaction of the next load: one limit for each index."""
    columns = [SOURCES[source].table.c.txid]
    conditions: list[Any] = [()]
    if SOURCES[source].is_corrected:
        columns += [removed_rows.c.txid, removed_rows.c.removed_txid]
        conditions += [(removed_rows.c.source == source,)] * 2
    parts = [
        select(column.label("txid"))
        .where(column >= bindparam("start"), column < bindparam("end"), *where)
        .order_by(column)
        .limit(ROWS_PER_LOAD)
        .subquery()
        for column, where in zip(columns, conditions, strict=True)
    ]
    together = union_all(*[select(part.c.txid) for part in parts]).subquery()
    first = select(together.c.txid).order_by(together.c.txid).limit(ROWS_PER_LOAD).subquery()
    return select(func.max(first.c.txid))


def _loaded_rows(source: Source, loaded: int) -> Rows:
    """Return what transactions below `loaded` wrote of a source, and none below it removed."""
    there = source.table.select().where(source.table.c.txid < loaded)
    if not source.is_corrected:
        return there.subquery()
    gone = removed_rows.c
    removed = _removed(source.table).where(
        gone.source == source.table.name, gone.txid < loaded, gone.removed_txid >= loaded
    )
    return union_all(there, removed).subquery()


def _as_loaded(source: Source, rows: Rows) -> Select[Any]:
    """Return rows as the warehouse has them; those of corrected ones have sign 1."""
    extra = [_plus.label("sign"), rows.c.txid.label("version")] if source.is_corrected else []
    return select(*source.columns(rows), *extra).select_from(source.joined(rows))


def _rows_of(source: Source, from_txid: int, to_txid: int) -> Select[Any]:
    def written(column: ColumnElement[Any]) -> ColumnElement[bool]:
        return and_(column >= from_txid, column < to_txid)

    table = source.table
    keys = [key.name for key in table.primary_key]
    if not source.is_corrected:
        rows: Rows = table
        where = [written(table.c.txid)]
        extra: list[ColumnElement[Any]] = []
        order: list[ColumnElement[Any]] = [table.c.txid, *(table.c[key] for key in keys)]
    else:
        rows, where = _signed(table, written).subquery("signed"), []
        extra = [rows.c.sign, rows.c.txid.label("version")]
        order = [rows.c.txid, *(rows.c[key] for key in keys), rows.c.sign.desc()]
    return (
        select(*source.columns(rows), *extra)
        .select_from(source.joined(rows))
        .where(*where)
        .order_by(*order)
    )


def _signed(table: Table, written: Callable[[ColumnElement[Any]], ColumnElement[bool]]) -> Any:
    """Return what a range of transactions did: rows that it wrote, and rows that it removed."""
    gone, minus = removed_rows.c, cast(literal(-1), SmallInteger)
    removed = _removed(table).where(gone.source == table.name)
    return union_all(
        table.select().add_columns(_plus.label("sign")).where(written(table.c.txid)),
        removed.add_columns(_plus).where(written(gone.txid)),
        removed.add_columns(minus).where(written(gone.removed_txid)),
    )


def _removed(table: Table) -> Select[Any]:
    """Return removed rows with the columns that they had."""
    return select(
        *[
            cast(removed_rows.c.body[column.name].astext, column.type).label(column.name)
            for column in table.c
        ]
    )


def _literally(query: Select[Any]) -> str:
    """Return a query as text with its values in it: COPY takes no parameters."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # it has no types
    compiled = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return str(compiled).replace("%%", "%")


def _lock_number(source: str) -> int:
    return LOCKS_FROM + list(SOURCES).index(source)


def _load(row: RowMapping) -> Load:
    return Load(**{name: row[name] for name in ("source", "from_txid", "to_txid", "frozen_at")})


def _of(load: Load) -> dict[str, Any]:
    return {"of_source": load.source, "of_from": load.from_txid}
