"""A real worker that kills itself with SIGKILL when it first comes to a point.

    python -m tests.e2e.dying_worker POINT

The points are those at which a crash could lose or double something. What runs up to there is the
worker's own code; only the last moment is ours.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from dramatiq.brokers.redis import _RedisConsumer

import models.statements.events
import worker.actors
from worker.cli import main

POINTS: dict[str, tuple[Any, str]] = {
    # the last statement of the transaction
    "before-commit": (models.statements.events, "count_outcomes"),
    "before-projection": (worker.actors, "project_rankings"),
    "before-ack": (_RedisConsumer, "ack"),
}


def die_at(point: str) -> None:
    """Replace the function that stands at the point by one that kills this process."""
    owner, name = POINTS[point]
    original: Callable[..., object] = getattr(owner, name)

    def die(*args: Any, **kwargs: Any) -> None:
        if point == "before-commit":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, die)


if __name__ == "__main__":
    die_at(sys.argv[1])
    sys.argv = ["streakline", "worker", "--queues", "events"]
    main()
