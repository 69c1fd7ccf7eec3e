"""How fast the questions of the report are answered over a large app's year, and sizes on disk."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from models.warehouse.engine import Warehouse
from models.warehouse.queries import Question, Scope, ask, questions
from models.warehouse.schema import TABLES
from tests.benchmarks.harness import Figure
from tests.benchmarks.year import CHAINS, DAYS, ENTRIES, FIRST_DAY, USERS, make_year
from tests.servers import temporary_home

QUICK = 100
"""With `--quick` everything is so many times less."""
ASKED = 30
GOAL = "100"


def run(quick: bool) -> Iterator[Figure]:
    """Yield the 95th percentile of each question, and sizes on disk."""
    share = QUICK if quick else 1
    with temporary_home() as home:
        warehouse = Warehouse(f"chdb://{home}/clickhouse")
        try:
            yield _make(warehouse, share)
            yield from _ask_all(warehouse, ASKED)
            yield from _sizes(warehouse)
        finally:
            warehouse.close()


def _make(warehouse: Warehouse, share: int) -> Figure:
    began = time.perf_counter()
    make_year(warehouse, share)
    seconds = time.perf_counter() - began
    [found] = warehouse.ask("select sum(events) as events from metric_days")
    return Figure(
        name="make a year in the warehouse",
        value=seconds,
        unit="s",
        note=f"{found['events']:,} events of {USERS // share:,} users, {CHAINS // share:,} chains,"
        f" {ENTRIES // share:,} entries of points",
    )


def _ask_all(warehouse: Warehouse, times: int) -> Iterator[Figure]:
    scope = Scope(until=FIRST_DAY + timedelta(days=DAYS - 1), control_percent=Decimal(10))
    for question in questions(scope):
        ask(warehouse, question, scope)
        took = [_milliseconds(warehouse, question, scope) for _ in range(times)]
        yield Figure(
            name=f"{question.title}, 95th percentile",
            value=statistics.quantiles(took, n=20)[-1],
            unit="ms",
            note=f"warm; half within {statistics.median(took):.0f} ms",
            goal=GOAL,
        )


def _milliseconds(warehouse: Warehouse, question: Question, scope: Scope) -> float:
    began = time.perf_counter()
    ask(warehouse, question, scope)
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
