"""A large import against live events: its rate, its memory, and what it comes to when killed.

A Parquet file is imported by a worker, as an operator would have it: once unbroken, once into
another database by workers that are killed on the way, and there a second time. All of it must come
to the same state; the second time nothing may change.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow as pa  # type: ignore[import-untyped] # has no types
from pyarrow import parquet
from sqlalchemy import update

from models import tables
from models.statements.backfills import Backfill, State, claim_step, read_backfill
from tests.applying import digest_state
from tests.benchmarks.backfills import BACKFILLS
from tests.benchmarks.harness import (
    DAYS,
    METRIC,
    RUN_SECONDS_MAX,
    SEED,
    Bench,
    Figure,
    environment,
    make_events,
    open_bench,
    resident_megabytes,
    running,
    script,
    wait_for,
)
from tests.benchmarks.rates import USERS, live_rate
from tests.servers import temporary_home
from worker.backfilling import OVERDUE

EVENTS = 5_000_000
EVENTS_QUICK = 20_000
EVENTS_EACH = 10
"""Of a user, about: as many as where 200,000 events of 20,000 users are imported."""
EVENTS_WARMING = 1_000
LIVE_EVENTS, LIVE_EVENTS_QUICK = 150_000, 10_000
EVENTS_AT_ONCE = 100_000
"""So many are made and written at a time."""
BEGINS_AT = datetime(2026, 10, 1, tzinfo=UTC)
KILLED_AT = (0.25, 0.6, 0.9)
"""Of all rows, each of which counts when it is read and when it is applied: once while reading."""
EARLY = 0.2
EVENTS_PER_SECOND_MIN = 500
"""A machine that is slower than that is given up on."""


def run(quick: bool, events: int = EVENTS) -> Iterator[Figure]:
    """Yield rates, the ratio to the live rate, memory, and how many rows differ: none."""
    count = EVENTS_QUICK if quick else events
    live_events = make_events(LIVE_EVENTS_QUICK if quick else LIVE_EVENTS, USERS, "live")
    live, _ = live_rate(live_events, size=500)
    yield Figure(name="end to end, messages of 500, in the same run", value=live, unit="events/s")
    with temporary_home() as home:
        path = home / "events.parquet"
        warming = home / "warming.parquet"
        write_events(path, count, "past")
        write_events(warming, EVENTS_WARMING, "warming")
        with open_bench() as bench, running(bench, BACKFILLS, 1) as workers:
            _watch(bench, _start(bench, warming), workers)
            unbroken = _watch(bench, _start(bench, path), workers)
            state = digest_state(bench.engine)
        yield from _figures(unbroken, count, live)
        with open_bench() as bench:
            _import_killed(bench, warming, path)
            _must_be(state, bench)
            with running(bench, BACKFILLS, 1) as workers:
                again = _watch(bench, _start(bench, path), workers)
            _must_be(state, bench)
    if again.backfill.changes:
        raise RuntimeError(f"a second import changes {again.backfill.changes}")
    rows = sum(count for count, _ in state.values())
    yield Figure(
        name=f"rows that differ after it was killed {len(KILLED_AT)} times",
        value=0,
        unit="rows",
        note=f"of {rows:,} in {len(state)} tables",
        goal="0",
    )
    yield Figure(
        name="import the same file again",
        value=count / again.seconds,
        unit="events/s",
        note="no change",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """An import that has ended, how long it took until all was ranked, and what memory it took."""

    backfill: Backfill
    seconds: float
    megabytes: Sequence[float]
    """When a fifth was read, when a fifth was applied, at the end, and the most."""


def write_events(path: Path, count: int, prefix: str) -> None:
    """Write events of random users, oldest first, with keys of their own; always the same."""
    chance, users = random.Random(SEED), max(1, count // EVENTS_EACH)
    step = timedelta(days=DAYS) / count
    schema = pa.schema(
        {
            "user_id": pa.string(),
            "metric": pa.string(),
            "key": pa.string(),
            "occurred_at": pa.timestamp("us", "UTC"),
        }
    )
    with parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, count, EVENTS_AT_ONCE):
            numbers = range(first, min(count, first + EVENTS_AT_ONCE))
            part = {
                "user_id": [f"user-{chance.randrange(users)}" for _ in numbers],
                "metric": [METRIC] * len(numbers),
                "key": [f"{prefix}-{number}" for number in numbers],
                "occurred_at": [BEGINS_AT + number * step for number in numbers],
            }
            writer.write_table(pa.table(part, schema))


def _figures(unbroken: _Watched, count: int, live: float) -> Iterator[Figure]:
    rate = count / unbroken.seconds
    yield Figure(
        name=f"import a Parquet file of {count:,} events",
        value=rate,
        unit="events/s",
        note=f"{count // EVENTS_EACH:,} users; one worker process, until all is ranked",
    )
    yield Figure(
        name="importing against live events",
        value=rate / live,
        unit="times",
        note="same run",
        goal="0.8",
    )
    parts = ("when a fifth is read", "when a fifth is applied", "at the end", "at most")
    for part, value in zip(parts, unbroken.megabytes, strict=True):
        yield Figure(name=f"the process that imports, {part}", value=value, unit="MB")


def _start(bench: Bench, path: Path) -> int:
    command = (script("streakline"), "backfill", "start", "import-events", str(path), "--json")
    done = subprocess.run(command, env=environment(bench), check=True, stdout=subprocess.PIPE)
    number: int = json.loads(done.stdout)["id"]
    return number


def _read(bench: Bench, number: int) -> Backfill:
    with bench.engine.connect() as connection:
        backfill = read_backfill(connection, number)
    assert backfill is not None
    if backfill.state is State.FAILED:
        raise RuntimeError(f"the import has failed: {backfill.error}")
    return backfill


def _share(backfill: Backfill) -> float:
    return backfill.done / (backfill.total or 1)


def _seconds_max(backfill: Backfill) -> float:
    return RUN_SECONDS_MAX + (backfill.total or 0) / 2 / EVENTS_PER_SECOND_MIN


def _watch(bench: Bench, number: int, workers: Sequence[psutil.Process]) -> _Watched:
    """Wait for the end of an import, and look at the memory of the process meanwhile."""
    found: dict[str, float] = {}

    def look() -> Backfill | None:
        backfill, now = _read(bench, number), resident_megabytes(workers)
        found["most"] = max(now, found.get("most", 0.0))
        if _share(backfill) >= EARLY / 2:
            found.setdefault("read", now)
        if _share(backfill) >= (1 + EARLY) / 2:
            found.setdefault("applied", now)
        found["end"] = now
        return backfill if backfill.settled_at and bench.unfinished()[1] == 0 else None

    backfill = wait_for(look, _seconds_max(_read(bench, number)))
    seconds = (datetime.now(UTC) - backfill.planned_at).total_seconds()
    megabytes = [found[name] for name in ("read", "applied", "end", "most")]
    return _Watched(backfill=backfill, seconds=seconds, megabytes=megabytes)


def _import_killed(bench: Bench, warming: Path, path: Path) -> None:
    """Import a file by workers that are killed one after the other, and one that is not."""
    with running(bench, BACKFILLS, 1) as workers:
        _watch(bench, _start(bench, warming), workers)
    number = _start(bench, path)
    for share in KILLED_AT:
        with running(bench, BACKFILLS, 1, killed=True) as [worker]:
            _kill_at(bench, number, worker, share)
        _send_anew(bench, number)
    with running(bench, BACKFILLS, 1) as workers:
        _watch(bench, number, workers)


def _kill_at(bench: Bench, number: int, worker: psutil.Process, share: float) -> None:
    seconds_max = _seconds_max(_read(bench, number))
    wait_for(lambda: _share(_read(bench, number)) >= share, seconds_max)
    worker.kill()
    worker.wait()
    if _read(bench, number).settled_at is not None:
        raise RuntimeError("the import had ended before its worker was killed")


def _send_anew(bench: Bench, number: int) -> None:
    """Do what the scheduler would, half a minute after a chunk was lost with its worker."""
    step = _read(bench, number).step

    def is_free() -> bool:
        with bench.engine.begin() as connection:
            return claim_step(connection, number, step) is not None

    wait_for(is_free)
    later = update(tables.backfills).values(next_at=tables.backfills.c.next_at - OVERDUE)
    with bench.engine.begin() as connection:
        connection.execute(later)
    tick = (script("streakline"), "tick", "run", "recover-backfills")
    subprocess.run(tick, env=environment(bench), check=True, stdout=subprocess.DEVNULL)


def _must_be(state: dict[str, tuple[int, int]], bench: Bench) -> None:
    found = digest_state(bench.engine)
    differing = [name for name, rows in state.items() if found[name] != rows]
    if differing:
        raise RuntimeError(f"the state is another one in {', '.join(differing)}")
