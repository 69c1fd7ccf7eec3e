"""How far it is to the limit: the transport alone, and Postgres alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from streakline import Client, Event
from tests.benchmarks.batches import apply_rate
from tests.benchmarks.harness import (
    PROCESSES,
    Bench,
    Figure,
    make_events,
    measure_rate,
    open_bench,
    running,
)

NOOP = (sys.executable, "-m", "tests.benchmarks.noop_app")


def run(quick: bool) -> Iterator[Figure]:
    """Yield both limits, for both sizes of messages and both numbers of processes."""
    batched, single, alone = (20_000, 2_000, 10_000) if quick else (400_000, 20_000, 60_000)
    with open_bench() as bench:
        events = make_events(batched, users=20_000, prefix="transport")
        yield Figure(
            name="transport alone, messages of 500",
            value=_transport_rate(bench, events, size=500),
            unit="events/s",
            note=f"{PROCESSES} processes whose actor does nothing",
        )
        yield Figure(
            name="transport alone, messages of one",
            value=_transport_rate(bench, events[:single], size=1),
            unit="events/s",
            note=f"{PROCESSES} processes whose actor does nothing",
        )
    for processes in (1, PROCESSES):
        with open_bench() as bench:
            events = make_events(alone * processes, users=20_000, prefix="alone")
            yield Figure(
                name=f"Postgres alone, {processes} process{'es' if processes > 1 else ''}",
                value=apply_rate(bench.addresses.database_url, events, processes),
                unit="events/s",
                note="batches of 500, no broker, nothing projected",
            )


def _transport_rate(bench: Bench, events: Sequence[Event], *, size: int) -> float:
    bench.broker_redis.flushdb()  # these servers are our own, and the keys were seen before
    fill_queue(bench, events, size=size)
    messages = bench.unfinished()[0]
    with running(bench, NOOP, PROCESSES):
        rate = measure_rate(lambda: messages - bench.unfinished()[0], messages)
    return rate * size


def fill_queue(bench: Bench, events: Sequence[Event], *, size: int) -> None:
    """Put events on the queue, so many in a message."""
    with Client(bench.addresses.broker_url) as client:
        for start in range(0, len(events), size):
            client.track_many(events[start : start + size])
