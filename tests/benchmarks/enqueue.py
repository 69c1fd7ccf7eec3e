"""How fast a backend enqueues: in batches of 500, and one by one with keys."""

from __future__ import annotations

import time
from collections.abc import Iterator

from streakline import Client
from streakline.contract import EVENTS_PER_MESSAGE_MAX
from tests.benchmarks.harness import METRIC, Figure, make_events, open_bench


def run(quick: bool) -> Iterator[Figure]:
    """Yield the client's rates on one thread."""
    batched, single = (10_000, 1_000) if quick else (100_000, 10_000)
    events = make_events(batched, users=20_000, prefix="batched")
    with open_bench() as bench, Client(bench.addresses.broker_url) as client:
        client.track("warm-up", METRIC)
        began = time.perf_counter()
        for start in range(0, batched, EVENTS_PER_MESSAGE_MAX):
            client.track_many(events[start : start + EVENTS_PER_MESSAGE_MAX])
        many = batched / (time.perf_counter() - began)
        began = time.perf_counter()
        for number in range(single):
            client.track(f"user-{number % 1000}", METRIC, key=f"single-{number}")
        one = single / (time.perf_counter() - began)
    yield Figure(
        name="enqueue with track_many, 500 events a call",
        value=many,
        unit="events/s",
        note="one thread, every event with a key",
        goal="30,000",
    )
    yield Figure(
        name="enqueue with track, one by one",
        value=one,
        unit="events/s",
        note="one thread, every event with a key",
        goal="4,000",
    )
