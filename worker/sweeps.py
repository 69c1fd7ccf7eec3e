"""What answers each tick: a call with the present instant, which says how much it did.

Each finds what is due in Postgres or in the broker, so that one run more, late or beside another
does no harm. Where many streaks are due at once, as at a midnight that many users share, the sweep
calls the other processes to help, and each goes on until nothing is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Lock

import structlog
from dramatiq import Broker
from sqlalchemy import Engine

from jobs.finalize_runs import finalize_due_runs, open_runs
from jobs.follow_calendar import follow_calendar
from jobs.load_warehouse import load_warehouse
from jobs.recompute_users import recompute_stale
from jobs.snapshot_ranks import snapshot_ranks
from jobs.sweep_streaks import USERS_PER_TRANSACTION, sweep_streaks
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.warehouse.engine import Warehouse, WarehouseUnavailable
from worker.clock import utc_now
from worker.metrics import PROJECTION_SECONDS
from worker.projecting import Projector
from worker.queues import read_applied_until
from worker.recovery import recover_messages
from worker.zones import tzdata_version

log = structlog.get_logger(__name__)

Sweep = Callable[[datetime], Mapping[str, int]]
USERS_PER_SWEEP_MAX = 2_000
"""Users that one sweep folds anew: some seconds' work, so that no message is held for long."""
SECONDS_PER_SWEEP_MAX = 10.0
"""How long one sweep goes on: a process that is told to stop has 20 s. The rest is for the next."""
CALLS_APART_SECONDS = 0.25
"""How long after a call for help the next one comes, while there is more to do. Any process may
take it, and one that sweeps already drops it: so calls come one at a time, each a chance for all,
instead of many at once, of which one process would take most."""
HELP_SWEEP = "help-sweep-streaks"
HELP_SWEEP_ACTOR = "help_sweep_streaks"


def build_sweeps(
    *,
    engine: Engine,
    rulebooks: Rulebooks,
    rankings: Rankings,
    warehouse: Warehouse,
    projector: Projector,
    broker: Broker,
    broker_url: str,
) -> dict[str, Sweep]:
    """Return the sweeps by the names of their ticks, and the one that helps."""
    streaks = _StreakSweep(engine, rulebooks, projector, broker)
    return {
        "sweep-streaks": streaks,
        "sweep-leaderboards": _leaderboards(engine, rulebooks, rankings, broker),
        "project-rankings": lambda _: {"batches": projector.project()},
        "recover-messages": lambda _: {"rejected": recover_messages(broker, broker_url)},
        "recompute-users": _recompute(engine, rulebooks, projector),
        "load-warehouse": _waiting(_load(engine, warehouse)),
        "snapshot-ranks": _waiting(
            lambda now: {"standings": snapshot_ranks(engine, rulebooks, rankings, warehouse, now)}
        ),
        HELP_SWEEP: streaks,
    }


def _leaderboards(
    engine: Engine, rulebooks: Rulebooks, rankings: Rankings, broker: Broker
) -> Sweep:
    def sweep(now: datetime) -> Mapping[str, int]:
        opened, final = open_runs(engine, rulebooks, now), 0
        applied_until = read_applied_until(broker, now)
        if applied_until is not None:
            final = finalize_due_runs(engine, rulebooks, rankings, applied_until)
        return {"open": opened, "final": final}

    return sweep


def _recompute(engine: Engine, rulebooks: Rulebooks, projector: Projector) -> Sweep:
    def sweep(now: datetime) -> Mapping[str, int]:
        done = recompute_stale(engine, rulebooks, now, users_max=USERS_PER_SWEEP_MAX)
        began = time.monotonic()
        for users in follow_calendar(engine, rulebooks, tzdata_version(), now):
            done += users
            if time.monotonic() > began + SECONDS_PER_SWEEP_MAX:
                break
        if done:
            projector.wake()
        return {"users": done}

    return sweep


def _load(engine: Engine, warehouse: Warehouse) -> Sweep:
    def sweep(now: datetime) -> Mapping[str, int]:
        rows, began = 0, time.monotonic()
        for _, loaded in load_warehouse(engine, warehouse, now):
            rows += loaded
            if time.monotonic() > began + SECONDS_PER_SWEEP_MAX:
                break
        if rows:
            PROJECTION_SECONDS.labels("warehouse").observe(time.monotonic() - began)
        return {"rows": rows}

    return sweep


def _waiting(sweep: Sweep) -> Sweep:
    """Leave it to the next tick where the warehouse cannot be had: what waits is in Postgres."""

    def try_sweep(now: datetime) -> Mapping[str, int]:
        try:
            return sweep(now)
        except WarehouseUnavailable as error:
            log.warning("warehouse_waits", error=str(error)[:200])
            return {}

    return try_sweep


class _StreakSweep:
    """Sweeps streaks, once at a time in this process, and calls others to help."""

    def __init__(
        self, engine: Engine, rulebooks: Rulebooks, projector: Projector, broker: Broker
    ) -> None:
        self._engine = engine
        self._rulebooks = rulebooks
        self._projector = projector
        self._broker = broker
        self._sweeping = Lock()

    def __call__(self, now: datetime) -> Mapping[str, int]:
        """Sweep for a while, calling for help while much is due, and to go on at the end."""
        if not self._sweeping.acquire(blocking=False):
            return {"users": 0}
        done, began = 0, time.monotonic()
        call_at = began
        try:
            parts = sweep_streaks(self._engine, self._rulebooks, now, touched=self._projector.wake)
            for users in parts:
                done += users
                if users < USERS_PER_TRANSACTION:
                    return {"users": done}
                if time.monotonic() > began + SECONDS_PER_SWEEP_MAX:
                    break
                if time.monotonic() > call_at:
                    call_for_help(self._broker)
                    call_at = time.monotonic() + CALLS_APART_SECONDS
        finally:
            self._sweeping.release()
        call_for_help(self._broker)
        return {"users": done}


def call_for_help(broker: Broker) -> None:
    """Ask for a process that helps to sweep streaks, whichever takes the message."""
    broker.get_actor(HELP_SWEEP_ACTOR).send(utc_now().isoformat())
