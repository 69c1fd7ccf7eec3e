"""End to end: from a full queue to applied and projected, against the plain way in the same run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from models.statements.events import Outcome, read_counts
from streakline import Event
from tests.benchmarks.harness import (
    PROCESSES,
    Bench,
    Figure,
    make_app_events,
    make_events,
    measure_rate,
    open_bench,
    resident_megabytes,
    running,
    script,
)
from tests.benchmarks.limits import fill_queue
from tests.benchmarks.plain import RULES_APP, THREADS, plain_rate
from tests.stack import PROGRAM

WORKER = (script("streakline"), "worker", "--queues", "events")
USERS = 20_000
LANGUAGE_APP = Path(__file__).with_name("language-app.toml")


def run(quick: bool) -> Iterator[Figure]:
    """Yield rates, ratios and the memory of a worker."""
    batched, single, plain = (10_000, 1_000, 500) if quick else (150_000, 20_000, 8_000)
    note = f"{PROCESSES} worker processes, {USERS:,} users"
    many, _ = live_rate(make_events(batched, USERS, "many"), size=500)
    yield Figure(
        name="end to end, messages of 500", value=many, unit="events/s", note=note, goal="12,000"
    )
    one, _ = live_rate(make_events(single, USERS, "one"), size=1)
    yield Figure(
        name="end to end, messages of one", value=one, unit="events/s", note=note, goal="2,000"
    )
    with open_bench() as bench:
        plainly = plain_rate(bench, make_events(plain, USERS, "plain"))
    yield Figure(
        name="the plain way, one message an event",
        value=plainly,
        unit="events/s",
        note=f"dramatiq, {PROCESSES} processes of {THREADS} threads",
    )
    yield _ratio("messages of 500 against the plain way", many / plainly, goal="10")
    yield _ratio("messages of one against the plain way", one / plainly)
    app_program = LANGUAGE_APP.read_text("utf-8")
    events = make_app_events(batched, USERS, "app")
    app, megabytes = live_rate(events, size=500, program=app_program)
    yield Figure(
        name="a whole app's rules, messages of 500",
        value=app,
        unit="events/s",
        note=f"{LANGUAGE_APP.name}; {note}",
        goal="8,000",
    )
    with open_bench() as bench:
        plainly = plain_rate(bench, make_app_events(plain, USERS, "plain"), RULES_APP)
    yield Figure(
        name="a whole app's rules the plain way",
        value=plainly,
        unit="events/s",
        note=f"dramatiq, {PROCESSES} processes of {THREADS} threads",
    )
    yield _ratio("a whole app's rules against the plain way", app / plainly, goal="10")
    yield Figure(
        name="a worker process after the run", value=megabytes, unit="MB", goal="under 200"
    )


def _ratio(name: str, value: float, goal: str = "") -> Figure:
    return Figure(name=name, value=value, unit="times", note="same run, same servers", goal=goal)


def live_rate(events: Sequence[Event], *, size: int, program: str = PROGRAM) -> tuple[float, float]:
    """Return how many events a second come from a full queue to being ranked, and a worker's MB."""
    with open_bench(program) as bench:
        fill_queue(bench, events, size=size)
        with running(bench, WORKER, PROCESSES) as processes:
            rate = measure_rate(
                lambda: applied(bench), len(events), lambda: bench.unfinished() == (0, 0)
            )
            return rate, resident_megabytes(processes)


def applied(bench: Bench) -> int:
    """Return how many events have been applied."""
    with bench.engine.connect() as connection:
        return read_counts(connection)[Outcome.APPLIED]
