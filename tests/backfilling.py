"""Backfills in tests: a context, and short ways to start one and to run it to its end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from jobs.backfills import ACTIVE, Backfill, By, Context, run_chunk, start_backfill
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.statements.backfills import State, read_backfill
from models.warehouse.engine import Warehouse
from streakline.redis_connection import open_any_redis
from tests.applying import NOW
from worker.asking import Answers

OPS = By(actor="ops", reason="a test")
ONE_SECOND = timedelta(seconds=1)


class PutBack:
    """Keeps the messages that a backfill puts back on their queues."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, body: bytes) -> None:
        self.bodies.append(body)


@contextmanager
def opened_context(
    engine: Engine, redis_url: str, namespace: str, warehouse: Warehouse | None = None
) -> Iterator[Context]:
    """Open a context with the rankings under a namespace of the test's own.

    The warehouse is asked in this process, where there is one.
    """
    with closing(open_any_redis(redis_url)) as redis:
        context = Context(
            engine=engine,
            rulebooks=Rulebooks(),
            rankings=Rankings(redis, namespace),
            put_back=PutBack(),
        )
        if warehouse is None:
            yield context
            return
        answers = Answers(engine, warehouse, redis, namespace)
        yield replace(
            context,
            ask_warehouse=lambda question, **parameters: answers.find(question, parameters),
        )


def start(context: Context, kind: str, parameters: Mapping[str, Any], **options: Any) -> int:
    """Start a backfill as an operator would."""
    return start_backfill(context, kind, parameters, by=OPS, now=NOW, **options)


def read(context: Context, backfill_id: int) -> Backfill:
    """Return a backfill that there is."""
    with context.engine.connect() as connection:
        backfill = read_backfill(connection, backfill_id)
    assert backfill is not None
    return backfill


def counts(changes: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return what a backfill changes, without its examples."""
    return {
        name: {how: count for how, count in change.items() if how != "samples"}
        for name, change in changes.items()
    }


def chunks(context: Context, backfill_id: int) -> Iterator[Backfill]:
    """Run chunk by chunk until it is not active any more; a second passes with each reading."""
    clock = (NOW + number * ONE_SECOND for number in itertools.count())

    def now() -> datetime:
        return next(clock)

    backfill = read(context, backfill_id)
    while backfill.state in ACTIVE:
        ran = run_chunk(context, backfill_id, backfill.step, now)
        assert ran is not None, "its step was due"
        backfill = ran
        yield backfill


def run(context: Context, kind: str, parameters: Mapping[str, Any], **options: Any) -> Backfill:
    """Start a backfill and run it to its end, which must be a good one."""
    *_, last = chunks(context, start(context, kind, parameters, **options))
    assert last.state is State.DONE, last.error
    return last
