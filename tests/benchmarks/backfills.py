"""How fast backfills are: boards rebuilt, users folded anew, a Parquet file imported.

Boards are rebuilt and users folded anew once beside nothing else, and once beside live events, by
the processes of the Procfile.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped] # has no types
from pyarrow import parquet

from jobs.backfills import ACTIVE, By, Context, run_chunk, start_backfill
from models.rulebooks import Rulebooks
from models.statements.backfills import Backfill, State, list_backfills, read_backfill
from models.statements.users import count_users
from streakline import Event
from tests.benchmarks.harness import (
    PROCESSES,
    SCHEDULER,
    Bench,
    Figure,
    copy_template,
    environment,
    make_events,
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
from tests.servers import temporary_home
from worker.serving import collect_rarely

ACTIVE_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
USERS = 20_000
REBUILT_BESIDE = {100: "15", EVENTS_PER_SECOND: ""}
"""Live events a second beside which a board is rebuilt, and the goal in seconds if there is one."""
FOLDED = 100_000
EVENTS_EACH = 5
BACKFILLS = (script("streakline"), "worker", "--queues", "backfills", "--threads", "2")


def run(quick: bool) -> Iterator[Figure]:
    """Yield how long each takes, by one process, beside nothing else."""
    collect_rarely()
    standings, imported = (10_000, 10_000) if quick else (1_000_000, 200_000)
    with open_bench() as bench:
        put_template(bench.engine, ACTIVE_AT)
        copy_template(bench.engine, standings)
        tidy(bench.engine)
        seconds = _run(bench, "rebuild-rankings", {"leaderboards": ["lessons"]})
        yield Figure(
            name=f"rebuild a board of {standings:,}",
            value=seconds,
            unit="s",
            note=f"{standings / seconds:,.0f} standings/s",
            goal="15",
        )
    for events_per_second, goal in REBUILT_BESIDE.items():
        yield from _rebuild_beside_events(standings, events_per_second, goal)
    with open_bench() as bench, temporary_home() as home:
        path = _write(make_events(imported, USERS, "past"), home)
        seconds = _run(bench, "import-events", {"files": [str(path)]})
        yield Figure(
            name="import a Parquet file",
            value=imported / seconds,
            unit="events/s",
            note=f"{imported:,} events of {USERS:,} users, read and applied by one process",
        )
        tidy(bench.engine)
        seconds = _run(bench, "recompute-users", {})
        with bench.engine.connect() as connection:
            users = count_users(connection)
        yield Figure(
            name="fold users anew",
            value=60 * users / seconds,
            unit="users/min",
            note=f"{users:,} users of about {imported / users:.0f} events",
            goal="50,000",
        )
    yield from _fold_beside_events(1_000 if quick else FOLDED)


def _rebuild_beside_events(standings: int, events_per_second: int, goal: str) -> Iterator[Figure]:
    with open_bench() as bench:
        # Time has nothing to do for any of them meanwhile.
        put_template(bench.engine, datetime.now(UTC))
        copy_template(bench.engine, standings)
        tidy(bench.engine)
        words = ("rebuild-rankings", "--leaderboard", "lessons")
        seconds, slowest, _ = _run_beside_events(bench, words, events_per_second)
    yield Figure(
        name=f"rebuild a board of {standings:,} beside {events_per_second} events/s",
        value=seconds,
        unit="s",
        note=f"{PROCESSES} workers, one process that rebuilds",
        goal=goal,
    )
    yield slowest


def _fold_beside_events(users: int) -> Iterator[Figure]:
    with open_bench() as bench, temporary_home() as home:
        path = _write(make_events(users * EVENTS_EACH, users, "past"), home)
        _run(bench, "import-events", {"files": [str(path)]})
        tidy(bench.engine)
        seconds, slowest, megabytes = _run_beside_events(
            bench, ("recompute-users",), EVENTS_PER_SECOND
        )
    yield Figure(
        name=f"fold {users:,} users anew beside {EVENTS_PER_SECOND} events/s",
        value=seconds,
        unit="s",
        note=f"of about {EVENTS_EACH} events; {PROCESSES} workers, one process that folds",
        goal="120",
    )
    yield slowest
    yield Figure(name="the process that folds", value=megabytes, unit="MB")


def _run_beside_events(
    bench: Bench, words: Sequence[str], events_per_second: int
) -> tuple[float, Figure, float]:
    """Run a backfill by the processes of the Procfile, beside live events.

    Return how long it took, how long events took meanwhile, and the memory of its process in MB.
    """
    with (
        running(bench, WORKER, PROCESSES),
        running(bench, BACKFILLS, 1) as processes,
        running(bench, SCHEDULER, 1),
        live_events(bench, events_per_second) as delays,
    ):
        wait_until_steady(delays)
        command = (script("streakline"), "backfill", "start", *words)
        subprocess.run(command, env=environment(bench), check=True, stdout=subprocess.DEVNULL)
        backfill = wait_for(lambda: _read_ended(bench))
        slowest = slowest_meanwhile(delays)
        megabytes = resident_megabytes(processes)
    if backfill.state is not State.DONE or backfill.settled_at is None:
        raise RuntimeError(f"{backfill.kind} is {backfill.state.value}: {backfill.error}")
    seconds = (backfill.settled_at - backfill.planned_at).total_seconds()
    return seconds, slowest, megabytes


def _read_ended(bench: Bench) -> Backfill | None:
    """Return the latest backfill, once it has ended."""
    with bench.engine.connect() as connection:
        [latest, *_] = list_backfills(connection)
    return None if latest.settled_at is None else latest


def _write(events: list[Event], home: Path) -> Path:
    path = home / "events.parquet"
    table = pa.table(
        {
            "user_id": [event.user_id for event in events],
            "metric": [event.metric for event in events],
            "key": [event.key for event in events],
            "occurred_at": [event.occurred_at for event in events],
        }
    )
    parquet.write_table(table, path)
    return path


def _run(bench: Bench, kind: str, parameters: Mapping[str, Any]) -> float:
    """Run a backfill to its end; return how long it took."""
    context = Context(
        engine=bench.engine,
        rulebooks=Rulebooks(),
        rankings=bench.rankings,
        put_back=lambda _: None,
    )
    began = time.perf_counter()
    by, now = By(actor="benchmark"), datetime.now(UTC)
    number = start_backfill(context, kind, parameters, by=by, now=now)
    with bench.engine.connect() as connection:
        backfill = read_backfill(connection, number)
    assert backfill is not None
    while backfill.state in ACTIVE:
        backfill = run_chunk(context, number, backfill.step, lambda: datetime.now(UTC))
        assert backfill is not None
    if backfill.state is not State.DONE:
        raise RuntimeError(f"{kind} is {backfill.state.value}: {backfill.error}")
    return time.perf_counter() - began
