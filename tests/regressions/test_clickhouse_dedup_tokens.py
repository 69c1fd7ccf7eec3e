"""A batch is sent to ClickHouse once more, with the token that it had the first time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped] # has no types

from models.statements.loads import ROWS_PER_LOAD
from models.warehouse import engine
from models.warehouse.batches import ROWS_PER_INSERT_MAX
from models.warehouse.engine import Warehouse
from models.warehouse.schema import DEDUPLICATION_WINDOW, TABLES, ddl

WINDOW = "settings non_replicated_deduplication_window"
PARTITIONS = 10
YEARS = 100
"""Partitions that one insert may touch, far more than an app has."""


def make(warehouse: Warehouse, more: str = "") -> None:
    """Make a table of numbers."""
    warehouse.command(f"create table t (n UInt64) engine = MergeTree {more} order by n")


def make_with_sum(warehouse: Warehouse) -> None:
    """Make a table with a window, and a rollup of it that has one, too."""
    warehouse.command(f"create table t (n UInt64) engine = MergeTree order by n {WINDOW} = 100")
    warehouse.command(
        "create table sums (g UInt8, s SimpleAggregateFunction(sum, UInt64))"
        f" engine = AggregatingMergeTree order by g {WINDOW} = 100"
    )
    warehouse.command(
        "create materialized view sums_view to sums as select 0 as g, sum(n) as s from t group by g"
    )


def numbers(*found: int) -> pa.Table:
    """Return rows of the table."""
    return pa.table({"n": pa.array(found, pa.uint64())})


def send(
    warehouse: Warehouse, rows: pa.Table, token: str, settings: Mapping[str, Any] | None = None
) -> None:
    """Insert as our loads do, or with settings that are the engine's own but for the token."""
    if settings is None:
        warehouse.insert("t", rows, token)
    else:
        told = {**settings, "insert_deduplication_token": token}
        warehouse._open().insert_arrow("t", rows, settings=told)


def count(warehouse: Warehouse) -> int:
    return int(warehouse.ask("select count() as n from t")[0]["n"])


def total(warehouse: Warehouse) -> int:
    return int(warehouse.ask("select sum(s) as n from sums")[0]["n"])


def test_a_plain_table_does_not_look_at_tokens(warehouse: Warehouse) -> None:
    make(warehouse)
    for _ in range(2):
        send(warehouse, numbers(1), "a", {"async_insert": 0})
    assert count(warehouse) == 2, "tokens count without a window by now"


def test_here_every_table_has_a_window() -> None:
    for table in TABLES:
        made, *_ = ddl(table)
        assert f"{WINDOW} = {DEDUPLICATION_WINDOW}" in made


def test_rows_that_are_others_under_a_known_token_are_dropped_without_a_word(
    warehouse: Warehouse,
) -> None:
    """So a batch is frozen before it is first sent: tests/integration/test_load_warehouse.py."""
    make_with_sum(warehouse)
    send(warehouse, numbers(1), "a")
    send(warehouse, numbers(2, 3), "a")
    assert count(warehouse) == 1, "ClickHouse looks at the rows by now"


def test_a_view_counts_twice_what_its_table_dropped(warehouse: Warehouse) -> None:
    make_with_sum(warehouse)
    views = "deduplicate_blocks_in_dependent_materialized_views"
    for _ in range(2):
        send(warehouse, numbers(5, 7), "a", {"async_insert": 0, views: 0})
    assert (count(warehouse), total(warehouse)) == (2, 24), (
        "views drop what their tables dropped: INSERT_SETTINGS need not say so"
    )


def test_here_it_counts_once(warehouse: Warehouse) -> None:
    make_with_sum(warehouse)
    for _ in range(2):
        send(warehouse, numbers(5, 7), "a")
    assert (count(warehouse), total(warehouse)) == (2, 12)


def test_two_batches_that_come_to_the_same_sum_both_count(warehouse: Warehouse) -> None:
    make_with_sum(warehouse)
    send(warehouse, numbers(5), "a")
    send(warehouse, numbers(5), "b")
    assert total(warehouse) == 10


def test_inserts_are_put_together_by_default_which_takes_their_tokens(
    warehouse: Warehouse,
) -> None:
    [found] = warehouse.ask("select value from system.settings where name = 'async_insert'")
    assert found["value"] == "1", "inserts stay apart by default: INSERT_SETTINGS need not say so"
    assert engine.INSERT_SETTINGS["async_insert"] == 0


def test_a_window_counts_parts_and_not_inserts(warehouse: Warehouse) -> None:
    make(warehouse, f"partition by n % {PARTITIONS}")
    warehouse.command(
        f"alter table t modify setting non_replicated_deduplication_window = {PARTITIONS}"
    )
    first, second = range(PARTITIONS), range(PARTITIONS, 2 * PARTITIONS)
    for rows, token in ((first, "a"), (second, "b"), (first, "a")):
        send(warehouse, numbers(*rows), token)
    assert count(warehouse) == 3 * PARTITIONS, "a window counts inserts by now"


def test_here_a_window_holds_a_whole_load_though_each_insert_touches_many_years() -> None:
    """A load is sent in inserts of 100,000 rows, again and again until all of it is there."""
    inserts = -(-ROWS_PER_LOAD // ROWS_PER_INSERT_MAX)
    assert 100 * inserts * YEARS <= DEDUPLICATION_WINDOW
