"""The timetable: slots counted from 1970 in UTC, with every limit of the scheduler set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dramatiq import Broker
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from jobs.backfills import Context
from models.database import open_engine
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.warehouse.engine import Warehouse
from worker.actors import declare_actors
from worker.asking import Answers
from worker.backfilling import BackfillRunner, put_back_on
from worker.broker import open_redis_broker
from worker.mailing.mailer import Mailer
from worker.projecting import Projector
from worker.schedule import EPOCH, TICKS, Tick
from worker.scheduler import build_scheduler
from worker.settings import Settings
from worker.sweeps import build_sweeps

UNREACHABLE_URL = "redis://127.0.0.1:1/0"
NOW = datetime(2026, 11, 23, 9, 0, 3, 500_000, tzinfo=UTC)
TEN = Tick(name="recover-messages", every=timedelta(seconds=10))
INSTANTS = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis takes the zone apart
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)
each_tick = pytest.mark.parametrize("tick", TICKS, ids=lambda tick: tick.name)


def at(second: float) -> datetime:
    return datetime(2026, 11, 23, 9, tzinfo=UTC) + timedelta(seconds=second)


def jobs(broker: Broker) -> dict[str, Any]:
    """Return APScheduler's jobs by id, as they stand before the scheduler is started."""
    return {job.id: job for job in build_scheduler(broker, lambda: NOW).get_jobs()}


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker with all our actors; its server and theirs cannot be reached."""
    broker = open_redis_broker(UNREACHABLE_URL, "none")
    engine = open_engine("postgresql+psycopg://127.0.0.1:1/none", connections_max=1)
    rulebooks, projector = Rulebooks(), Projector(lambda: 0)
    rankings = Rankings(broker.client, "none")
    context = Context(
        engine=engine, rulebooks=rulebooks, rankings=rankings, put_back=put_back_on(broker)
    )
    backfills = BackfillRunner(context, broker, projector.wake)
    warehouse = Warehouse("chdb:///nowhere")
    sweeps = build_sweeps(
        engine=engine,
        rulebooks=rulebooks,
        rankings=rankings,
        warehouse=warehouse,
        projector=projector,
        broker=broker,
        broker_url=UNREACHABLE_URL,
        mailer=Mailer(engine, rulebooks, Settings()),
        backfills=backfills,
        events_kept=None,
    )
    declare_actors(
        broker,
        engine=engine,
        rulebooks=rulebooks,
        projector=projector,
        sweeps=sweeps,
        answers=Answers(engine, warehouse, broker.client, "none"),
        backfills=backfills,
        threads=1,
    )
    yield broker
    broker.client.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("now", "slot"),
    [
        (at(0), at(0)),
        (at(0.000001), at(0)),
        (at(9.999999), at(0)),
        (at(10), at(10)),
        (EPOCH, EPOCH),
    ],
)
def test_a_slot_is_named_by_its_first_instant(now: datetime, slot: datetime) -> None:
    assert TEN.slot(now) == slot
    assert TEN.next_slot(now) == slot + TEN.every


@given(now=INSTANTS, seconds=st.integers(min_value=1, max_value=100_000))
def test_slots_are_multiples_from_the_epoch_and_leave_no_gap(now: datetime, seconds: int) -> None:
    tick = Tick(name="any", every=timedelta(seconds=seconds))
    slot = tick.slot(now)
    assert (slot - EPOCH) % tick.every == timedelta(0)
    assert slot <= now < tick.next_slot(now)
    assert tick.slot(tick.next_slot(now)) == tick.next_slot(now)


def test_an_hour_that_the_clocks_show_twice_has_slots_of_its_own() -> None:
    """New York goes back at 06:00 UTC on 1 November 2026: 01:30 comes twice."""
    new_york = ZoneInfo("America/New_York")
    first, second = (datetime(2026, 11, 1, 1, 30, tzinfo=new_york, fold=fold) for fold in (0, 1))
    slots = [TEN.slot(one.astimezone(UTC)) for one in (first, second)]
    assert slots[1] - slots[0] == timedelta(hours=1)


def test_ticks_have_names_and_actors_of_their_own() -> None:
    assert len({tick.name for tick in TICKS}) == len(TICKS)
    assert len({tick.actor_name for tick in TICKS}) == len(TICKS)


def test_the_scheduler_has_every_tick_and_nothing_else(broker: Broker) -> None:
    assert sorted(jobs(broker)) == sorted(tick.name for tick in TICKS)


@each_tick
def test_a_missed_tick_rings_once_and_one_that_runs_is_not_rung_again(
    tick: Tick, broker: Broker
) -> None:
    """APScheduler's own grace is a second: it drops what is later, and says nothing."""
    job = jobs(broker)[tick.name]
    assert job.coalesce is True
    assert job.max_instances == 1
    assert job.misfire_grace_time == tick.every.total_seconds()


@each_tick
def test_the_scheduler_rings_at_the_slots_in_utc(tick: Tick, broker: Broker) -> None:
    trigger = jobs(broker)[tick.name].trigger
    rings = trigger.get_next_fire_time(None, NOW)
    assert rings == tick.next_slot(NOW)
    assert rings.utcoffset() == timedelta(0)
    assert trigger.get_next_fire_time(rings, rings) == rings + tick.every


@each_tick
def test_the_actor_of_each_tick_is_declared(tick: Tick, broker: Broker) -> None:
    actor = broker.get_actor(tick.actor_name)
    assert actor.queue_name == tick.queue


@each_tick
def test_a_ring_that_cannot_be_sent_is_told_and_does_not_stop_the_scheduler(
    tick: Tick, broker: Broker
) -> None:
    job = jobs(broker)[tick.name]
    with capture_logs() as logs:
        job.func(*job.args)
    [line] = logs
    assert (line["event"], line["tick"]) == ("tick_not_sent", tick.name)
    assert line["slot"] == tick.slot(NOW).isoformat()
