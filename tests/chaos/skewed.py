"""`streakline` on a machine whose clock is wrong.

    python -m tests.chaos.skewed SECONDS WORDS...

Both clocks that the processes read are moved: ours (`worker.clock`) and that by which Dramatiq
dates its heartbeats. Monotonic clocks, which measure, stay as they are on such a machine, too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import worker.clock


def skew(seconds: float) -> None:
    """Move the clocks of this process; to be called before anything else of ours is imported."""
    real: Callable[[], float] = time.time
    worker.clock.utc_now = lambda: datetime.now(UTC) + timedelta(seconds=seconds)
    time.time = lambda: real() + seconds


if __name__ == "__main__":
    skew(float(sys.argv[1]))
    sys.argv = ["streakline", *sys.argv[2:]]
    from worker.cli import main

    main()
