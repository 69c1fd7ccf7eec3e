"""ClickHouse's tables as statements: on one server, and on a cluster that nobody has at hand."""

from __future__ import annotations

from datetime import date

import pytest

from models.warehouse.schema import (
    BY_NAME,
    FRESH,
    TABLES,
    WarehouseTable,
    ddl,
    delete,
    truncate,
    versions_ddl,
)

each_table = pytest.mark.parametrize("table", TABLES + FRESH, ids=lambda table: table.name)


def test_a_table_drops_what_is_sent_twice() -> None:
    [statement] = ddl(BY_NAME["users"])
    assert statement == (
        "create table if not exists users (user_id String codec(ZSTD(1)),"
        " number UInt32 codec(Delta, ZSTD(1)), bucket UInt16,"
        " first_seen_at DateTime64(6, 'UTC') codec(T64, ZSTD(1)))"
        " engine = MergeTree() order by number"
        " settings non_replicated_deduplication_window = 10000"
    )


def test_a_rollup_is_filled_by_a_view() -> None:
    table, view = ddl(BY_NAME["metric_days"])
    assert "engine = AggregatingMergeTree()" in table
    assert view == (
        "create materialized view if not exists metric_days_view to metric_days as select"
        " local_date, metric, count() as events, sum(value) as value"
        " from events group by local_date, metric"
    )


def test_on_a_cluster_tables_are_replicated_and_distributed_above() -> None:
    local, distributed = ddl(BY_NAME["point_entries"], "main")
    assert local.startswith("create table if not exists point_entries_local on cluster main (")
    assert (
        "engine = ReplicatedVersionedCollapsingMergeTree("
        "'/clickhouse/tables/{shard}/{database}/point_entries', '{replica}', sign, version)"
    ) in local
    assert local.endswith("settings replicated_deduplication_window = 10000")
    assert distributed == (
        "create table if not exists point_entries on cluster main as point_entries_local"
        " engine = Distributed(main, currentDatabase(), point_entries_local, cityHash64(user_id))"
    )


def test_on_a_cluster_a_rollup_sums_the_rows_of_its_shard() -> None:
    _, _, view = ddl(BY_NAME["chain_lengths"], "main")
    assert view.startswith(
        "create materialized view if not exists chain_lengths_view on cluster main"
        " to chain_lengths_local as select"
    )
    assert " from streak_chains_local group by " in view


@each_table
@pytest.mark.parametrize("cluster", [None, "main"])
def test_every_statement_can_be_run_again(table: WarehouseTable, cluster: str | None) -> None:
    """A migration that was broken off is begun anew."""
    for statement in [versions_ddl(cluster), *ddl(table, cluster)]:
        assert " if not exists " in statement
        assert (" on cluster main" in statement) == (cluster is not None)
        assert "{source}" not in statement


@each_table
def test_codecs_are_of_columns_that_there_are(table: WarehouseTable) -> None:
    assert set(table.codecs) <= set(table.columns)


def test_a_table_is_emptied_where_its_rows_are() -> None:
    assert truncate(BY_NAME["events"]) == "truncate table events"
    assert truncate(BY_NAME["events"], "main") == "truncate table events_local on cluster main"


def test_a_day_is_taken_away_where_its_rows_are() -> None:
    day = date(2026, 11, 2)
    assert delete(BY_NAME["events"], day) == "delete from events where local_date = '2026-11-02'"
    assert delete(BY_NAME["emails"], day, "main") == (
        "delete from emails_local on cluster main where toDate32(settled_at) = '2026-11-02'"
    )
