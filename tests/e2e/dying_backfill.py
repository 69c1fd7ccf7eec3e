"""A process that runs a backfill's chunks, and kills itself with SIGKILL at a point of one.

    python -m tests.e2e.dying_backfill POINT ID STEP

It dies in the chunk STEP: at "in-effects", before what the chunk did is committed, at
"before-commit", with the next cursor written too, or at "after-commit", before the next is asked
for. A point "none" runs to the end.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from jobs.backfills import ACTIVE, run_chunk
from models.statements import backfills as statements
from worker.backfilling import BackfillRunner
from worker.clock import utc_now
from worker.runtime import open_runtime
from worker.settings import Settings

POINTS = ("in-effects", "before-commit", "after-commit")


def die() -> None:
    """End this process as the kernel would when memory is out."""
    os.kill(os.getpid(), signal.SIGKILL)


def run(runner: BackfillRunner, backfill_id: int, point: str, last_step: int) -> None:
    """Run chunk after chunk, and die in one of them."""
    put_step = statements.put_step

    def put_step_or_die(connection: Any, backfill: Any, step: Any) -> None:
        if backfill.step == last_step and point == "in-effects":
            die()
        put_step(connection, backfill, step)
        if backfill.step == last_step and point == "before-commit":
            die()

    setattr(statements, "put_step", put_step_or_die)  # noqa: B010 - a module has no such type
    with runner.context.engine.connect() as connection:
        backfill = statements.read_backfill(connection, backfill_id)
    while backfill is not None and backfill.state in ACTIVE:
        step = backfill.step
        backfill = run_chunk(runner.context, backfill_id, step, utc_now)
        if step == last_step and point == "after-commit":
            die()


if __name__ == "__main__":
    with open_runtime(Settings.load()) as runtime:
        run(runtime.backfills, int(sys.argv[2]), sys.argv[1], int(sys.argv[3]))
