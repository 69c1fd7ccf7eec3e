"""Loads: each row in the warehouse once, whatever is late, taken back, killed or sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, text

from jobs.compare_warehouse import WarehouseCompared, compare_warehouse
from jobs.load_warehouse import load_warehouse
from jobs.reload_warehouse import reload_warehouse
from models import tables
from models.statements import loads as statements
from models.statements.loads import SOURCES, CountedAnew
from models.warehouse import batches
from models.warehouse.engine import Warehouse, WarehouseUnavailable
from tests.applying import NOW, opened, put_events, put_program, read_table
from tests.clickhouse import ClickhouseServer, Cut

PROGRAM = """
[app]
name = "Loads"

[metrics.lessons]

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
milestones = [3]

[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10

[achievements.scholar]
on = "metric"
metric = "lessons"
at = 5

[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        yield engine


def event(user: str, day: int, key: str = "1", **more: Any) -> dict[str, Any]:
    at = f"2026-11-{day:02d}T10:00:00Z"
    return {"user_id": user, "metric": "lessons", "key": f"{day}-{key}", "occurred_at": at, **more}


def load(engine: Engine, warehouse: Warehouse) -> dict[str, int]:
    """Load what there is; return how many rows of each source that was."""
    found: dict[str, int] = {}
    for source, rows in load_warehouse(engine, warehouse, NOW):
        found[source] = found.get(source, 0) + rows
    return found


def must_agree(engine: Engine, warehouse: Warehouse) -> WarehouseCompared:
    """Compare everything; all is loaded, and all of it agrees."""
    found = compare_warehouse(engine, warehouse)
    assert (found.mismatches, found.unfinished) == (0, []), found.samples
    assert found.compared > 0
    with engine.connect() as connection:
        assert sum(statements.read_waiting(connection).rows.values()) == 0
    return found


def count(warehouse: Warehouse, table: str) -> int:
    return int(warehouse.ask(f"select count() as n from {table}")[0]["n"])


def test_what_is_written_is_loaded_once_s60(engine: Engine, warehouse: Warehouse) -> None:
    put_events(engine, [event("ann", day) for day in range(1, 8)])
    put_events(engine, [event("bob", 3, 'a "b",\nc', attributes={"x": "50%"})])
    loaded = load(engine, warehouse)
    assert loaded["events"] == 8
    assert loaded["users"] == 2
    assert loaded["achievements"] == 1
    assert load(engine, warehouse) == {}
    must_agree(engine, warehouse)
    [found] = warehouse.ask("select * from events where user_id = 'bob'")
    assert found["key"] == '3-a "b",\nc'
    assert found["attributes"] == '{"x": "50%"}'
    stored = {row["user_id"]: row["number"] for row in read_table(engine, tables.users)}
    assert found["number"] == stored["bob"]


def test_what_was_taken_back_comes_again_with_the_other_sign(
    engine: Engine, warehouse: Warehouse
) -> None:
    """A late event ends chains elsewhere and earns what follows anew (S14)."""
    put_events(engine, [event("ann", day) for day in (1, 2, 4, 5, 6)], now=NOW)
    put_events(engine, [event("ann", 20)], now=NOW)
    load(engine, warehouse)
    must_agree(engine, warehouse)
    put_events(engine, [event("ann", 3)], now=NOW)
    loaded = load(engine, warehouse)
    assert loaded["point_entries"] > 1, "entries after the late event were decided anew"
    must_agree(engine, warehouse)
    [sums] = warehouse.ask("select sum(sign) as n, sum(amount * sign) as xp from point_entries")
    assert (sums["n"], sums["xp"]) == (7, 70)
    assert read_table(engine, tables.removed_rows) == [], "forgotten once it is loaded"


def test_what_is_taken_back_before_it_is_sent_is_sent_all_the_same(
    engine: Engine, warehouse: Warehouse
) -> None:
    """A frozen load stays what it is: half of it may be there already."""
    put_events(engine, [event("ann", day) for day in (1, 2, 4, 5, 6)], now=NOW)
    with engine.begin() as connection:
        until = statements.read_horizon(connection)
        frozen = statements.freeze(connection, "point_entries", until, NOW)
    assert frozen is not None
    with engine.connect() as connection:
        before = b"".join(statements.copy_rows(connection, frozen))
    put_events(engine, [event("ann", 3)], now=NOW)
    with engine.connect() as connection:
        assert b"".join(statements.copy_rows(connection, frozen)) == before
    load(engine, warehouse)
    must_agree(engine, warehouse)


def test_a_transaction_that_still_runs_holds_back_later_ones_and_nothing_is_missed(
    engine: Engine, warehouse: Warehouse
) -> None:
    """Ids are no order of commits: who reads on from the last one misses what comes late."""
    early = {"kind": "level", "cause": "early", "at": NOW, "body": {}, "decided_at": NOW}
    with engine.connect() as slow:
        transaction = slow.begin()
        slow.execute(insert(tables.notices).values(user_id="ann", silent=True, **early))
        put_events(engine, [event("bob", 1)])
        assert load(engine, warehouse) == {}, "a later one that ended waits for it"
        transaction.commit()
    assert load(engine, warehouse)["notices"] == 1
    must_agree(engine, warehouse)


def test_what_an_earlier_number_took_back_of_a_later_one_is_loaded_whole(
    engine: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction has its number when it waits for a user whom one with a later number has."""
    put_events(engine, [event("bob", 1)], now=NOW)
    load(engine, warehouse)
    monkeypatch.setattr(statements, "ROWS_PER_LOAD", 1)
    told = {"kind": "level", "cause": "told", "at": NOW, "body": {}, "decided_at": NOW}
    with engine.begin() as earlier:
        earlier.execute(text("select pg_current_xact_id()"))
        with engine.begin() as later:
            later.execute(insert(tables.notices).values(user_id="ann", silent=True, **told))
        earlier.execute(delete(tables.notices))
    assert load(engine, warehouse)["notices"] == 2
    must_agree(engine, warehouse)
    assert read_table(engine, tables.removed_rows) == [], "forgotten once all of it is loaded"


def test_an_insert_that_is_sent_twice_counts_once_in_rollups_too(
    engine: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Warehouse.insert

    def twice(self: Warehouse, table: str, rows: Any, token: str) -> None:
        send(self, table, rows, token)
        send(self, table, rows, token)

    monkeypatch.setattr(Warehouse, "insert", twice)
    monkeypatch.setattr(batches, "ROWS_PER_INSERT_MAX", 3)
    put_events(engine, [event("ann", day) for day in range(1, 12)])
    load(engine, warehouse)
    must_agree(engine, warehouse)
    assert count(warehouse, "events") == 11


@pytest.mark.parametrize("dies_at", [0, 1, 2, 3])
def test_a_load_that_was_sent_in_part_is_sent_again_and_counts_once(
    dies_at: int, engine: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "ROWS_PER_INSERT_MAX", 3)
    put_events(engine, [event("ann", day) for day in range(1, 12)])
    send = Warehouse.insert
    sent: list[str] = []

    def die(self: Warehouse, table: str, rows: Any, token: str) -> None:
        if len(sent) == dies_at:
            raise KeyboardInterrupt
        sent.append(token)
        send(self, table, rows, token)

    with monkeypatch.context() as patched:
        patched.setattr(Warehouse, "insert", die)
        with pytest.raises(KeyboardInterrupt):
            load(engine, warehouse)
    put_events(engine, [event("bob", 9)])
    load(engine, warehouse)
    must_agree(engine, warehouse)


def test_two_loaders_at_once_load_everything_once(engine: Engine, warehouse: Warehouse) -> None:
    for day in range(1, 12):
        put_events(engine, [event(user, day) for user in ("ann", "bob", "cid")])
    start, failed = Barrier(2), []

    def run() -> None:
        start.wait()
        try:
            load(engine, warehouse)
        except Exception as error:
            failed.append(error)

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    load(engine, warehouse)
    must_agree(engine, warehouse)


def test_a_load_is_bounded_and_holds_whole_transactions(
    engine: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "ROWS_PER_LOAD", 4)
    for day in range(1, 7):
        put_events(engine, [event(user, day) for user in ("ann", "bob", "cid")])
    events = [rows for source, rows in load_warehouse(engine, warehouse, NOW) if source == "events"]
    assert events == [6, 6, 6]
    must_agree(engine, warehouse)


def test_what_differs_is_named_by_table_day_and_group_s61(
    engine: Engine, warehouse: Warehouse
) -> None:
    put_events(engine, [event("ann", 1), event("ann", 2)])
    load(engine, warehouse)
    with engine.begin() as connection:
        connection.execute(text("update events set value = 2 where key = '2-1'"))
    found = compare_warehouse(engine, warehouse)
    assert found.mismatches == 2
    assert found.samples[0] == {
        "table": "events",
        "day": "2026-11-02",
        "group": "lessons",
        "postgres": "1 rows, 2 in all",
        "warehouse": "1 rows, 1 in all",
    }
    assert found.samples[1]["table"] == "metric_days"


def test_a_record_that_is_written_anew_replaces_the_old_one(
    engine: Engine, warehouse: Warehouse
) -> None:
    with engine.begin() as connection:
        run_id = connection.execute(
            insert(tables.runs)
            .values(
                leaderboard="weekly",
                since=1,
                run="2026-W45",
                opens_at=NOW,
                closes_at=NOW,
                final_at=NOW,
            )
            .returning(tables.runs.c.run_id)
        ).scalar_one()
    row = {"run_id": run_id, "segment": "all", "score": 5, "reached_at": NOW}
    with engine.begin() as connection:
        connection.execute(insert(tables.final_standings).values(rank=1, user_id="ann", **row))
    load(engine, warehouse)
    with engine.begin() as connection:
        connection.execute(tables.final_standings.delete())
        connection.execute(insert(tables.final_standings).values(rank=1, user_id="bob", **row))
        connection.execute(insert(tables.final_standings).values(rank=2, user_id="ann", **row))
    load(engine, warehouse)
    must_agree(engine, warehouse)
    query = "select rank, user_id, run from final_standings final order by rank"
    assert [tuple(found.values()) for found in warehouse.ask(query)] == [
        (1, "bob", "2026-W45"),
        (2, "ann", "2026-W45"),
    ]


def test_what_waits_is_counted_and_one_who_restored_a_dump_is_told(
    engine: Engine, warehouse: Warehouse
) -> None:
    put_events(engine, [event("ann", day) for day in (1, 2, 3)])
    with engine.connect() as connection:
        waiting = statements.read_waiting(connection)
        assert waiting.rows["events"] == 3
        assert waiting.events_since is not None
    load(engine, warehouse)
    with engine.begin() as connection:
        connection.execute(tables.loads.update().values(to_txid=2**40))
        until = statements.read_horizon(connection)
        with pytest.raises(CountedAnew, match="pg_resetwal"):
            statements.freeze(connection, "events", until, NOW)


def test_loads_of_a_week_ago_are_forgotten(engine: Engine, warehouse: Warehouse) -> None:
    put_events(engine, [event("ann", 1)])
    load(engine, warehouse)
    put_events(engine, [event("ann", 2)])
    list(load_warehouse(engine, warehouse, NOW + timedelta(days=8)))
    found = [row for row in read_table(engine, tables.loads) if row["source"] == "events"]
    assert len(found) == 1
    must_agree(engine, warehouse)


@pytest.mark.parametrize("cut", list(Cut))
def test_a_connection_that_is_cut_is_a_load_that_is_tried_again(
    cut: Cut, engine: Engine, clickhouse_server: ClickhouseServer
) -> None:
    put_events(engine, [event("ann", day) for day in range(1, 5)])
    warehouse = Warehouse(clickhouse_server.url)
    warehouse.open()
    clickhouse_server.cut = cut
    with pytest.raises(WarehouseUnavailable):
        load(engine, warehouse)
    with engine.connect() as connection:
        waiting = statements.read_waiting(connection)
    assert waiting.error is not None
    assert waiting.failing_since == NOW
    load(engine, warehouse)
    must_agree(engine, warehouse)
    with engine.connect() as connection:
        assert statements.read_waiting(connection).error is None
    warehouse.close()


def test_a_server_that_is_down_is_caught_up_with(
    engine: Engine, clickhouse_server: ClickhouseServer
) -> None:
    warehouse = Warehouse(clickhouse_server.url)
    clickhouse_server.stop()
    for day in range(1, 5):
        put_events(engine, [event("ann", day)])
        with pytest.raises(WarehouseUnavailable, match="ClickHouse"):
            load(engine, warehouse)
    with engine.connect() as connection:
        assert statements.read_waiting(connection).rows["events"] == 4
    clickhouse_server.start()
    assert load(engine, warehouse)["events"] == 4
    must_agree(engine, warehouse)
    warehouse.close()


def test_what_was_lost_is_loaded_anew(engine: Engine, warehouse: Warehouse) -> None:
    put_events(engine, [event("ann", day) for day in (1, 2, 4, 5, 6)])
    load(engine, warehouse)
    put_events(engine, [event("ann", 3)])
    warehouse.command("truncate table events")
    warehouse.command("truncate table point_days")
    assert compare_warehouse(engine, warehouse).mismatches > 0
    reload_warehouse(engine, warehouse)
    assert count(warehouse, "point_entries") == 0
    assert load(engine, warehouse)["events"] == 6
    must_agree(engine, warehouse)


def test_all_sources_are_compared() -> None:
    from models.warehouse.parity import COMPARED
    from models.warehouse.schema import BY_NAME

    assert set(SOURCES) == set(COMPARED) <= set(BY_NAME)
