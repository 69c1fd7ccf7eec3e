"""The tables of ClickHouse, as data, and their DDL, in versions that `migrate` applies.

What Postgres holds, as it was loaded:

    users             one row a user: a number for bitmaps, a bucket for the control group
    events            the ledger; never corrected
    streak_chains     chains that have ended
    point_entries     the ledger of points
    achievements      completed ones
    notices           what was worth telling
    final_standings   records of runs
    emails            those that have come to an end, sent or not

From `streak_chains` on rows are corrected by sign: one that was taken away comes again with sign
-1, so that every count is `sum(sign)` and every sum `sum(x * sign)`, merged or not.

What is seen once a day and stands nowhere else, so that it is compared with nothing:

    rank_history      where each user stood at the end of a UTC day
    snapshots         days of which all of it is there, and when it was seen; the latest counts

Rollups, filled by materialized views as rows arrive; what they sum is loaded exactly once:

    user_days         events of a user on a local day
    active_users      the users of a local day, as a bitmap of their numbers
    active_months     the users of a local month, likewise: all who ever were there, in few rows
    metric_days       events and value of a metric on a local day
    chain_lengths     chains of a streak by the date they ended and their length
    point_days        entries and amount by UTC day, points system and trigger
    achievement_days  completed by UTC day and achievement
    notice_days       notices by UTC day, kind and streak

Each insert carries a token by which ClickHouse drops it the second time, here and in the rollups:
plain MergeTree does so only with a window (`non_replicated_deduplication_window`), which counts
parts: an insert makes one for every year that it touches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

DEDUPLICATION_WINDOW = 10_000
RANKS_KEPT_DAYS = 400
VERSIONS_TABLE = "schema_versions"
ROWS_OF_BITMAPS = 8
"""That are read together, at the least: 8,192 of them, the default, would be all there are."""

INSTANT = "DateTime64(6, 'UTC')"
AMOUNT = "Decimal(18, 4)"
"""64 bits: 2**53 units of 0.0001 and more."""
NAME = "LowCardinality(String)"
SUM = "SimpleAggregateFunction(sum, Int64)"
SUM_AMOUNT = "SimpleAggregateFunction(sum, Decimal(38, 4))"
CORRECTED = {"sign": "Int8", "version": "UInt64"}
"""`version` is the transaction that wrote the row: a row and its cancellation have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollup:
    """What a materialized view brings into a table, from the rows that arrive in another.

    A row is of one day of the source, or of one month.
    """

    source: str
    select: str
    is_monthly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseTable:
    """A table: columns with their types, and how ClickHouse keeps them.

    `day` is the date that a row is of, an expression. `identity` names the columns that make a row
    of what Postgres holds this one, as its key does there.
    `codecs` are those that differ from the engine's default. `shard_by` places rows on a cluster.
    `granularity` is how many rows are read together, where the engine's default is too many.
    """

    name: str
    columns: Mapping[str, str]
    engine: str
    day: str
    order_by: str
    identity: tuple[str, ...] = ()
    partition_by: str | None = None
    codecs: Mapping[str, str] = field(default_factory=dict)
    shard_by: str = "cityHash64(user_id)"
    ttl: str | None = None
    granularity: int | None = None
    rollup: Rollup | None = None


def _corrected(
    name: str,
    columns: Mapping[str, str],
    *,
    day: str,
    identity: tuple[str, ...],
    order_by: str,
    partition_by: str | None = None,
    codecs: Mapping[str, str] | None = None,
) -> WarehouseTable:
    return WarehouseTable(
        name=name,
        columns={**columns, **CORRECTED},
        engine="VersionedCollapsingMergeTree(sign, version)",
        day=day,
        identity=identity,
        order_by=order_by,
        partition_by=partition_by,
        codecs={"version": _CROPPED, **(codecs or {})},
    )


def _rollup(
    name: str,
    columns: Mapping[str, str],
    *,
    day: str,
    order_by: str,
    source: str,
    select: str,
    is_monthly: bool = False,
    granularity: int | None = None,
) -> WarehouseTable:
    return WarehouseTable(
        name=name,
        columns=columns,
        engine="AggregatingMergeTree",
        day=day,
        order_by=order_by,
        # it is written through its view alone, on the shard of the rows that it sums
        shard_by="rand()",
        granularity=granularity,
        rollup=Rollup(source=source, select=select, is_monthly=is_monthly),
    )


