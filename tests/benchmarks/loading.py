"""How fast Postgres' rows come into the warehouse, and what live events lose while they do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, text

from jobs.load_warehouse import load_warehouse
from models.statements.loads import read_first_loaded
from models.warehouse.engine import Warehouse
from tests.benchmarks.harness import (
    PROCESSES,
    SCHEDULER,
    Bench,
    Figure,
    make_events,
    measure_rate,
    open_bench,
    put_template,
    running,
    script,
    tidy,
    wait_for,
)
from tests.benchmarks.limits import fill_queue
from tests.benchmarks.rates import USERS, WORKER, applied

ANALYTICS = (script("streakline"), "worker", "--queues", "analytics", "--threads", "4")
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOADED = ("users", "events", "point_entries")
EVENTS_EACH = 5
"""Of each user."""
ROWS_TOGETHER = 2_000
"""Events of one transaction, as those of a batch of the worker's."""
MESSAGE_EVENTS = 500

_COPIES = """
insert into users (user_id, first_seen_at, stamp, state, due_at)
select 'user-' || copy, first_seen_at, stamp, state, null
from users, generate_series(cast(:first as int), :last) copy where user_id = 'template';

insert into events (
    user_id, metric, key, value, occurred_at, occurred_at_told, local_date, program_version,
    received_at
)
select 'user-' || copy, metric, 'key-' || copy || '-' || event, value,
    occurred_at - event * interval '1 day', true, local_date - event, program_version, received_at
from events,
    generate_series(cast(:first as int), :last) copy, generate_series(1, cast(:each as int)) event
where user_id = 'template';

insert into point_entries (
    user_id, decided_at, number, points, trigger, since, cause, amount, base, clipped, occurred_at
)
select 'user-' || copy, decided_at, event, points, trigger, since, 'key-' || copy || '-' || event,
    amount, base, clipped, occurred_at - event * interval '1 day'
from point_entries,
    generate_series(cast(:first as int), :last) copy, generate_series(1, cast(:each as int)) event
where user_id = 'template'
"""


def run(quick: bool) -> Iterator[Figure]:
    """Yield rows per second of a load, and the rate of live events beside one and without."""
    events = 20_000 if quick else 1_000_000
    with open_bench() as bench:
        _put_past(bench.engine, events)
        warehouse = Warehouse(bench.addresses.warehouse_url)
        try:
            yield from _load(bench, warehouse)
        finally:
            warehouse.close()
    yield from _beside(past=events, live=10_000 if quick else 150_000)


def _put_past(engine: Engine, events: int) -> None:
    """Put users there with events and points, in transactions of the size that batches have."""
    put_template(engine, AT)
    users, together = events // EVENTS_EACH, ROWS_TOGETHER // EVENTS_EACH
    for first in range(1, users + 1, together):
        values = {"first": first, "last": first + together - 1, "each": EVENTS_EACH}
        with engine.begin() as connection:
            for statement in _COPIES.split(";"):
                connection.execute(text(statement), values)
    tidy(engine)


def _load(bench: Bench, warehouse: Warehouse) -> Iterator[Figure]:
    warehouse.open()
    rows, seconds = dict.fromkeys(LOADED, 0), dict.fromkeys(LOADED, 0.0)
    began = time.perf_counter()
    for source, loaded in load_warehouse(bench.engine, warehouse, datetime.now(UTC)):
        ended = time.perf_counter()
        if source in rows:
            rows[source] += loaded
            seconds[source] += ended - began
        began = ended
    for source in LOADED:
        yield Figure(
            name=f"load {source}",
            value=rows[source] / seconds[source],
            unit="rows/s",
            note=f"{rows[source]:,} rows",
            goal="100,000",
        )


def _beside(past: int, live: int) -> Iterator[Figure]:
    without = _live_rate(past, live)
    beside = _live_rate(past, live, is_loading=True)
    again = _live_rate(past, live)
    note = f"messages of {MESSAGE_EVENTS}; {past:,} events of the past, loaded or not"
    yield Figure(name="end to end without a loader", value=without, unit="events/s", note=note)
    yield Figure(name="end to end beside a loader", value=beside, unit="events/s", note=note)
    yield Figure(
        name="beside a loader against without",
        value=2 * beside / (without + again),
        unit="times",
        note=f"without, again: {again:,.0f} events/s",
        goal="0.9",
    )


def _live_rate(past: int, live: int, *, is_loading: bool = False) -> float:
    with open_bench() as bench:
        _put_past(bench.engine, past)
        before = applied(bench)
        fill_queue(bench, make_events(live, USERS, "live"), size=MESSAGE_EVENTS)
        loaders = int(is_loading)
        with (
            running(bench, ANALYTICS, loaders),
            running(bench, SCHEDULER, loaders),
        ):
            if is_loading:
                # what the loader costs is asked, not what its start does
                wait_for(lambda: _has_loaded(bench.engine))
            with running(bench, WORKER, PROCESSES):
                return measure_rate(
                    lambda: applied(bench) - before, live, lambda: bench.unfinished() == (0, 0)
                )


def _has_loaded(engine: Engine) -> bool:
    with engine.connect() as connection:
        return read_first_loaded(connection) is not None
