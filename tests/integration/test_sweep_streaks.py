"""What time causes, swept or not: the state is that of an uninterrupted run, whenever one looks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from jobs.recompute_users import recompute_users
from jobs.sweep_streaks import USERS_PER_TRANSACTION, sweep_streaks
from models import tables
from models.rulebooks import Rulebooks
from models.statements import users as user_statements
from tests.applying import (
    Raw,
    dump_state,
    must_equal,
    must_verify,
    opened,
    put_events,
    put_program,
    put_users,
    read_states,
    read_table,
)
from tests.folding import november

PROGRAM = """
[app]
name = "App"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[streaks.daily.freezes]
start = 1
max = 2
[streaks.weekly]
frequency = "weekly"
metrics = { lessons = 2 }
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
[points.xp.triggers.member]
on = "membership"
every = "3d"
points = 5
[achievements.rich]
on = "points"
points = "xp"
at = 30
[leaderboards.xp]
rank_by = { points = "xp" }
period = "week"
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, november(1))
        yield engine


@pytest.fixture
def other(second_database_url: str) -> Iterator[Engine]:
    """A second database with the same program."""
    with opened(second_database_url) as engine:
        put_program(engine, PROGRAM, november(1))
        yield engine


def lesson(user_id: str, at: datetime) -> Raw:
    key = at.isoformat()
    return {"user_id": user_id, "metric": "lessons", "key": key, "occurred_at": key}


def live(engine: Engine, user_id: str, at: datetime, received_at: datetime | None = None) -> None:
    put_events(engine, [lesson(user_id, at)], now=received_at or at, imported=False)


def sweep(engine: Engine, now: datetime) -> int:
    return sum(sweep_streaks(engine, Rulebooks(), now))


def notices(engine: Engine) -> list[tuple[str, str, bool]]:
    found = read_table(engine, tables.notices)
    return sorted((row["kind"], row["cause"], row["silent"]) for row in found)


def test_a_missed_day_spends_a_freeze_and_the_next_ends_the_chain_s23_s24(engine: Engine) -> None:
    live(engine, "u", november(2, 12))
    assert sweep(engine, november(3, 23, 59)) == 0, "the day is not over"
    assert sweep(engine, november(4)) == 1
    assert notices(engine) == [("freeze-used", "daily:2026-11-03", False)]
    assert sweep(engine, november(4)) == 0, "what was done is due no more"
    assert sweep(engine, november(5)) == 1
    assert ("streak-lost", "daily:2026-11-04", False) in notices(engine)
    assert sweep(engine, november(20)) == 1
    streak = read_states(engine)["u"].streaks["daily"]
    assert (streak.length, streak.longest, streak.freezes) == (0, 1, 0)
    must_verify(engine)


def test_a_week_without_sweeps_comes_to_what_hourly_sweeps_come_to_s23(
    engine: Engine, other: Engine
) -> None:
    for database in (engine, other):
        put_users(database, [{"user_id": "u", "tz": "Asia/Tokyo"}], now=november(1))
        for day in (2, 3, 4):
            live(database, "u", november(day, 3))
            live(database, "v", november(day, 4))
    for hour in range(10 * 24):
        sweep(engine, november(4, 4) + timedelta(hours=hour))
    assert sweep(other, november(14, 4)) == 2
    must_equal(dump_state(other), dump_state(engine))
    assert notices(other) == notices(engine)
    must_verify(other)


def test_a_late_event_saves_a_chain_that_a_sweep_has_ended_s14(
    engine: Engine, other: Engine
) -> None:
    for database in (engine, other):
        live(database, "u", november(2, 12))
    live(other, "u", november(3, 23))
    live(other, "u", november(4, 23))
    for day in (4, 5, 6):
        sweep(engine, november(day))
    assert ("streak-lost", "daily:2026-11-04", False) in notices(engine)
    live(engine, "u", november(4, 23), received_at=november(6, 1))
    live(engine, "u", november(3, 23), received_at=november(6, 1))
    for database in (engine, other):
        sweep(database, november(6))
    must_equal(dump_state(engine), dump_state(other))
    assert {kind for kind, _, _ in notices(engine)} == {"achievement", "correction", "freeze-used"}
    must_verify(engine)


def test_what_an_import_brings_in_as_past_is_told_to_nobody_s53(engine: Engine) -> None:
    put_events(engine, [lesson("u", november(day, 12)) for day in (2, 3, 9)], now=november(12, 1))
    assert sweep(engine, november(12, 1)) == 1
    told = notices(engine)
    assert ("streak-lost", "daily:2026-11-05", True) in told
    assert all(silent for _, _, silent in told)
    live(engine, "u", november(12, 13))
    for day in (13, 14, 15, 16):
        sweep(engine, november(day))
    assert ("streak-lost", "daily:2026-11-13", False) in notices(engine)
    must_verify(engine)


def test_recomputing_what_was_swept_changes_nothing_s37(engine: Engine) -> None:
    for day in (2, 3, 4):
        live(engine, "u", november(day, 12))
    put_events(engine, [lesson("v", november(2, 12))], now=november(5))
    sweep(engine, november(9))
    before, told = dump_state(engine), notices(engine)
    assert recompute_users(engine, Rulebooks(), ["u", "v"], november(10)) == 2
    must_equal(dump_state(engine), before)
    assert notices(engine) == told


def test_a_new_version_finds_what_is_long_due_silently_s36(engine: Engine) -> None:
    live(engine, "u", november(2, 12))
    sweep(engine, november(9))
    before = notices(engine)
    put_program(
        engine,
        PROGRAM + '[achievements.loyal]\non = "points"\npoints = "xp"\nat = 20\n',
        november(9),
    )
    # Whoever has a state of another version is folded anew before time goes on.
    assert sweep(engine, november(20)) == 1
    new = set(notices(engine)) - set(before)
    assert all(silent for _, _, silent in new), new
    must_verify(engine)


def test_sweeps_side_by_side_take_each_user_once(engine: Engine) -> None:
    count = 2 * USERS_PER_TRANSACTION + 10
    put_events(
        engine, [lesson(f"u{number}", november(2, 12)) for number in range(count)], imported=False,
        now=november(2, 13),
    )  # fmt: skip
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: sweep(engine, november(5)), range(4)))
    assert sum(done) == count
    lost = [cause for kind, cause, _ in notices(engine) if kind == "streak-lost"]
    assert lost == ["daily:2026-11-04"] * count
    must_verify(engine)


def test_a_sweep_leaves_whom_another_transaction_holds(engine: Engine) -> None:
    live(engine, "held", november(2, 12))
    live(engine, "free", november(2, 12))
    with engine.begin() as connection:
        stamp = Rulebooks().current(connection).stamp
        user_statements.lock_users(connection, ["held"], stamp)
        assert sweep(engine, november(5)) == 1
    assert sweep(engine, november(5)) == 1
