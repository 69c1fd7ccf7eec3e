"""Events that leave Postgres for the warehouse: what they came to stays, and so do their keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, func, update

from jobs import backfills
from jobs.change_users import NotPossible, Order, adjust_points, pause_streaks
from jobs.close_ledgers import BeingReloaded, KeptTooShort, close_ledgers
from jobs.compare_warehouse import compare_warehouse
from jobs.explain import explain
from jobs.load_warehouse import load_warehouse
from jobs.recompute_users import recompute_stale
from jobs.reload_warehouse import reload_warehouse
from jobs.show_user import show_user
from models import tables
from models.folding import LedgerClosed
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.statements.events import Outcome
from models.statements.loads import RELOAD_WAREHOUSE
from models.warehouse.engine import Warehouse
from tests.applying import must_verify, opened, put_events, put_program, put_users, read_table
from tests.backfilling import OPS, opened_context, run, start

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 9, tzinfo=UTC)
KEPT = timedelta(days=60)
CLOSED_DAYS = 92
"""From 1 January to 2 April, 60 days before."""
PROGRAM = """
[app]
name = "Closing"

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
at = 5

[leaderboards.lessons]
rank_by = { metric = "lessons" }
period = "all"
"""
LATER = """
[achievements.professor]
on = "metric"
metric = "lessons"
at = 150
[achievements.student]
on = "metric"
metric = "lessons"
at = 20
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, BEGINNING)
        yield engine


@pytest.fixture
def rankings(valkey_url: str, namespace: str) -> Iterator[Rankings]:
    with Redis.from_url(valkey_url) as redis:
        yield Rankings(redis, namespace)


def event(day: date, **more: Any) -> dict[str, Any]:
    """Return the event of ann's of a day; its key is the day."""
    return {
        "user_id": "ann",
        "metric": "lessons",
        "key": f"{day}",
        "occurred_at": f"{day}T08:00:00Z",
        **more,
    }


