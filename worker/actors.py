"""Dramatiq's wrappers around the jobs: decode a message, call one job, let errors speak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dramatiq import Broker, actor
from sqlalchemy import Engine

from jobs.apply_events import Item, Kind, Received, apply_all, apply_free, decode
from models.rulebooks import Rulebooks
from models.rules.acceptance import OCCURRED_AT_MIN
from models.statements.ticks import claim_slot
from streakline.contract import (
    AHEAD_MAX,
    APPLY_EVENTS_ACTOR,
    EVENTS_PER_MESSAGE_MAX,
    EVENTS_QUEUE,
    IDENTIFY_USERS_ACTOR,
    read_instant,
)
from streakline.errors import InvalidEvent
from worker.asking import ASK_ACTOR, Answers
from worker.backfilling import RUN_ACTOR, BackfillRunner
from worker.broker import EVENTS_AT_ONCE_MAX, GatheringBroker
from worker.clock import utc_now
from worker.combining import Combiner
from worker.metrics import (
    APPLY_SECONDS,
    BATCH_EVENTS,
    BATCH_SECONDS,
    EVENTS,
    SWEEP_ITEMS,
    SWEEP_SECONDS,
    TICK_LATENESS_SECONDS,
)
from worker.projecting import Projector
from worker.retries import MalformedMessage
from worker.schedule import (
    ANALYTICS_QUEUE,
    BACKFILLS_QUEUE,
    SWEEPS_QUEUE,
    TICKS,
    Tick,
)
from worker.sweeps import HELP_SWEEP, HELP_SWEEP_ACTOR, Sweep

CALL_SECONDS_MAX = 10.0
"""A call for help that is older is left: the next tick calls again where help is still needed."""


def declare_actors(
    broker: Broker,
    *,
    engine: Engine,
    rulebooks: Rulebooks,
    projector: Projector,
    sweeps: Mapping[str, Sweep],
    answers: Answers,
    backfills: BackfillRunner,
    threads: int,
) -> None:
    """Declare every actor on the broker; `sweeps` answer the ticks of their names, `answers` ask.

    `threads` are those of the worker: so many messages may wait for one batch.
    """
    combiner = _combine(engine, rulebooks, projector, crowd=max(1, threads // 2))
    if isinstance(broker, GatheringBroker):
        broker.begun[EVENTS_QUEUE] = combiner.count_begun

    def submit(kind: Kind, raw: Any, received_at: Any, *, imported: bool = False) -> None:
        instant = _read_received_at(received_at)
        combiner.submit(_decode(kind, raw, instant, imported=imported))
        APPLY_SECONDS.observe((utc_now() - instant).total_seconds())

    def apply_events_actor(events: Any, received_at: Any, imported: bool = False) -> None:
        submit(Kind.EVENT, events, received_at, imported=imported)

    def identify_users_actor(users: Any, received_at: Any) -> None:
        submit(Kind.USER, users, received_at)

    def declare(name: str, queue: str, function: Callable[..., None]) -> None:
        actor(broker=broker, actor_name=name, queue_name=queue)(function)

    declare(APPLY_EVENTS_ACTOR, EVENTS_QUEUE, apply_events_actor)
    declare(IDENTIFY_USERS_ACTOR, EVENTS_QUEUE, identify_users_actor)

    for tick in TICKS:
        declare(tick.actor_name, tick.queue, _answer(tick, engine, sweeps[tick.name]))
    declare(HELP_SWEEP_ACTOR, SWEEPS_QUEUE, _help(sweeps[HELP_SWEEP]))
    declare(ASK_ACTOR, ANALYTICS_QUEUE, answers.answer)
    declare(RUN_ACTOR, BACKFILLS_QUEUE, backfills.run)


def _combine(
    engine: Engine, rulebooks: Rulebooks, projector: Projector, *, crowd: int
) -> Combiner[Item]:
    def apply(items: list[Item], *, patient: bool) -> Sequence[Item]:
        left: Sequence[Item] = ()
        BATCH_EVENTS.observe(len(items))
        with BATCH_SECONDS.time():
            if patient:
                applied = apply_all(engine, rulebooks, items, utc_now())
            else:
                applied, left = apply_free(engine, rulebooks, items, utc_now())
        for outcome, events in applied.outcomes.items():
            EVENTS.labels(outcome.value).inc(events)
        if applied.touched:
            projector.wake()
        return left

    return Combiner(apply, items_max=EVENTS_AT_ONCE_MAX, crowd=crowd)


def _decode(kind: Kind, items: Any, received_at: datetime, *, imported: bool) -> list[Item]:
    if not isinstance(items, list):
        raise MalformedMessage(f"carries {type(items).__name__} instead of a list")
    if len(items) > EVENTS_PER_MESSAGE_MAX:
        raise MalformedMessage(
            f"carries {len(items)} events; at most {EVENTS_PER_MESSAGE_MAX} are allowed"
        )
    return decode(
        Received(kind=kind, raw=item, received_at=received_at, imported=imported is True)
        for item in items
    )


def _read_received_at(text: Any) -> datetime:
    instant = _read_instant("received_at", text)
    # What it dates would be dated so for ever.
    if not OCCURRED_AT_MIN <= instant <= utc_now() + AHEAD_MAX:
        raise MalformedMessage(f"received_at: {text} is no time at which a client can have sent it")
    return instant


def _read_instant(name: str, text: Any) -> datetime:
    try:
        return read_instant(name, text)
    except InvalidEvent as error:
        raise MalformedMessage(str(error)) from None


def _answer(tick: Tick, engine: Engine, sweep: Sweep) -> Callable[[str], None]:
    def answer(slot: str) -> None:
        instant = _read_instant("slot", slot)
        if tick.is_stale(instant, utc_now()):
            return
        with engine.begin() as connection:
            claimed = claim_slot(connection, tick.name, instant)
        if claimed:
            TICK_LATENESS_SECONDS.labels(tick.name).observe((utc_now() - instant).total_seconds())
            _measured(tick.name, sweep)

    return answer


def _help(sweep: Sweep) -> Callable[[str], None]:
    def help_sweep(called_at: str) -> None:
        called = _read_instant("called_at", called_at)
        if (utc_now() - called).total_seconds() < CALL_SECONDS_MAX:
            _measured(HELP_SWEEP, sweep)

    return help_sweep


def _measured(name: str, sweep: Sweep) -> None:
    with SWEEP_SECONDS.labels(name).time():
        done = sweep(utc_now())
    for item, count in done.items():
        SWEEP_ITEMS.labels(name, item).observe(count)
