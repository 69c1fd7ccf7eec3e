"""The scheduler: rings the ticks of `worker.schedule` on time, and does nothing else.

APScheduler holds the timetable in memory and in UTC, and every limit is set: a tick that was missed
rings once, late, as long as its interval; one that still runs is not rung again. Any number of
schedulers may run: each message names its slot, and the first to claim it in Postgres does it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.background import (  # type: ignore[import-untyped] # has no types
    BackgroundScheduler,
)
from dramatiq import Broker

from worker.schedule import EPOCH, STALE_SLOTS, TICKS, Tick

log = structlog.get_logger(__name__)


def build_scheduler(broker: Broker, now: Callable[[], datetime]) -> BackgroundScheduler:
    """Return a scheduler with all ticks, not yet started."""
    scheduler = BackgroundScheduler(timezone=UTC)
    for tick in TICKS:
        scheduler.add_job(
            _ring,
            "interval",
            seconds=tick.every.total_seconds(),
            start_date=EPOCH,
            timezone=UTC,
            args=[broker, tick, now],
            id=tick.name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=int(tick.every.total_seconds()),
        )
    return scheduler


def is_ringing(scheduler: BackgroundScheduler, now: datetime) -> bool:
    """Tell whether no tick's next ring lies so far back that nobody can be ringing."""
    return scheduler.running and all(
        now - scheduler.get_job(tick.name).next_run_time <= STALE_SLOTS * tick.every
        for tick in TICKS
    )


def _ring(broker: Broker, tick: Tick, now: Callable[[], datetime]) -> None:
    slot = tick.slot(now())
    try:
        broker.get_actor(tick.actor_name).send(slot.isoformat())
    except Exception as error:
        # The next ring does what this one would have; what is due waits in Postgres.
        log.warning("tick_not_sent", tick=tick.name, slot=slot.isoformat(), error=str(error))
