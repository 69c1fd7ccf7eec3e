"""Postgres alone: batches applied in-process, without a broker and without projecting."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

from jobs.apply_events import Kind, Received, apply_events
from models.database import open_engine
from models.rulebooks import Rulebooks
from streakline import Event
from streakline.contract import EVENTS_PER_MESSAGE_MAX
from worker.serving import collect_rarely

Wire = dict[str, Any]
"""An event as a message carries it."""


def apply_in_batches(database_url: str, events: Sequence[Wire]) -> float:
    """Apply events 500 at a time in this process; return the seconds that it took.

    The first batch, which also connects and compiles the statements, is not timed.
    """
    collect_rarely()  # as the workers do
    engine, rulebooks = open_engine(database_url), Rulebooks()
    began = 0.0
    try:
        for start in range(0, len(events), EVENTS_PER_MESSAGE_MAX):
            now = datetime.now(UTC)
            batch = [
                Received(kind=Kind.EVENT, raw=event, received_at=now)
                for event in events[start : start + EVENTS_PER_MESSAGE_MAX]
            ]
            apply_events(engine, rulebooks, batch, now)
            began = began or time.perf_counter()
        return time.perf_counter() - began
    finally:
        engine.dispose()


def apply_rate(database_url: str, events: Sequence[Event], processes: int = 1) -> float:
    """Return the events per second of processes that apply a share of the events each."""
    wire = [event.to_json() for event in events]
    shares = [wire[number::processes] for number in range(processes)]
    if processes == 1:
        seconds = [apply_in_batches(database_url, wire)]
    else:
        with get_context("spawn").Pool(processes) as pool:
            arguments = [(database_url, share) for share in shares]
            seconds = pool.starmap(apply_in_batches, arguments, chunksize=1)
    timed = len(events) - processes * EVENTS_PER_MESSAGE_MAX
    return timed / max(seconds)