def put_days(engine: Engine, first: date, last: date) -> None:
    """Let ann do one lesson a day."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    put_events(engine, [event(day) for day in days], now=NOW)


def close(
    engine: Engine, warehouse: Warehouse, now: datetime = NOW, together: timedelta = timedelta()
) -> int:
    """Load everything, compare it, and close what is older than is kept; return the events."""
    list(load_warehouse(engine, warehouse, now))
    found = compare_warehouse(engine, warehouse)
    assert (found.mismatches, found.unfinished) == (0, []), found.samples
    parts = close_ledgers(
        engine,
        Rulebooks(),
        now,
        kept=KEPT,
        loaded=found.loaded["events"],
        together=together,
    )
    return sum(events for _, events in parts)


@pytest.fixture
def closed(engine: Engine, warehouse: Warehouse) -> Engine:
    """A database in which ann did a lesson each day of 2026, and those to 2 April have left."""
    put_days(engine, BEGINNING.date(), NOW.date())
    assert close(engine, warehouse) == CLOSED_DAYS
    return engine


def shown(engine: Engine, rankings: Rankings, **as_of: datetime) -> Any:
    return show_user(engine, rankings, "ann", NOW, **as_of)


def test_what_events_came_to_stays_and_goes_on(closed: Engine, rankings: Rankings) -> None:
    days = (NOW.date() - BEGINNING.date()).days + 1
    assert len(read_table(closed, tables.events)) == days - CLOSED_DAYS
    assert len(read_table(closed, tables.point_entries)) == days
    verified = must_verify(closed)
    assert (verified.users_checked, verified.users_closed) == (1, 1)
    tomorrow = NOW + timedelta(days=1)
    put_events(closed, [event(tomorrow.date())], now=tomorrow)
    found = shown(closed, rankings)
    assert found["metrics"]["lessons"]["total"] == days + 1
    assert found["points"]["xp"]["total"] == 10 * (days + 1)
    assert found["streaks"]["daily"]["longest"] == days + 1
    assert found["streaks"]["daily"]["started_on"] == BEGINNING.date()
    assert [one["key"] for one in found["achievements"]] == ["scholar"]
    must_verify(closed)


def test_a_duplicate_of_what_has_left_is_one_and_nothing_older_is_taken_s11_s13(
    closed: Engine,
) -> None:
    march, april = date(2026, 3, 3), date(2026, 4, 20)
    same = event(march)
    del same["occurred_at"]
    repeated = [event(march), event(march, value=5), same, event(april)]
    assert put_events(closed, repeated, now=NOW).outcomes[Outcome.DUPLICATE] == 4
    refused = put_events(closed, [event(march, key="new")], now=NOW)
    assert refused.outcomes[Outcome.REJECTED] == 1
    [row] = read_table(closed, tables.rejected_events)
    assert row["reason"] == "too-old"
    assert "up to which events of this user have left for the warehouse" in row["detail"]
    must_verify(closed)


def test_late_events_after_it_and_other_users_are_as_ever_s14(closed: Engine) -> None:
    late = put_events(closed, [event(date(2026, 4, 20), key="late")], now=NOW)
    other = put_events(closed, [event(date(2026, 1, 5), user_id="bob")], now=NOW)
    assert [one.outcomes[Outcome.APPLIED] for one in (late, other)] == [1, 1]
    entries = [row for row in read_table(closed, tables.point_entries) if row["user_id"] == "ann"]
    assert len({(row["decided_at"], row["number"]) for row in entries}) == len(entries)
    assert sum(row["amount"] for row in entries) == 10 * ((NOW.date() - BEGINNING.date()).days + 2)
    must_verify(closed)


def test_operators_change_what_is_open_only_s27(closed: Engine, rankings: Rankings) -> None:
    order = Order(actor="eve", reason="an outage", given_at=NOW)
    with pytest.raises(NotPossible, match="closed up to 2026-04-05T09:00:00Z"):
        pause_streaks(
            closed, Rulebooks(), ["ann"], date(2026, 3, 1), date(2026, 3, 2), order, "daily"
        )
    pause_streaks(closed, Rulebooks(), ["ann"], date(2026, 5, 1), date(2026, 5, 2), order, "daily")
    adjust_points(closed, Rulebooks(), ["ann"], "xp", Decimal(-100), order)
    must_verify(closed)
    assert shown(closed, rankings, as_of=NOW - timedelta(days=30))["metrics"]
    with pytest.raises(LedgerClosed, match="name a later instant"):
        shown(closed, rankings, as_of=datetime(2026, 2, 1, tzinfo=UTC))


def test_what_is_told_of_before_holds_from_its_beginning_s7(closed: Engine) -> None:
    put_users(
        closed, [{"user_id": "ann", "tz": "Asia/Tokyo"}], now=datetime(2026, 2, 1, tzinfo=UTC)
    )
    [fact] = read_table(closed, tables.user_facts)
    assert fact["at"] == datetime(2026, 4, 5, 9, 0, 0, 1, tzinfo=UTC)
    must_verify(closed)


def test_steps_begin_with_what_the_events_came_to(closed: Engine) -> None:
    found = explain(closed, "ann", "points.xp", NOW)
    assert found is not None
    assert found["since"] == datetime(2026, 4, 2, 8, tzinfo=UTC)
    assert found["steps"][0]["balance"] == 10 * (CLOSED_DAYS + 1)
    assert found["steps"][-1]["balance"] == found["value"]
    scholar = explain(closed, "ann", "achievement.scholar", NOW)
    assert scholar is not None
    assert scholar["completed_at"] == datetime(2026, 1, 5, 8, tzinfo=UTC)


def test_new_definitions_reach_back_to_the_opening_s36(closed: Engine, rankings: Rankings) -> None:
    put_program(closed, PROGRAM + LATER, NOW)
    assert recompute_stale(closed, Rulebooks(), NOW) == 1
    found = {one["key"]: one for one in shown(closed, rankings)["achievements"]}
    assert set(found) == {"scholar", "student", "professor"}
    assert found["professor"]["completed_at"] == datetime(2026, 5, 30, 8, tzinfo=UTC)
    assert found["student"]["completed_at"] == datetime(2026, 4, 2, 8, 0, 0, 1, tzinfo=UTC)
    assert found["student"]["backdated"]
    must_verify(closed)


def test_it_is_closed_again_later_and_not_for_a_day_or_two(
    closed: Engine, warehouse: Warehouse
) -> None:
    later = NOW + timedelta(days=10)
    assert close(closed, warehouse, later, together=timedelta(days=30)) == 0
    assert close(closed, warehouse, later) == 10
    assert must_verify(closed).users_closed == 1
    agreed = compare_warehouse(closed, warehouse)
    assert (agreed.mismatches, agreed.compared > 0) == (0, True)


def test_events_that_left_are_compared_and_survive_a_reload_s61(
    closed: Engine, warehouse: Warehouse
) -> None:
    assert reload_warehouse(closed, warehouse) == CLOSED_DAYS
    list(load_warehouse(closed, warehouse, NOW))
    found = compare_warehouse(closed, warehouse)
    assert (found.mismatches, found.unfinished) == (0, []), found.samples
    warehouse.command(
        "alter table events delete where key = '2026-02-01' settings mutations_sync=1"
    )
    found = compare_warehouse(closed, warehouse)
    assert [(one["table"], one["day"]) for one in found.samples] == [("events", "2026-02-01")]


def test_days_of_which_events_have_left_are_not_reloaded_s70(
    closed: Engine, warehouse: Warehouse, valkey_url: str, namespace: str
) -> None:
    with opened_context(closed, valkey_url, namespace, warehouse) as context:
        days = {"from": "2026-04-01", "to": "2026-04-05"}
        with pytest.raises(backfills.NotPossible, match="events of 2026-04-02 and maybe before"):
            start(context, RELOAD_WAREHOUSE, days)
        others = {**days, "tables": ["point_entries"]}
        assert run(context, RELOAD_WAREHOUSE, others).changes == {}
        after = {"from": "2026-04-03", "to": "2026-04-05", "tables": ["events"]}
        warehouse.command("delete from events where local_date <= '2026-04-03'")
        warehouse.command("delete from active_months where month <= '2026-04-01'")
        changes = run(context, RELOAD_WAREHOUSE, after).changes
        assert set(changes) == {"events 2026-04-03", "active_months 2026-04-01"}


def test_no_event_leaves_while_the_warehouse_is_reloaded(
    engine: Engine, warehouse: Warehouse, valkey_url: str, namespace: str
) -> None:
    """A day that is made anew is empty for a moment, and then Postgres must have it."""
    put_days(engine, BEGINNING.date(), NOW.date())
    list(load_warehouse(engine, warehouse, NOW))
    loaded = compare_warehouse(engine, warehouse, ["events"]).loaded["events"]
    with opened_context(engine, valkey_url, namespace, warehouse) as context:
        number = start(context, RELOAD_WAREHOUSE, {"from": "2026-01-01", "to": "2026-01-02"})
        with pytest.raises(BeingReloaded, match="backfill list"):
            list(close_ledgers(engine, Rulebooks(), NOW, kept=KEPT, loaded=loaded))
        backfills.cancel_backfill(context, number, OPS, NOW)
    reload_warehouse(engine, warehouse)
    with pytest.raises(BeingReloaded):
        list(close_ledgers(engine, Rulebooks(), NOW, kept=KEPT, loaded=loaded))
    assert close(engine, warehouse) == CLOSED_DAYS


def test_what_is_not_loaded_or_not_right_stays(engine: Engine, warehouse: Warehouse) -> None:
    put_days(engine, BEGINNING.date(), NOW.date())
    parts = close_ledgers(engine, Rulebooks(), NOW, kept=KEPT, loaded=0)
    assert list(parts) == [(1, 0)]
    with engine.begin() as connection:
        wrong = func.replace(tables.users.c.state, '"facts":152', '"facts":151')
        connection.execute(update(tables.users).values(state=wrong))
    assert close(engine, warehouse) == 0
    assert len(read_table(engine, tables.events)) == 152


def test_events_stay_as_long_as_late_ones_may_arrive_s13(engine: Engine) -> None:
    with pytest.raises(KeptTooShort, match="33 days at least"):
        next(iter(close_ledgers(engine, Rulebooks(), NOW, kept=timedelta(days=32), loaded=1)))
