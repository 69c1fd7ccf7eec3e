"""How fast the report's questions are answered over a large app's year, and what it takes on disk.

The year is made in ClickHouse, by its own functions and the same ones each time, and goes through
the tables that loads go through, so that the same views fill the same rollups.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from models.warehouse.engine import Warehouse
from models.warehouse.queries import Period, Question, ask, questions
from models.warehouse.schema import TABLES
from tests.benchmarks.harness import Figure
from tests.servers import temporary_home

FIRST_DAY = date(2025, 1, 1)
DAYS = 365
USERS = 1_000_000
EVENTS = 100_000_000
CHAINS = 30_000_000
ENTRIES = 20_000_000
NOTICES = 5_000_000
ACHIEVEMENTS = 2_000_000
QUICK = 100
"""With `--quick` everything is so many times less."""
ROWS_PER_PART = 2_000_000
ASKED = 30
GOAL = "100"
GENERATING = {"max_threads": 2, "max_memory_usage": 6_000_000_000, "max_execution_time": 0}

# A user joins on some day of the year and is active ever less often after it; some are very active.
_USER = "toUInt32(pow(intHash64(i * 3 + 1) / 18446744073709551615, 1.5) * {users})"
_JOINED = "toUInt32(intHash32(user + 7) % {days})"
_DAY = (
    "toUInt16(least({days} - 1, joined + toUInt32(-log((intHash64(i * 3 + 2) + 1)"
    " / 18446744073709551616.) * 45)))"
)
_USER_ID = "concat('user-', leftPad(toString(user), 7, '0'))"
_SOURCE = (
    "select i, user, joined, day, toDate32('{first}') + day as on_date,"
    " toDateTime64(toDate('{first}') + day, 6, 'UTC') + intHash32(i) % 86400 as at"
    " from (select number as i, {user} as user, {joined} as joined, {day} as day"
    " from numbers({start}, {rows}))"
)
_PARTS = {
    "users": "select {user_id}, user, user % 10000, at from (select number as user,"
    " toDateTime64('{first} 00:00:00', 6, 'UTC') + intHash32(number + 7) % {days} * 86400 as at"
    " from numbers({start}, {rows}))",
    "events": "select {user_id}, user, ['lessons', 'words', 'minutes'][intHash32(i + 5) % 3 + 1],"
    " hex(i), toDecimal64(intHash32(i + 9) % 20 + 1, 4), at, on_date, '', 1, at, at"
    " from ({source})",
    "streak_chains": "select {user_id}, ['daily', 'weekly'][i % 2 + 1], on_date - length, on_date,"
    " length, at, 1, i from (select *, 1 + toUInt32(-log((intHash64(i + 11) + 1)"
    " / 18446744073709551616.) * if(intHash32(i + 13) % 50 = 0, 40, 4)) as length from ({source}))",
    "point_entries": "select {user_id}, 'xp', ['lesson', 'words', 'streak'][i % 3 + 1], 1, hex(i),"
    " 10, 10, '', 0, at, at, 0, 1, i"
    " from ({source})",
    "achievements": "select {user_id}, concat('achievement-', toString(i % 20)), 1, at, false, at,"
    " 1, i from ({source})",
    "notices": "select {user_id}, ['freeze-used', 'streak-lost', 'milestone'][i % 3 + 1], hex(i),"
    ' at, \'{{"streak": "daily"}}\', false, 1, i from ({source})',
}
"""What makes the rows of each table, in the order of its columns."""


def run(quick: bool) -> Iterator[Figure]:
    """Yield the 95th percentile of each question, and sizes on disk."""
    share = QUICK if quick else 1
    with temporary_home() as home:
        warehouse = Warehouse(f"chdb://{home}/clickhouse")
        try:
            yield from _fill(warehouse, share)
            yield from _ask_all(warehouse, 3 if quick else ASKED)
            yield from _sizes(warehouse)
        finally:
            warehouse.close()


def _fill(warehouse: Warehouse, share: int) -> Iterator[Figure]:
    sizes = {
        "users": USERS,
        "events": EVENTS,
        "streak_chains": CHAINS,
        "point_entries": ENTRIES,
        "achievements": ACHIEVEMENTS,
        "notices": NOTICES,
    }
    began = time.perf_counter()
    for table, rows in sizes.items():
        rows //= share
        for start in range(0, rows, ROWS_PER_PART):
            part = min(ROWS_PER_PART, rows - start)
            warehouse.command(_insert(table, start, part, USERS // share), GENERATING)
    yield Figure(
        name="make a year in the warehouse",
        value=time.perf_counter() - began,
        unit="s",
        note=f"{EVENTS // share:,} events of {USERS // share:,} users, {CHAINS // share:,} chains",
    )


def _insert(table: str, start: int, rows: int, users: int) -> str:
    words = {"first": FIRST_DAY, "days": DAYS, "users": users, "start": start, "rows": rows}
    made = {
        "user": _USER.format(**words),
        "joined": _JOINED.format(**words),
        "day": _DAY.format(**words),
    }
    source = _SOURCE.format(**words, **made)
    return f"insert into {table} " + _PARTS[table].format(**words, source=source, user_id=_USER_ID)


def _ask_all(warehouse: Warehouse, times: int) -> Iterator[Figure]:
    period = Period(until=FIRST_DAY + timedelta(days=DAYS - 1), control_percent=Decimal(10))
    for question in questions(period):
        ask(warehouse, question, period)
        took = [_milliseconds(warehouse, question, period) for _ in range(times)]
        yield Figure(
            name=f"{question.title}, 95th percentile",
            value=statistics.quantiles(took, n=20)[-1],
            unit="ms",
            note=f"warm; half within {statistics.median(took):.0f} ms",
            goal=GOAL,
        )


def _milliseconds(warehouse: Warehouse, question: Question, period: Period) -> float:
    began = time.perf_counter()
    ask(warehouse, question, period)
    return (time.perf_counter() - began) * 1000


def _sizes(warehouse: Warehouse) -> Iterator[Figure]:
    found = warehouse.ask(
        "select table, sum(rows) as n, sum(bytes_on_disk) as bytes from system.parts"
        " where active and database = currentDatabase() group by table"
    )
    by_table = {row["table"]: row for row in found}
    for table in TABLES:
        row = by_table.get(table.name)
        if row is not None:
            yield Figure(
                name=f"table {table.name}",
                value=row["bytes"] / 1e6,
                unit="MB",
                note=f"{row['n']:,} rows, {row['bytes'] / row['n']:.1f} bytes each",
            )
