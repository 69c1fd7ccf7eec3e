"""Days of the warehouse made anew: what differs is named, put right, and all else stays (S70)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from jobs.backfills import Context, NotPossible, run_chunk
from jobs.compare_warehouse import compare_warehouse
from jobs.load_warehouse import load_warehouse
from models.statements import loads as load_statements
from models.statements.backfills import State
from models.statements.loads import RELOAD_WAREHOUSE, SOURCES
from models.warehouse.engine import Warehouse, WarehouseUnavailable
from models.warehouse.schema import TABLES
from tests.applying import NOW, opened, put_events, put_program
from tests.backfilling import chunks, counts, opened_context, read, run, start
from tests.clickhouse import ClickhouseServer, Cut
from worker.outages import is_outage

PROGRAM = """
[app]
name = "Reloads"

[metrics.lessons]

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }

[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10

[achievements.scholar]
on = "metric"
metric = "lessons"
at = 2
"""
DAY = {"from": "2026-11-02", "to": "2026-11-02"}
DAYS = {"from": "2026-11-01", "to": "2026-11-02"}
DAMAGE = (
    # rows deleted, of which rollups still know
    "delete from events where user_id = 'ann' and local_date = '2026-11-02'",
    # doubled, and doubled in the rollups as well
    "insert into point_entries select * from point_entries"
    " where toDate32(occurred_at) = '2026-11-02' and user_id = 'bob'",
    # of another content, under the same version
    "alter table achievements update backdated = true where user_id = 'ann'",
    # a rollup alone
    "delete from notice_days where day = '2026-11-02'",
    # users whom nobody knows, in sets of them
    "insert into active_users select '2026-11-02', groupBitmapState(toUInt32(4000))",
    "insert into active_months select '2026-11-01', groupBitmapState(toUInt32(4000))",
)
CHANGES = {
    "events 2026-11-02": {"added": 1},
    "point_entries 2026-11-02": {"removed": 1},
    "point_days 2026-11-02": {"changed": 1},
    "achievements 2026-11-02": {"changed": 1},
    "notice_days 2026-11-02": {"added": 1},
    "active_users 2026-11-02": {"changed": 1},
    "active_months 2026-11-01": {"changed": 1},
}
LOADED_ALIKE = ("events 2026-11-02", "point_entries 2026-11-02", "achievements 2026-11-02")
"""What no load changes the difference of: rows, but for those that it brings into rollups."""
PARTS = 2 * len(SOURCES) + 1
"""Two days of each table, and a month of those who were active."""
MUTATING = {"mutations_sync": 1, "insert_deduplicate": 0, "deduplicate_insert_select": "disable"}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        yield engine


@pytest.fixture
def context(
    engine: Engine, warehouse: Warehouse, valkey_url: str, namespace: str
) -> Iterator[Context]:
    """Three days of three users, loaded; the warehouse is asked here."""
    put_events(engine, [event(user, day) for user in ("ann", "bob", "cid") for day in (1, 2, 3)])
    load(engine, warehouse)
    with opened_context(engine, valkey_url, namespace, warehouse) as context:
        yield context


def event(user: str, day: int, key: str = "1") -> dict[str, Any]:
    at = f"2026-11-{day:02d}T10:00:00Z"
    return {"user_id": user, "metric": "lessons", "key": f"{day}-{key}", "occurred_at": at}


def load(engine: Engine, warehouse: Warehouse) -> None:
    list(load_warehouse(engine, warehouse, NOW))


def damage(warehouse: Warehouse, statements: tuple[str, ...] = DAMAGE) -> None:
    """Change the warehouse by hand."""
    for statement in statements:
        warehouse.command(statement, MUTATING)


def must_agree(engine: Engine, warehouse: Warehouse) -> None:
    found = compare_warehouse(engine, warehouse)
    assert (found.mismatches, found.unfinished) == (0, []), found.samples
    assert found.compared > 0


def dump(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that the warehouse tells, row by row, collapsed and added up."""
    found = {}
    for table in TABLES:
        final = "" if table.engine == "MergeTree" else "final"
        columns = ", ".join(
            f"bitmapToArray({name}) as list" if "groupBitmap" in type_ else name
            for name, type_ in table.columns.items()
        )
        rows = warehouse.ask(f"select {columns} from {table.name} {final} order by all")
        found[table.name] = [tuple(row.values()) for row in rows]
    return found


def test_what_differs_is_told_exactly_and_put_right_and_all_else_stays_s70_s72(
    context: Context, warehouse: Warehouse
) -> None:
    before = dump(warehouse)
    damage(warehouse)
    damaged = dump(warehouse)
    told = run(context, RELOAD_WAREHOUSE, DAYS, dry_run=True)
    assert counts(told.changes) == CHANGES
    assert told.changes["events 2026-11-02"]["samples"] == [
        {"added": {"user_id": "ann", "metric": "lessons", "key": "2-1"}}
    ]
    assert dump(warehouse) == damaged != before

    done = run(context, RELOAD_WAREHOUSE, DAYS)
    assert done.changes == told.changes
    assert (done.done, done.total) == (PARTS, PARTS)
    must_agree(context.engine, warehouse)
    assert dump(warehouse) == before

    # Again is nothing
    assert run(context, RELOAD_WAREHOUSE, DAYS).changes == {}
    # And the same damage again is put right again: no insert is taken for the one before
    damage(warehouse)
    assert run(context, RELOAD_WAREHOUSE, DAYS).changes == told.changes
    assert dump(warehouse) == before


def test_days_and_tables_that_are_not_named_stay_as_they_are(
    context: Context, warehouse: Warehouse
) -> None:
    day_1 = DAMAGE[0].replace("11-02", "11-01")
    damage(warehouse, (DAMAGE[0], day_1, DAMAGE[1]))
    done = run(context, RELOAD_WAREHOUSE, {**DAY, "tables": ["events"]})
    assert counts(done.changes) == {"events 2026-11-02": {"added": 1}}
    rows = warehouse.ask("select local_date, user_id from events order by all")
    assert [str(row["local_date"]) for row in rows if row["user_id"] == "ann"] == [
        "2026-11-02",
        "2026-11-03",
    ]
    found = compare_warehouse(context.engine, warehouse)
    assert {(one["table"], one["day"]) for one in found.samples} == {
        ("events", "2026-11-01"),
        ("point_entries", "2026-11-02"),
        ("point_days", "2026-11-02"),
    }


def test_loads_go_on_between_its_chunks_and_nothing_is_missed_or_doubled(
    context: Context, warehouse: Warehouse
) -> None:
    damage(warehouse)
    number = start(context, RELOAD_WAREHOUSE, DAYS)
    for done, _ in enumerate(chunks(context, number)):
        # of the days that are reloaded; some takes back what an earlier one decided
        put_events(context.engine, [event(f"late-{done % 3}", 1 + done % 3, f"late-{done}")])
        if done % 3 == 1:
            load(context.engine, warehouse)
    assert read(context, number).state is State.DONE
    changes = counts(read(context, number).changes)
    assert {name: changes[name] for name in LOADED_ALIKE} == {
        name: CHANGES[name] for name in LOADED_ALIKE
    }
    load(context.engine, warehouse)
    must_agree(context.engine, warehouse)
    assert run(context, RELOAD_WAREHOUSE, DAYS, dry_run=True).changes == {}


@pytest.mark.parametrize("dies_at", ["delete", "insert", "commit"])
def test_killed_anywhere_it_goes_on_and_has_counted_everything_s71(
    dies_at: str, context: Context, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(warehouse)
    damage(warehouse)
    number = start(context, RELOAD_WAREHOUSE, {**DAY, "tables": ["events", "point_entries"]})
    deaths: list[str] = []

    def dying(call: Callable[..., Any], changes: str) -> Callable[..., Any]:
        """Let the first call that changes something do its work and not come back."""

        def once(*given: Any, **named: Any) -> Any:
            found = call(*given, **named)
            if changes in f"{given} {named}" and not deaths:
                deaths.append(dies_at)
                raise KeyboardInterrupt
            return found

        return once

    if dies_at == "commit":
        asked = dying(context.ask_warehouse, "'renews': True")
        context = replace(context, ask_warehouse=asked)
    elif dies_at == "delete":
        monkeypatch.setattr(Warehouse, "delete", dying(Warehouse.delete, ""))
    else:
        monkeypatch.setattr(Warehouse, "command", dying(Warehouse.command, "insert into"))
    with pytest.raises(KeyboardInterrupt):
        list(chunks(context, number))
    *_, last = chunks(context, number)
    assert (last.state, deaths) == (State.DONE, [dies_at])
    expected = {"events", "point_entries", "point_days", "active_users", "active_months"}
    assert counts(last.changes) == {
        name: CHANGES[name] for name in CHANGES if name.split()[0] in expected
    }
    touched = expected | {"user_days", "metric_days"}
    assert {name: dump(warehouse)[name] for name in touched} == {
        name: before[name] for name in touched
    }


def test_an_outage_is_waited_for_and_a_server_is_as_good_as_the_embedded_engine(
    engine: Engine, clickhouse_server: ClickhouseServer, valkey_url: str, namespace: str
) -> None:
    warehouse = Warehouse(clickhouse_server.url)
    put_events(engine, [event("ann", day) for day in (1, 2, 3)])
    load(engine, warehouse)
    warehouse.command(DAMAGE[0])
    with opened_context(engine, valkey_url, namespace, warehouse) as context:
        number = start(context, RELOAD_WAREHOUSE, {**DAYS, "tables": ["events"]})
        clickhouse_server.cut = Cut.AFTER
        with pytest.raises(WarehouseUnavailable):
            run_chunk(context, number, 0, lambda: NOW, is_outage)
        assert (read(context, number).state, read(context, number).attempts) == (State.PLANNED, 0)
        *_, last = chunks(context, number)
        assert (last.state, counts(last.changes)) == (
            State.DONE,
            {"events 2026-11-02": {"added": 1}},
        )
        must_agree(engine, warehouse)

        # What ClickHouse refuses to do is a failure, with its words
        warehouse.command("drop table events_fresh")
        *_, refused = chunks(
            context, start(context, RELOAD_WAREHOUSE, {**DAYS, "tables": ["events"]})
        )
        assert refused.state is State.FAILED
        assert refused.error is not None
        assert "UNKNOWN_TABLE" in refused.error
    warehouse.close()


def test_a_load_that_was_sent_in_part_is_waited_for(context: Context, warehouse: Warehouse) -> None:
    put_events(context.engine, [event("ann", 2, "more")])
    with context.engine.begin() as connection:
        until = load_statements.read_horizon(connection)
        assert load_statements.freeze(connection, "events", until, NOW)
    number = start(context, RELOAD_WAREHOUSE, {**DAY, "tables": ["events"]})
    with pytest.raises(WarehouseUnavailable, match="begun and not finished"):
        run_chunk(context, number, 0, lambda: NOW, is_outage)
    load(context.engine, warehouse)
    *_, last = chunks(context, number)
    assert (last.state, last.changes) == (State.DONE, {})


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"from": "2026-11-02"}, "to is missing"),
        ({"from": "2026-11-02", "to": "soon"}, "to must be a day, such as 2026-11-23, is 'soon'"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "2026-11-02 is after 2026-11-01"),
        ({"from": "2024-11-02", "to": "2026-11-01"}, "streakline warehouse reload"),
        ({**DAY, "tables": ["event"]}, "did you mean 'events'"),
        ({**DAY, "tables": ["user_days"]}, "rollups are reloaded with them"),
        ({**DAY, "table": ["events"]}, "no parameter 'table'"),
    ],
)
def test_what_cannot_be_reloaded_is_refused(
    parameters: dict[str, Any], problem: str, engine: Engine, valkey_url: str, namespace: str
) -> None:
    with (
        opened_context(engine, valkey_url, namespace) as context,
        pytest.raises(NotPossible, match=problem),
    ):
        start(context, RELOAD_WAREHOUSE, parameters)
