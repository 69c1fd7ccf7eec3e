"""Live events at a steady rate, some of them watched from `track` until they are ranked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from models.rules.rankings import ALL, Board
from streakline import Client
from tests.benchmarks.harness import METRIC, Bench

USERS = 1_000
WATCHED_EACH = 25
"""One of so many events is watched; all of one user's are apart by more than they may take."""
WATCH_SECONDS = 0.02
BOARD = Board(leaderboard=METRIC, run=ALL, segment=ALL, since=1, ascending=False)


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
