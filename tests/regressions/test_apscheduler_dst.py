"""What is due at a local time, on days on which the clocks change, and what comes late."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import dramatiq
import pytest
from apscheduler.events import (  # type: ignore[import-untyped] # has no types
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
)
from apscheduler.executors.base import run_job  # type: ignore[import-untyped] # as above
from apscheduler.job import Job  # type: ignore[import-untyped] # as above
from apscheduler.schedulers.background import (  # type: ignore[import-untyped] # as above
    BackgroundScheduler,
)
from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped] # as above
from dramatiq.brokers.stub import StubBroker

from models.rules.calendar import ONE_DAY, day_start
from models.rules.cron import Cron
from worker.schedule import TICKS
from worker.scheduler import build_scheduler

LATE = timedelta(seconds=5)
MIDNIGHT = {"hour": 0, "minute": 0}
HALF_PAST_ONE = {"hour": 1, "minute": 30}

odd_days = pytest.mark.parametrize(
    ("tz", "day", "clock", "stock_fires"),
    [
        ("America/Santiago", date(2026, 9, 6), MIDNIGHT, 0),  # 00:00 to 00:59 are missing
        ("Africa/Cairo", date(2026, 4, 24), MIDNIGHT, 0),
        ("America/Havana", date(2026, 11, 1), MIDNIGHT, 2),  # 00:00 to 00:59 come twice
        ("America/New_York", date(2026, 11, 1), HALF_PAST_ONE, 2),
    ],
)


def stock_fires_on(day: date, tz: str, clock: Mapping[str, int]) -> list[datetime]:
    """Return when APScheduler's cron in a zone fires on a date of it."""
    trigger = CronTrigger(timezone=ZoneInfo(tz), **clock)

    def fires() -> Iterator[datetime]:
        now = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(tz)) - ONE_DAY
        last = None
        while True:
            last = now = trigger.get_next_fire_time(last, now)
            yield last

    return [at for at in takewhile(lambda at: at.date() <= day, fires()) if at.date() == day]


@odd_days
def test_apscheduler_skips_a_day_or_fires_twice_on_it(
    tz: str, day: date, clock: Mapping[str, int], stock_fires: int
) -> None:
    assert len(stock_fires_on(day, tz, clock)) == stock_fires, (
        "APScheduler's cron has mended this; models/rules/cron.py answers other questions, too"
    )


@odd_days
def test_here_every_day_has_one_beginning_and_a_time_of_day_comes_once(
    tz: str, day: date, clock: Mapping[str, int], stock_fires: int
) -> None:
    starts = [day_start(day + n * ONE_DAY, tz) for n in (-1, 0, 1, 2)]
    assert all(start is not None for start in starts)
    assert starts == sorted(set(starts), key=str)
    cron = Cron.parse(f"{clock['minute']} {clock['hour']} * * *")
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(tz))
    fires = cron.fires_after((noon - ONE_DAY).astimezone(UTC), tz)
    assert fires is not None
    assert fires.astimezone(ZoneInfo(tz)).date() == day
    following = cron.fires_after(fires, tz)
    assert following is not None
    assert following.astimezone(ZoneInfo(tz)).date() == day + ONE_DAY


def outcome_of(job: Job, late: timedelta) -> int:
    """Return what becomes of a run that a scheduler comes to so late."""
    at = datetime.now(UTC) - late
    [event] = run_job(job, "default", [at], logging.getLogger().name)
    code: int = event.code
    return code


def test_apscheduler_drops_what_comes_late() -> None:
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.start(paused=True)
    try:
        job = scheduler.add_job(int, "interval", seconds=60)
        assert outcome_of(job, LATE) == EVENT_JOB_MISSED, "APScheduler waits longer by now"
    finally:
        scheduler.shutdown()


def test_here_a_tick_rings_though_it_comes_late() -> None:
    """All limits of all ticks are in tests/unit/test_schedule.py."""
    broker = StubBroker(middleware=[])
    [tick] = [one for one in TICKS if one.name == "recover-messages"]
    dramatiq.actor(broker=broker, queue_name=tick.queue, actor_name=tick.actor_name)(print)
    job = build_scheduler(broker, lambda: datetime.now(UTC)).get_job(tick.name)
    assert job.trigger.timezone == UTC
    assert outcome_of(job, LATE) == EVENT_JOB_EXECUTED
    assert broker.queues[tick.queue].qsize() == 1
