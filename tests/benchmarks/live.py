"""Live events at a steady rate, some of them watched from `track` until they are ranked.

Beside nothing else they show what single events cost where batches are not full.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import quantiles
from threading import Event, Thread

import psutil

from models.rules.rankings import ALL, Board
from streakline import Client
from tests.benchmarks.harness import (
    METRIC,
    PROCESSES,
    Bench,
    Figure,
    open_bench,
    running,
    script,
    wait_for,
)

WORKER = (script("streakline"), "worker", "--queues", "events,sweeps")
EVENTS_PER_SECOND = 500
DELAYS_BEFORE = 50
"""Delays that are thrown away: of events that waited for the processes to start."""
USERS = 1_000
WATCHED_EACH = 25
"""One of so many events is watched; all of one user's are apart by more than they may take."""
WATCH_SECONDS = 0.02
BOARD = Board(leaderboard=METRIC, run=ALL, segment=ALL, since=1, ascending=False)


def run(quick: bool) -> Iterator[Figure]:
    """Yield what single events cost at a steady rate, and how long they take to be ranked."""
    with (
        open_bench() as bench,
        running(bench, WORKER, PROCESSES) as workers,
        live_events(bench, EVENTS_PER_SECOND) as delays,
    ):
        wait_until_steady(delays)
        began, used = time.perf_counter(), cpu_seconds(workers)
        wait_for(lambda: len(delays) >= (100 if quick else 500))
        cores = (cpu_seconds(workers) - used) / (time.perf_counter() - began)
        slowest = percentile_95(delays)
    name = f"{EVENTS_PER_SECOND} single events/s"
    yield Figure(name=f"{name}, of {PROCESSES} workers", value=cores, unit="cores")
    yield Figure(
        name=f"{name}, from `track` to ranked, 95th percentile",
        value=slowest,
        unit="s",
        note=f"of {len(delays):,} events that were watched",
    )


def wait_until_steady(delays: list[float]) -> None:
    """Wait until events are ranked as they come, and throw away the delays up to then."""
    wait_for(lambda: len(delays) > DELAYS_BEFORE)
    del delays[:]


def slowest_meanwhile(delays: list[float]) -> Figure:
    """Return how long events took to be ranked beside what is measured."""
    return Figure(
        name="from `track` to ranked meanwhile, 95th percentile",
        value=percentile_95(delays),
        unit="s",
        note=f"of {len(delays):,} events that were watched",
        goal="1",
    )


def percentile_95(delays: list[float]) -> float:
    """Return which delay nineteen of twenty do not exceed."""
    return quantiles(delays, n=100)[94]


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the processor time that these processes have used."""
    return sum(sum(each.cpu_times()[:2]) for each in processes)


@contextmanager
def live_events(bench: Bench, per_second: int) -> Iterator[list[float]]:
    """Track events one by one until the end; yield the delays of those watched, in seconds."""
    delays: list[float] = []
    waiting: dict[str, tuple[int, float]] = {}
    ending = Event()

    def send() -> None:
        began, sent = time.perf_counter(), 0
        with Client(bench.addresses.broker_url) as client:
            while not ending.is_set():
                user_id = f"live-{sent % USERS}"
                # before the call: what is waited for begins with it
                at = time.perf_counter()
                if sent % WATCHED_EACH == 0 and sent >= USERS:
                    waiting[user_id] = (sent // USERS + 1, at)
                client.track(user_id, METRIC, key=str(sent))
                sent += 1
                ending.wait(max(0.0, began + sent / per_second - time.perf_counter()))

    def watch() -> None:
        while not ending.wait(WATCH_SECONDS):
            for user_id, (score, at) in list(waiting.items()):
                standing = bench.rankings.standing(BOARD, user_id)
                if standing is not None and standing.score >= score:
                    delays.append(time.perf_counter() - at)
                    del waiting[user_id]

    threads = [Thread(target=send), Thread(target=watch)]
    for thread in threads:
        thread.start()
    try:
        yield delays
    finally:
        ending.set()
        for thread in threads:
            thread.join()