_CROPPED = "T64, ZSTD(1)"
"""Of instants and small numbers the upper bits are all the same in a part: they are left out."""
_SERIAL = "Delta, ZSTD(1)"
"""Numbers that mostly ascend in the order of the table."""
_PLAIN = "ZSTD(1)"

TABLES = (
    WarehouseTable(
        name="users",
        columns={
            "user_id": "String",
            "number": "UInt32",
            "bucket": "UInt16",
            "first_seen_at": INSTANT,
        },
        engine="MergeTree",
        day="toDate32(first_seen_at)",
        identity=("user_id",),
        order_by="number",
        codecs={"user_id": _PLAIN, "number": _SERIAL, "first_seen_at": _CROPPED},
    ),
    WarehouseTable(
        name="events",
        columns={
            "user_id": "String",
            "number": "UInt32",
            "metric": NAME,
            "key": "String",
            "value": AMOUNT,
            "occurred_at": INSTANT,
            "local_date": "Date32",
            "attributes": "String",
            "program_version": "UInt32",
            "received_at": INSTANT,
            "applied_at": INSTANT,
        },
        engine="MergeTree",
        partition_by="toYear(local_date)",
        day="local_date",
        identity=("user_id", "metric", "key"),
        order_by="(metric, local_date, user_id)",
        codecs={
            "user_id": _PLAIN,
            "number": _SERIAL,
            "key": _PLAIN,
            "value": _PLAIN,
            "attributes": _PLAIN,
            "occurred_at": _CROPPED,
            "received_at": _CROPPED,
            "applied_at": _CROPPED,
            "program_version": _PLAIN,
        },
    ),
    _corrected(
        "streak_chains",
        {
            "user_id": "String",
            "streak": NAME,
            "started_on": "Date32",
            "ended_on": "Date32",
            "length": "UInt32",
            "decided_at": INSTANT,
        },
        partition_by="toYear(ended_on)",
        day="ended_on",
        identity=("user_id", "streak", "started_on", "decided_at"),
        order_by="(streak, ended_on, user_id, started_on, decided_at)",
        codecs={
            "user_id": _PLAIN,
            "started_on": _CROPPED,
            "length": _CROPPED,
            "decided_at": _CROPPED,
        },
    ),
    _corrected(
        "point_entries",
        {
            "user_id": "String",
            "points": NAME,
            "trigger": NAME,
            "since": "UInt32",
            "cause": "String",
            "amount": AMOUNT,
            "base": AMOUNT,
            "boosts": NAME,
            "clipped": AMOUNT,
            "occurred_at": INSTANT,
            "decided_at": INSTANT,
            "number": "UInt32",
        },
        partition_by="toYear(occurred_at)",
        day="toDate32(occurred_at)",
        identity=("user_id", "decided_at", "number"),
        order_by="(points, toDate32(occurred_at), user_id, decided_at, number)",
        codecs={
            "user_id": _PLAIN,
            "since": _PLAIN,
            "cause": _PLAIN,
            "amount": _PLAIN,
            "base": _PLAIN,
            "clipped": _PLAIN,
            "occurred_at": _CROPPED,
            "decided_at": _CROPPED,
        },
    ),
    _corrected(
        "achievements",
        {
            "user_id": "String",
            "key": NAME,
            "since": "UInt32",
            "completed_at": INSTANT,
            "backdated": "Bool",
            "decided_at": INSTANT,
        },
        day="toDate32(completed_at)",
        identity=("user_id", "key"),
        order_by="(key, user_id)",
        codecs={"user_id": _PLAIN, "completed_at": _CROPPED, "decided_at": _CROPPED},
    ),
    _corrected(
        "notices",
        {
            "user_id": "String",
            "kind": NAME,
            "cause": "String",
            "at": INSTANT,
            "body": "String",
            "silent": "Bool",
        },
        partition_by="toYear(at)",
        day="toDate32(at)",
        identity=("user_id", "kind", "cause"),
        order_by="(kind, toDate32(at), user_id, cause)",
        codecs={"user_id": _PLAIN, "cause": _PLAIN, "body": _PLAIN, "at": _CROPPED},
    ),
    _corrected(
        "final_standings",
        {
            "leaderboard": NAME,
            "since": "UInt32",
            "run": NAME,
            "segment": NAME,
            "rank": "UInt32",
            "user_id": "String",
            "score": AMOUNT,
            "reached_at": INSTANT,
        },
        day="toDate32(reached_at)",
        identity=("leaderboard", "since", "run", "segment", "rank"),
        order_by="(leaderboard, since, run, segment, rank)",
        codecs={"user_id": _PLAIN, "score": _PLAIN, "rank": _SERIAL, "reached_at": _PLAIN},
    ),
    _corrected(
        "emails",
        {
            "user_id": "String",
            "name": NAME,
            "kind": NAME,
            "cause": "String",
            "state": NAME,
            "attempts": "UInt16",
            "planned_at": INSTANT,
            "settled_at": INSTANT,
        },
        partition_by="toYear(settled_at)",
        day="toDate32(settled_at)",
        identity=("user_id", "name", "cause"),
        order_by="(name, toDate32(settled_at), user_id, cause)",
        codecs={"user_id": _PLAIN, "cause": _PLAIN, "planned_at": _CROPPED, "settled_at": _CROPPED},
    ),
    WarehouseTable(
        name="rank_history",
        columns={
            "day": "Date32",
            "taken_at": INSTANT,
            "leaderboard": NAME,
            "since": "UInt32",
            "run": NAME,
            "segment": NAME,
            "rank": "UInt32",
            "user_id": "String",
            "score": AMOUNT,
            "participants": "UInt32",
        },
        engine="MergeTree",
        partition_by="toYYYYMM(day)",
        day="day",
        order_by="(leaderboard, user_id, day, run, segment)",
        ttl=f"toDate(day) + interval {RANKS_KEPT_DAYS} day",
        codecs={"user_id": _PLAIN, "rank": _PLAIN, "score": _PLAIN, "taken_at": _PLAIN},
    ),
    WarehouseTable(
        name="snapshots",
        columns={"day": "Date32", "taken_at": INSTANT},
        engine="MergeTree",
        day="day",
        order_by="day",
        shard_by="cityHash64(day)",
    ),
    _rollup(
        "user_days",
        {"local_date": "Date32", "user_id": "String", "events": SUM},
        day="local_date",
        order_by="(local_date, user_id)",
        source="events",
        select="local_date, user_id, count() as events from {source} group by local_date, user_id",
    ),
    _rollup(
        "active_users",
        {"local_date": "Date32", "users": "AggregateFunction(groupBitmap, UInt32)"},
        day="local_date",
        order_by="local_date",
        granularity=ROWS_OF_BITMAPS,
        source="events",
        select="local_date, groupBitmapState(number) as users from {source} group by local_date",
    ),
    _rollup(
        "active_months",
        {"month": "Date32", "users": "AggregateFunction(groupBitmap, UInt32)"},
        day="month",
        order_by="month",
        granularity=ROWS_OF_BITMAPS,
        is_monthly=True,
        source="events",
        # toStartOfMonth gives a Date, which begins in 1970
        select="local_date - toDayOfMonth(local_date) + 1 as month,"
        " groupBitmapState(number) as users from {source} group by month",
    ),
    _rollup(
        "metric_days",
        {"local_date": "Date32", "metric": NAME, "events": SUM, "value": SUM_AMOUNT},
        day="local_date",
        order_by="(local_date, metric)",
        source="events",
        select="local_date, metric, count() as events, sum(value) as value"
        " from {source} group by local_date, metric",
    ),
    _rollup(
        "chain_lengths",
        {"streak": NAME, "ended_on": "Date32", "length": "UInt32", "chains": SUM},
        day="ended_on",
        order_by="(streak, ended_on, length)",
        source="streak_chains",
        select="streak, ended_on, length, sum(sign) as chains"
        " from {source} group by streak, ended_on, length",
    ),
    _rollup(
        "point_days",
        {"day": "Date32", "points": NAME, "trigger": NAME, "entries": SUM, "amount": SUM_AMOUNT},
        day="day",
        order_by="(day, points, trigger)",
        source="point_entries",
        select="toDate32(occurred_at) as day, points, trigger, sum(sign) as entries,"
        " sum(amount * sign) as amount from {source} group by day, points, trigger",
    ),
    _rollup(
        "achievement_days",
        {"day": "Date32", "key": NAME, "completed": SUM},
        day="day",
        order_by="(day, key)",
        source="achievements",
        select="toDate32(completed_at) as day, key, sum(sign) as completed"
        " from {source} group by day, key",
    ),
    _rollup(
        "notice_days",
        {"day": "Date32", "kind": NAME, "streak": NAME, "notices": SUM},
        day="day",
        order_by="(day, kind, streak)",
        source="notices",
        select="toDate32(at) as day, kind, JSONExtractString(body, 'streak') as streak,"
        " sum(sign) as notices from {source} group by day, kind, streak",
    ),
)
MONTHLY = {table.rollup.source for table in TABLES if table.rollup and table.rollup.is_monthly}
"""The tables that have rollups of months."""
FRESH = tuple(
    replace(table, name=f"{table.name}_fresh", identity=()) for table in TABLES if table.identity
)
"""Beside each that Postgres fills: its rows of a day as they should be, while it is reloaded."""
BY_NAME = {table.name: table for table in TABLES + FRESH}
VERSIONS = ((1, TABLES), (2, FRESH))
"""What each version of the schema adds, oldest first."""


