"""What time causes all at once: streaks that end at one instant, and a large run that is final.

They end once beside nothing else, and once beside live events in the processes of the Procfile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

from sqlalchemy import Engine, text

from jobs.finalize_runs import finalize_due_runs, open_runs
from jobs.sweep_streaks import sweep_streaks
from models.database import open_engine
from models.rulebooks import Rulebooks
from models.statements.standings import is_anyone_due
from models.statements.ticks import read_last_runs
from tests.benchmarks.harness import (
    PROCESSES,
    SCHEDULER,
    Figure,
    copy_template,
    open_bench,
    put_template,
    resident_megabytes,
    running,
    script,
    tidy,
    wait_for,
)
from tests.benchmarks.live import (
    EVENTS_PER_SECOND,
    WORKER,
    live_events,
    slowest_meanwhile,
    wait_until_steady,
)
from worker.serving import collect_rarely

ANALYTICS = (
    script("streakline"),
    "worker",
    "--queues",
    "sweeps,analytics,emails",
    "--threads",
    "6",
)
ACTIVE_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
DUE_BEFORE = ACTIVE_AT + timedelta(days=2)
LOST_AT = ACTIVE_AT + timedelta(days=5)
BOARD = """
[app]
name = "Boards"
[metrics.lessons]
[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
segment_by = ["country"]
"""
_SCORES = text(
    "insert into run_scores"
    " select run_id, 'user-' || number, (random() * 1000)::int,"
    " opens_at + random() * interval '1 h', opens_at"
    " from (select * from runs order by opens_at limit 1) run,"
    " generate_series(1, :count) number"
)
_COUNTRIES = text(
    "insert into user_fields select 'user-' || number, 'attributes.country',"
    " (array['FR', 'DE', 'JP', 'US'])[1 + number % 4], now() from generate_series(1, :count) number"
)


def run(quick: bool) -> Iterator[Figure]:
    """Yield how fast streaks are ended, and how long the record of a run takes."""
    count = 10_000 if quick else 1_000_000
    seconds = _end_streaks(count)
    yield Figure(
        name=f"end {count:,} streaks that are due at one instant",
        value=seconds,
        unit="s",
        note=f"{PROCESSES} processes, {count / seconds:,.0f} users/s",
        goal="60",
    )
    yield from _end_beside_events(count)
    yield Figure(
        name=f"write the record of a run of {count:,}",
        value=_finalize(count),
        unit="s",
        note="and of its four segments: twice as many standings",
        goal="30",
    )


def _put_due(engine: Engine, count: int) -> None:
    """Put users there whose streaks are due at one instant, which is past."""
    put_template(engine, ACTIVE_AT)
    copy_template(engine, count)
    tidy(engine)


def _end_streaks(count: int) -> float:
    with open_bench() as bench:
        _put_due(bench.engine, count)
        began = time.perf_counter()
        with get_context("spawn").Pool(PROCESSES) as pool:
            done = pool.map(_sweep, [bench.addresses.database_url] * PROCESSES, chunksize=1)
        seconds = time.perf_counter() - began
    if sum(done) != count + 1:
        raise RuntimeError(f"{sum(done)} of {count + 1} were swept")
    return seconds


def _end_beside_events(count: int) -> Iterator[Figure]:
    with open_bench() as bench:
        _put_due(bench.engine, count)
        with (
            running(bench, WORKER, PROCESSES) as workers,
            running(bench, ANALYTICS, 1) as analytics,
            live_events(bench, EVENTS_PER_SECOND) as delays,
        ):
            wait_until_steady(delays)
            with running(bench, SCHEDULER, 1):
                began = wait_for(lambda: _first_sweep(bench.engine))
                wait_for(lambda: not _is_anyone_due(bench.engine))
                seconds = (datetime.now(UTC) - began).total_seconds()
            slowest = slowest_meanwhile(delays)
            megabytes = resident_megabytes([*workers, *analytics])
    beside = f"beside {EVENTS_PER_SECOND} events/s"
    yield Figure(
        name=f"end {count:,} streaks {beside}",
        value=seconds,
        unit="s",
        note=f"{PROCESSES} workers, analytics and a scheduler; {count / seconds:,.0f} users/s",
        goal="60",
    )
    yield slowest
    yield Figure(name="a worker process meanwhile", value=megabytes, unit="MB")


def _first_sweep(engine: Engine) -> datetime | None:
    with engine.connect() as connection:
        return read_last_runs(connection).get("sweep-streaks")


def _is_anyone_due(engine: Engine) -> bool:
    with engine.connect() as connection:
        return is_anyone_due(connection, DUE_BEFORE)


def _sweep(database_url: str) -> int:
    collect_rarely()
    engine = open_engine(database_url)
    try:
        return sum(sweep_streaks(engine, Rulebooks(), LOST_AT))
    finally:
        engine.dispose()


def _finalize(count: int) -> float:
    with open_bench(BOARD) as bench:
        now, rulebooks = datetime.now(UTC), Rulebooks()
        open_runs(bench.engine, rulebooks, now)
        with bench.engine.begin() as connection:
            connection.execute(_SCORES, {"count": count})
            connection.execute(_COUNTRIES, {"count": count})
        tidy(bench.engine)
        began = time.perf_counter()
        later = now + timedelta(days=30)
        finalize_due_runs(bench.engine, rulebooks, bench.rankings, later)
        return time.perf_counter() - began
