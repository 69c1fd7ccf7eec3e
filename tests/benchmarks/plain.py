"""Runs the plain way (`tests.benchmarks.plain_app`) on the same servers and measures it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from sqlalchemy import text

from streakline import Event
from streakline.contract import instant_text
from tests.benchmarks.harness import (
    PROCESSES,
    Bench,
    environment,
    measure_rate,
    running,
    script,
)

THREADS = 8
"""Dramatiq's default."""
APP = "tests.benchmarks.plain_app"
"""One metric, one streak, one trigger, two boards."""
RULES_APP = "tests.benchmarks.plain_rules_app"
"""All rules of the language app."""
ENQUEUE = """
import json, sys
from importlib import import_module
app = import_module(sys.argv[1])
Base, apply_event, engine = app.Base, app.apply_event, app.engine
Base.metadata.create_all(engine)
for arguments in json.load(sys.stdin):
    apply_event.send(*arguments)
"""
QUEUE = "dramatiq:default.msgs"


def plain_rate(bench: Bench, events: Sequence[Event], app: str = APP) -> float:
    """Return the events per second of an app written the plain way, from a full queue."""
    _fill_queue(bench, events, app)

    def applied() -> int:
        with bench.engine.connect() as connection:
            return int(connection.execute(text("select count(*) from plain_events")).scalar_one())

    def is_finished() -> bool:
        return not bench.broker_redis.hlen(QUEUE)

    command = (
        *(script("dramatiq"), app),
        *("--processes", str(PROCESSES), "--threads", str(THREADS)),
    )
    with running(bench, command, 1):
        return measure_rate(applied, len(events), is_finished)


def _fill_queue(bench: Bench, events: Sequence[Event], app: str) -> None:
    rows = [
        (
            event.user_id,
            event.metric,
            event.key,
            int(event.value),
            instant_text(event.occurred_at),
            *event.attributes.values(),
        )
        for event in events
        if event.occurred_at is not None
    ]
    subprocess.run(
        [sys.executable, "-c", ENQUEUE, app],
        input=json.dumps(rows).encode(),
        env=environment(bench),
        check=True,
    )
