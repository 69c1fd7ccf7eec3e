"""What this process did, as Prometheus counts it; the sum over all processes is all that was done.

Names follow Prometheus' conventions: base units, and `_total` for what only grows.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from models.statements.events import Outcome

# Prometheus tells a counter that began anew without being told when.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

EVENTS = Counter(
    "streakline_events", "Events by what became of them.", ["outcome"], registry=REGISTRY
)
for outcome in Outcome:
    EVENTS.labels(outcome.value)  # 0 is there before the first
EMAILS = Counter(
    "streakline_emails", "Emails by what became of them.", ["state"], registry=REGISTRY
)
BATCH_EVENTS = Histogram(
    "streakline_batch_events",
    "Events and users of a message that were applied together.",
    buckets=(1, 5, 10, 50, 100, 250, 500, 1_000, 2_000),
    registry=REGISTRY,
)
BATCH_SECONDS = Histogram(
    "streakline_batch_seconds", "How long a batch took.", buckets=SECONDS, registry=REGISTRY
)
APPLY_SECONDS = Histogram(
    "streakline_apply_latency_seconds",
    "From when the client received the events of a message until they were applied.",
    buckets=SECONDS,
    registry=REGISTRY,
)
PROJECTION_SECONDS = Histogram(
    "streakline_projection_seconds",
    "How long a round of projecting took.",
    ["projection"],
    buckets=SECONDS,
    registry=REGISTRY,
)
TICK_LATENESS_SECONDS = Histogram(
    "streakline_tick_lateness_seconds",
    "From the instant of a tick's slot until its sweep began.",
    ["tick"],
    buckets=SECONDS,
    registry=REGISTRY,
)
SWEEP_SECONDS = Histogram(
    "streakline_sweep_seconds",
    "How long a sweep took.",
    ["tick"],
    buckets=SECONDS,
    registry=REGISTRY,
)
SWEEP_ITEMS = Histogram(
    "streakline_sweep_items",
    "How many users, runs, batches or messages a sweep handled.",
    ["tick", "item"],
    buckets=SIZES,
    registry=REGISTRY,
)
