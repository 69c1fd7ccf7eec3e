"""How far everything is, in the shape of the interface: `status`, `drain`, checks and gauges."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jobs.backfills.showing import summary
from jobs.read_status import read_progress
from models.statements.events import Outcome
from worker.clock import utc_now
from worker.pace import read_pace, read_room
from worker.queues import read_waiting
from worker.runtime import Runtime
from worker.schedule import STALE_SLOTS, TICKS


def read_status(runtime: Runtime) -> dict[str, Any]:
    """Return the status in the shape of the interface."""
    now = utc_now()
    # The queue first: what leaves it in between is then counted as applied, never lost from sight.
    waiting = read_waiting(runtime.broker, now)
    progress = read_progress(runtime.engine, now)
    outcomes = progress.outcomes
    rows = dict(progress.warehouse.rows)
    return {
        "ready": True,
        "since": progress.since,
        "waiting_events": waiting.events,
        "oldest_waiting_seconds": round(waiting.oldest_seconds, 3),
        "dead_messages": progress.dead_messages,
        "rejected_events": outcomes[Outcome.REJECTED] + outcomes[Outcome.CONFLICT],
        "conflicting_events": outcomes[Outcome.CONFLICT],
        "duplicate_events": outcomes[Outcome.DUPLICATE],
        "applied_events": outcomes[Outcome.APPLIED],
        "rankings": {"waiting": progress.rankings_waiting},
        "rankings_lag_seconds": _age(progress.rankings_waiting_since, now),
        "warehouse": {
            "waiting_events": rows.pop("events"),
            "waiting_rows": sum(rows.values()),
            "lag_seconds": _age(progress.warehouse.events_since, now),
            "failing_since": progress.warehouse.failing_since,
            "error": progress.warehouse.error,
            "closed_events": progress.closed_events,
        },
        "emails": {
            "due": progress.emails_due,
            **{state.value: count for state, count in progress.emails.items()},
        },
        "ticks": [
            {
                "name": tick.name,
                "last": progress.last_ticks.get(tick.name),
                "next": tick.next_slot(now),
            }
            for tick in TICKS
        ],
        "backfills": [summary(one) for one in progress.backfills],
    }


def read_queue(runtime: Runtime) -> dict[str, Any]:
    """Return how the queue of events fares; where much waits it takes two looks to know.

    Rates are None where little waits, `seconds_left` where it only grows, `memory_bytes` of a
    broker that is no Redis and `memory_bytes_max` where there is no limit.
    """
    waiting = read_waiting(runtime.broker, utc_now())
    pace, room = read_pace(runtime, waiting), read_room(runtime)
    left = None if pace is None else pace.seconds_left(waiting.events)
    return {
        "messages": waiting.messages,
        "arriving_per_second": None if pace is None else round(pace.arriving_per_second, 1),
        "handled_per_second": None if pace is None else round(pace.handled_per_second, 1),
        "outrun": pace is not None and pace.outrun,
        "seconds_left": None if left is None else round(left, 1),
        "memory_bytes": None if room is None else room.used,
        "memory_bytes_max": None if room is None else room.most,
    }


def overdue_ticks(status: Mapping[str, Any], now: datetime) -> list[str]:
    """Return the ticks of a status that have not run for three of their intervals.

    One that never ran is late by when the first program was applied, where any other has run: the
    first slot of a day's tick may be hours ahead.
    """
    last = {tick["name"]: tick["last"] for tick in status["ticks"]}
    since = status["since"] if any(last.values()) else None
    return [
        tick.name
        for tick in TICKS
        if (ran_at := last[tick.name] or since) is None or now - ran_at > STALE_SLOTS * tick.every
    ]


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else round(max(0.0, (now - since).total_seconds()), 3)
