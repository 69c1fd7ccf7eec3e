"""A real worker that kills itself with SIGKILL when it first comes to a point.

    python -m tests.e2e.dying_worker POINT QUEUE

The points are those at which a crash could lose or double something. What runs up to there is the
worker's own code; only the last moment is ours.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import models.statements.events
import models.statements.loads
import worker.runtime
from models.database import open_engine
from models.statements.boards import count_touches
from models.statements.events import Outcome
from models.warehouse.engine import Warehouse
from streakline.addresses import is_redis
from tests.waiting import wait_until
from worker.broker import GatheringBroker
from worker.cli import main
from worker.rabbitmq import TellingConsumer

POINTS: dict[str, tuple[Any, str]] = {
    # the last statement of a transaction in which something was applied
    "before-commit": (models.statements.events, "count_outcomes"),
    "before-projection": (worker.runtime, "project_rankings"),
    "before-ack": (GatheringBroker, "done"),
}
RABBITMQ_POINTS = POINTS | {"before-ack": (TellingConsumer, "ack")}
LOADING_POINTS: dict[str, tuple[Any, str]] = {
    # of what the warehouse is to have, in the order in which it comes there
    "frozen": (models.statements.loads, "lock_source"),
    "sent-in-part": (Warehouse, "insert"),
    "before-mark": (models.statements.loads, "mark_loaded"),
}


def die_at(point: str) -> None:
    """Replace the function that stands at the point by one that kills this process."""
    points = POINTS if is_redis(os.environ["STREAKLINE_BROKER_URL"]) else RABBITMQ_POINTS
    owner, name = (points | LOADING_POINTS)[point]
    original: Callable[..., object] = getattr(owner, name)

    def die(*args: Any, **kwargs: Any) -> None:
        if point == "before-commit":
            original(*args, **kwargs)
            if not args[1][Outcome.APPLIED]:
                return
        if point == "sent-in-part":
            original(*args, **kwargs)
        if point == "before-ack":
            wait_until(_is_projected, message="what was committed is projected")
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, die)


def _is_projected() -> bool:
    with open_engine(os.environ["STREAKLINE_DATABASE_URL"]).connect() as connection:
        return count_touches(connection) == 0


if __name__ == "__main__":
    die_at(sys.argv[1])
    sys.argv = ["streakline", "worker", "--queues", sys.argv[2]]
    main()