def versions_ddl(cluster: str | None = None) -> str:
    """Return the statement that makes the table of the versions that were applied."""
    engine = "MergeTree" if cluster is None else f"ReplicatedMergeTree({_path(VERSIONS_TABLE)})"
    return (
        f"create table if not exists {VERSIONS_TABLE}{_on(cluster)}"
        f" (version UInt32, applied_at {INSTANT}) engine = {engine} order by version"
    )


def ddl(table: WarehouseTable, cluster: str | None = None) -> Iterator[str]:
    """Yield the statements that make a table, and the view that fills it where one does.

    On a cluster that is a replicated table on each shard, `<name>_local`, and one above them all
    that distributes.
    """
    local = table.name if cluster is None else f"{table.name}_local"
    columns = ", ".join(
        f"{name} {type_}" + (f" codec({table.codecs[name]})" if name in table.codecs else "")
        for name, type_ in table.columns.items()
    )
    partition = f" partition by {table.partition_by}" if table.partition_by else ""
    ttl = f" ttl {table.ttl}" if table.ttl else ""
    replicated = "" if cluster is None else "replicated_"
    settings = f"{replicated or 'non_replicated_'}deduplication_window = {DEDUPLICATION_WINDOW}"
    if table.granularity is not None:
        settings += f", index_granularity = {table.granularity}"
    yield (
        f"create table if not exists {local}{_on(cluster)} ({columns})"
        f" engine = {_engine(table, cluster)}{partition} order by {table.order_by}{ttl}"
        f" settings {settings}"
    )
    if cluster is not None:
        yield (
            f"create table if not exists {table.name}{_on(cluster)} as {local}"
            f" engine = Distributed({cluster}, currentDatabase(), {local}, {table.shard_by})"
        )
    if table.rollup is not None:
        source = table.rollup.source + ("" if cluster is None else "_local")
        yield (
            f"create materialized view if not exists {table.name}_view{_on(cluster)} to {local}"
            f" as select {table.rollup.select.format(source=source)}"
        )


def truncate(table: WarehouseTable, cluster: str | None = None) -> str:
    """Return the statement that empties a table."""
    local = table.name if cluster is None else f"{table.name}_local"
    return f"truncate table {local}{_on(cluster)}"


def delete(table: WarehouseTable, day: date, cluster: str | None = None) -> str:
    """Return the statement that takes the rows of a day away."""
    local = table.name if cluster is None else f"{table.name}_local"
    return f"delete from {local}{_on(cluster)} where {table.day} = '{day}'"


def _engine(table: WarehouseTable, cluster: str | None) -> str:
    name, _, arguments = table.engine.rstrip(")").partition("(")
    if cluster is not None:
        name, arguments = (
            f"Replicated{name}",
            ", ".join(filter(None, [_path(table.name), arguments])),
        )
    return f"{name}({arguments})"


def _path(name: str) -> str:
    """Return where replicas find each other; the server fills in what stands in braces."""
    return f"'/clickhouse/tables/{{shard}}/{{database}}/{name}', '{{replica}}'"


def _on(cluster: str | None) -> str:
    return "" if cluster is None else f" on cluster {cluster}"
