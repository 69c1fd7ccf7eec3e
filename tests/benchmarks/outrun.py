"""Producers that outrun workers: what waits, what memory it takes, who is refused, and the end.

`python -m tests.benchmarks.outrun --seconds 3600` does so for an hour. One producer sends so many
times what workers handle, on the same machine, into a Valkey with a limit of memory. Where it is
refused it waits and sends the same again. Afterwards everything that was taken must be there once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event as Signal
from threading import Thread

import psutil

from models.statements.events import Outcome, read_counts
from streakline import Client, Event, QueueFull
from streakline.contract import EVENTS_PER_MESSAGE_MAX, NAMESPACE
from tests.benchmarks.harness import (
    METRIC,
    PROCESSES,
    SCHEDULER,
    Bench,
    Figure,
    open_bench,
    resident_megabytes,
    running,
    wait_for,
)
from tests.benchmarks.live import WORKER

USERS = 20_000
AHEAD_EVENTS = 20_000
"""What the producer sends before anything is handled."""
PAUSE_SECONDS = 0.5
"""How long the producer waits after a refusal."""
LOOK_SECONDS = 1.0
MEGABYTE = 1_000_000


def run(quick: bool) -> Iterator[Figure]:
    """Yield what a short run measures."""
    yield from outrun(seconds=10 if quick else 60, times=3, megabytes=32 if quick else 128)


def outrun(*, seconds: float, times: float, megabytes: int) -> Iterator[Figure]:
    """Let a producer send `times` what workers handle, for so long; then let them drain.

    Raises RuntimeError where anything was lost or counts twice.
    """
    with ExitStack() as stack:
        bench = stack.enter_context(open_bench())
        bench.broker_redis.config_set("maxmemory", megabytes * MEGABYTE)
        workers = stack.enter_context(running(bench, WORKER, PROCESSES))
        scheduler = stack.enter_context(running(bench, SCHEDULER, 1))
        wait_for(lambda: bench.broker_redis.exists(f"{NAMESPACE}:__heartbeats__"))
        producer = _Producer(bench=bench, times=times)
        looks = _watch(bench, producer, workers, scheduler, seconds)
        began, left = time.perf_counter(), producer.sent - _handled(bench)
        wait_for(lambda: bench.unfinished() == (0, 0), seconds_max=max(600.0, 2 * seconds))
        drained_seconds = time.perf_counter() - began
        _check(bench, producer)
        after = resident_megabytes(workers)
    early, last = looks[len(looks) // 4], looks[-1]
    most = max(looks, key=lambda one: one.messages)
    note = f"for {seconds:,.0f} s; Valkey with {megabytes} MB"
    handled = last.handled / last.seconds
    yield Figure(name="handled meanwhile", value=handled, unit="events/s", note=note)
    yield Figure(
        name="sent meanwhile, and taken",
        value=last.sent / last.seconds,
        unit="events/s",
        note=f"one producer that would send {times:g} times what is handled",
    )
    yield Figure(
        name="waiting at the most", value=most.messages * EVENTS_PER_MESSAGE_MAX, unit="events"
    )
    yield Figure(
        name="memory of Valkey for an event that waits",
        value=(most.memory - looks[0].memory) / max(1, most.messages * EVENTS_PER_MESSAGE_MAX),
        unit="bytes",
        note="messages of 500; what was seen lately and the rankings included",
    )
    yield Figure(
        name="calls refused, the queue being full",
        value=producer.refused,
        unit="calls",
        note=f"of {producer.refused + producer.calls:,}; each sent again after {PAUSE_SECONDS} s",
    )
    yield Figure(
        name="the longest call", value=1_000 * producer.longest_seconds, unit="ms", note="of all"
    )
    yield Figure(name="a worker after a quarter of the time", value=early.worker, unit="MB")
    yield Figure(name="a worker at the end of it", value=last.worker, unit="MB")
    yield Figure(name="a worker once all is drained", value=after, unit="MB")
    yield Figure(name="the scheduler at the end of it", value=last.scheduler, unit="MB")
    yield Figure(
        name="drained after the producer's end",
        value=drained_seconds,
        unit="s",
        note=f"{left:,} events; all {producer.sent:,} are applied once, none is missing",
    )


@dataclass(slots=True, kw_only=True)
class _Producer:
    """Sends messages of 500 until it is told to end, so many times what is handled."""

    bench: Bench
    times: float
    ending: Signal = field(default_factory=Signal)
    sent: int = 0
    calls: int = 0
    refused: int = 0
    longest_seconds: float = 0.0
    handled: int = 0

    def send(self) -> None:
        with Client(self.bench.addresses.broker_url) as client:
            while not self.ending.is_set():
                if self.sent > AHEAD_EVENTS + self.times * self.handled:
                    self.ending.wait(0.01)
                elif not self._sent(client):
                    self.ending.wait(PAUSE_SECONDS)

    def _sent(self, client: Client) -> bool:
        numbers = range(self.sent, self.sent + EVENTS_PER_MESSAGE_MAX)
        events = [Event(user_id=f"user-{n % USERS}", metric=METRIC, key=str(n)) for n in numbers]
        began = time.perf_counter()
        try:
            client.track_many(events)
        except QueueFull:
            self.refused += 1
            return False
        finally:
            self.longest_seconds = max(self.longest_seconds, time.perf_counter() - began)
        self.calls += 1
        self.sent += len(events)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What was seen `seconds` after the beginning; processes in MB, Valkey's memory in bytes."""

    seconds: float
    sent: int
    handled: int
    messages: int
    memory: int
    worker: float
    scheduler: float


def _watch(
    bench: Bench,
    producer: _Producer,
    workers: list[psutil.Process],
    scheduler: list[psutil.Process],
    seconds: float,
) -> list[_Look]:
    looks: list[_Look] = []
    thread = Thread(target=producer.send)
    began = time.perf_counter()
    thread.start()
    try:
        while (passed := time.perf_counter() - began) < seconds:
            producer.handled = _handled(bench)
            looks.append(
                _Look(
                    seconds=max(passed, LOOK_SECONDS),
                    sent=producer.sent,
                    handled=producer.handled,
                    messages=bench.unfinished()[0],
                    memory=int(bench.broker_redis.info("memory")["used_memory"]),
                    worker=resident_megabytes(workers),
                    scheduler=resident_megabytes(scheduler),
                )
            )
            time.sleep(LOOK_SECONDS)
    finally:
        producer.ending.set()
        thread.join()
    return looks


def _handled(bench: Bench) -> int:
    with bench.engine.connect() as connection:
        return sum(read_counts(connection).values())


def _check(bench: Bench, producer: _Producer) -> None:
    with bench.engine.connect() as connection:
        counts = read_counts(connection)
    if counts[Outcome.APPLIED] != producer.sent or counts[Outcome.REJECTED]:
        raise RuntimeError(f"{producer.sent} events were taken, and became {counts}")


def main() -> None:
    """Run as the command line says and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.outrun")
    parser.add_argument("--seconds", type=float, default=3_600.0)
    parser.add_argument("--times", type=float, default=3.0, help="what workers handle")
    parser.add_argument("--megabytes", type=int, default=512, help="Valkey may take")
    arguments = parser.parse_args()
    for figure in outrun(**vars(arguments)):
        print(  # noqa: T201 - a command's output
            f"{figure.name}: {figure.value:,.1f} {figure.unit} {figure.note}", flush=True
        )


if __name__ == "__main__":
    main()
