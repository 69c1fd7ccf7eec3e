"""What answers each tick: a call with the present instant, which says how much it did.

Each finds what is due in Postgres or in the broker, so that one run more, late or beside another
does no harm. Where many streaks are due at once, as at a midnight that many users share, the sweep
calls the other processes to help, and each goes on until nothing is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TypeVar

import structlog
from dramatiq import Broker
from sqlalchemy import Engine

from jobs.close_ledgers import BeingReloaded, KeptTooShort, close_ledgers
from jobs.compare_warehouse import compare_warehouse
from jobs.finalize_runs import finalize_due_runs, open_runs
from jobs.follow_calendar import follow_calendar
from jobs.load_warehouse import load_warehouse
from jobs.plan_emails import plan_emails
from jobs.recompute_users import recompute_stale
from jobs.snapshot_ranks import snapshot_ranks
from jobs.sweep_streaks import USERS_PER_TRANSACTION, sweep_streaks
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.warehouse.engine import Warehouse, WarehouseUnavailable
from worker.backfilling import BackfillRunner
from worker.clock import utc_now
from worker.mailing.mailer import Mailer
from worker.metrics import EMAILS, PROJECTION_SECONDS
from worker.projecting import Projector
from worker.queues import is_crowded, read_applied_until
from worker.recovery import recover_messages, replay_unknown
from worker.zones import tzdata_version

log = structlog.get_logger(__name__)

Sweep = Callable[[datetime], Mapping[str, int]]
Part = TypeVar("Part")
USERS_PER_SWEEP_MAX = 2_000
"""Users that one sweep folds anew: some seconds' work, so that no message is held for long."""
SECONDS_PER_SWEEP_MAX = 10.0
"""How long one sweep goes on: a process that is told to stop has 20 s. The rest is for the next."""
CALLS_APART_SECONDS = 0.25
"""How long after a call for help the next one comes, while there is more to do. Any process may
take it, and one that sweeps already drops it: so calls come one at a time, each a chance for all,
instead of many at once, of which one process would take most."""
LOAD_SECONDS_IN_A_CROWD = 0.5
LOAD_SHARE_IN_A_CROWD = 0.05
"""Of the time, and how long at once: a load keeps both servers and this process busy, so that a
tenth of the time cost live events 17 of a hundred. The warehouse catches up when fewer wait."""
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
    mailer: Mailer,
    backfills: BackfillRunner,
    events_kept: timedelta | None,
) -> dict[str, Sweep]:
    """Return the sweeps by the names of their ticks, and the one that helps.

    Events leave Postgres after `events_kept`; with None they stay.
    """
    streaks = _StreakSweep(engine, rulebooks, projector, broker)
    return {
        "sweep-streaks": streaks,
        "sweep-leaderboards": _leaderboards(engine, rulebooks, rankings, broker),
        "project-rankings": lambda _: {"batches": projector.project()},
        "recover-messages": lambda _: {
            "rejected": recover_messages(broker, broker_url),
            "unknown": replay_unknown(engine, broker),
        },
        "recompute-users": _recompute(engine, rulebooks, projector),
        "load-warehouse": _waiting(_alone(_LoadSweep(engine, warehouse, broker))),
        "snapshot-ranks": _waiting(
            lambda now: {"standings": snapshot_ranks(engine, rulebooks, rankings, warehouse, now)}
        ),
        "plan-emails": _plan(engine, rulebooks),
        "send-emails": _alone(_send(mailer)),
        "recover-backfills": lambda now: {
            "backfills": backfills.recover(now),
            "lost_boards": backfills.heal_rankings(now),
            "cleared_rows": backfills.clear(),
        },
        "close-ledgers": _waiting(_close(engine, rulebooks, warehouse, events_kept)),
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
        done += sum(_for_a_while(follow_calendar(engine, rulebooks, tzdata_version(), now)))
        if done:
            projector.wake()
        return {"users": done}

    return sweep


def _plan(engine: Engine, rulebooks: Rulebooks) -> Sweep:
    def sweep(now: datetime) -> Mapping[str, int]:
        return {"emails": sum(_for_a_while(plan_emails(engine, rulebooks, now)))}

    return sweep


def _send(mailer: Mailer) -> Sweep:
    def sweep(_now: datetime) -> Mapping[str, int]:
        sent = 0
        for settled in _for_a_while(mailer.send(utc_now)):
            for one in settled:
                EMAILS.labels(one.state.value).inc()
            sent += len(settled)
        return {"emails": sent}

    return sweep


def _close(
    engine: Engine, rulebooks: Rulebooks, warehouse: Warehouse, kept: timedelta | None
) -> Sweep:
    def sweep(now: datetime) -> Mapping[str, int]:
        if kept is None:
            return {"events": 0}
        found = compare_warehouse(engine, warehouse, ["events"])
        if found.mismatches or found.unfinished:
            log.error("ledgers_stay_open", mismatches=found.mismatches, loading=found.unfinished)
            return {"events": 0}
        try:
            parts = close_ledgers(engine, rulebooks, now, kept=kept, loaded=found.loaded["events"])
            return {"events": sum(events for _, events in parts)}
        except (KeptTooShort, BeingReloaded) as error:
            log.error("ledgers_stay_open", error=str(error))
            return {"events": 0}

    return sweep


def _for_a_while(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield what is done part by part until the time of a sweep is up."""
    began = time.monotonic()
    for part in parts:
        yield part
        if time.monotonic() > began + SECONDS_PER_SWEEP_MAX:
            return


def _alone(sweep: Sweep) -> Sweep:
    """Sweep once at a time in this process: the call that finds another at work does nothing."""
    sweeping = Lock()

    def try_sweep(now: datetime) -> Mapping[str, int]:
        if not sweeping.acquire(blocking=False):
            return {}
        try:
            return sweep(now)
        finally:
            sweeping.release()

    return try_sweep


def _waiting(sweep: Sweep) -> Sweep:
    """Leave it to the next tick where the warehouse cannot be had: what waits is in Postgres."""

    def try_sweep(now: datetime) -> Mapping[str, int]:
        try:
            return sweep(now)
        except WarehouseUnavailable as error:
            log.warning("warehouse_waits", error=str(error)[:200])
            return {}

    return try_sweep


class _LoadSweep:
    """Loads the warehouse, and gives way to a crowd of messages; one call at a time."""

    def __init__(self, engine: Engine, warehouse: Warehouse, broker: Broker) -> None:
        self._engine = engine
        self._warehouse = warehouse
        self._broker = broker
        self._rests_until = datetime.min.replace(tzinfo=UTC)

    def __call__(self, now: datetime) -> Mapping[str, int]:
        """Load for a while; of a share of the time alone where a crowd waits."""
        if now < self._rests_until and is_crowded(self._broker):
            return {"rows": 0}
        began = time.monotonic()
        rows = self._load(now, began)
        took = time.monotonic() - began
        self._rests_until = now + timedelta(seconds=took / LOAD_SHARE_IN_A_CROWD)
        if rows:
            PROJECTION_SECONDS.labels("warehouse").observe(took)
        return {"rows": rows}

    def _load(self, now: datetime, began: float) -> int:
        rows = 0
        for _, loaded in _for_a_while(load_warehouse(self._engine, self._warehouse, now)):
            rows += loaded
            if time.monotonic() > began + LOAD_SECONDS_IN_A_CROWD and is_crowded(self._broker):
                break
        return rows


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
