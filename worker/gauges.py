"""How far everything is, as Prometheus' gauges: read from the servers whenever they are asked for.

All processes would say the same: the scheduler says it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models.statements.backfills import SETTLED, State
from streakline.contract import EVENTS_QUEUE
from worker.clock import utc_now
from worker.outages import is_outage
from worker.queues import count_messages
from worker.runtime import Runtime
from worker.status import overdue_ticks, read_status

log = structlog.get_logger(__name__)


class StatusCollector(Collector):
    """How far everything is, read whenever Prometheus asks: the status, and messages by queue.

    Where a server cannot be reached there is `streakline_status_readable 0` and nothing else.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def describe(self) -> Iterator[Metric]:
        """Tell the registry of no metric before it is asked for: the servers may be down."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the status and yield it as gauges."""
        try:
            status = read_status(self._runtime)
            messages = count_messages(self._runtime.broker)
        except Exception as error:
            if not is_outage(error):
                log.exception("status_not_read")
            yield _plain("status_readable", "Whether the servers could be asked.", 0)
            return
        yield _plain("status_readable", "Whether the servers could be asked.", 1)
        yield from _gauges(status, utc_now())
        yield _by("queue", "queue_messages", "Messages that a queue holds.", messages)


def _gauges(status: Mapping[str, Any], now: datetime) -> Iterator[Metric]:
    waiting, oldest = status["waiting_events"], status["oldest_waiting_seconds"]
    yield _by("queue", "queue_events", "Events that wait to be applied.", {EVENTS_QUEUE: waiting})
    yield _by(
        "queue", "queue_oldest_seconds", "Since when the oldest waits.", {EVENTS_QUEUE: oldest}
    )
    yield _by(
        "projection",
        "projection_waiting_batches",
        "Batches that wait to be projected, once for each board.",
        {"rankings": status["rankings"]["waiting"]},
    )
    yield _by(
        "projection",
        "projection_lag_seconds",
        "How far a projection is behind Postgres.",
        {
            "rankings": status["rankings_lag_seconds"],
            "warehouse": status["warehouse"]["lag_seconds"],
        },
    )
    due = status["emails"]["due"]
    yield _plain("emails_due", "Emails that wait although it is their time.", due)
    warehouse = status["warehouse"]
    yield _by(
        "of",
        "warehouse_waiting_rows",
        "Rows that wait to be loaded, up to a million a table.",
        {"events": warehouse["waiting_events"], "others": warehouse["waiting_rows"]},
    )
    yield _plain(
        "warehouse_failing",
        "1 where the last load could not be sent.",
        warehouse["error"] is not None,
    )
    states = Counter(one["state"] for one in status["backfills"])
    yield _by(
        "state",
        "backfills",
        "Backfills that have not ended, by how far they are.",
        {state.value: states[state.value] for state in State if state not in SETTLED},
    )
    yield _plain("dead_messages", "Messages that were given up and kept.", status["dead_messages"])
    overdue = set(overdue_ticks(status, now))
    yield _by(
        "tick",
        "tick_overdue",
        "1 where a tick has not run for three intervals.",
        {tick["name"]: tick["name"] in overdue for tick in status["ticks"]},
    )


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"streakline_{name}", text, value=value)


def _by(label: str, name: str, text: str, values: Mapping[str, float]) -> Metric:
    """Return a gauge with a value for each of its label's."""
    found = GaugeMetricFamily(f"streakline_{name}", text, labels=[label])
    for of, value in values.items():
        found.add_metric([of], value)
    return found
