"""What answers each tick: a call with the present instant, which says how much it did.

Each finds what is due in Postgres or in the broker, so that one run more, late or beside another
does no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from dramatiq import Broker
from sqlalchemy import Engine

from jobs.finalize_runs import finalize_due_runs, open_runs
from jobs.recompute_users import recompute_stale
from jobs.sweep_streaks import sweep_streaks
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from worker.projecting import Projector
from worker.queues import read_applied_until
from worker.recovery import recover_messages

Sweep = Callable[[datetime], Mapping[str, int]]
USERS_PER_SWEEP_MAX = 2_000
"""Users that one sweep folds anew: some seconds' work, so that no message is held for long."""
SECONDS_PER_SWEEP_MAX = 4.0
"""How long one sweep goes on; what is left is for the next, and for those that run beside it."""


def build_sweeps(
    *,
    engine: Engine,
    rulebooks: Rulebooks,
    rankings: Rankings,
    projector: Projector,
    broker: Broker,
    broker_url: str,
) -> dict[str, Sweep]:
    """Return the sweeps by the names of their ticks."""

    def streaks(now: datetime) -> Mapping[str, int]:
        began = time.monotonic()
        done = 0
        for users in sweep_streaks(engine, rulebooks, now, touched=projector.wake):
            done += users
            if time.monotonic() > began + SECONDS_PER_SWEEP_MAX:
                break
        return {"users": done}

    def recompute(now: datetime) -> Mapping[str, int]:
        done = recompute_stale(engine, rulebooks, now, users_max=USERS_PER_SWEEP_MAX)
        if done:
            projector.wake()
        return {"users": done}

    def leaderboards(now: datetime) -> Mapping[str, int]:
        opened, final = open_runs(engine, rulebooks, now), 0
        applied_until = read_applied_until(broker, now)
        if applied_until is not None:
            final = finalize_due_runs(engine, rulebooks, rankings, applied_until)
        return {"open": opened, "final": final}

    return {
        "sweep-streaks": streaks,
        "sweep-leaderboards": leaderboards,
        "project-rankings": lambda _: {"batches": projector.project()},
        "recover-messages": lambda _: {"rejected": recover_messages(broker, broker_url)},
        "recompute-users": recompute,
    }
