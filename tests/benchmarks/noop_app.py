"""A worker whose actors do nothing: the transport alone, `python -m tests.benchmarks.noop_app`.

Everything else of a worker is as in `worker.serving`: its broker, its prefetch, its threads.
"""

from __future__ import annotations

import signal
from threading import Event
from typing import Any

from dramatiq import Worker, actor

from streakline.contract import APPLY_EVENTS_ACTOR, EVENTS_QUEUE, NAMESPACE
from worker.broker import open_redis_broker
from worker.serving import IDLE_MILLISECONDS_MAX, PREFETCH_PER_THREAD
from worker.settings import Settings

THREADS = 16
"""What `streakline worker` takes unless told otherwise."""


def main() -> None:
    """Take events messages until told to stop."""
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    url = Settings.load().broker_url
    assert url is not None
    broker = open_redis_broker(url.get_secret_value(), NAMESPACE)

    def do_nothing(events: Any, received_at: Any) -> None:
        pass

    actor(broker=broker, actor_name=APPLY_EVENTS_ACTOR, queue_name=EVENTS_QUEUE)(do_nothing)
    worker = Worker(broker, worker_threads=THREADS, worker_timeout=IDLE_MILLISECONDS_MAX)
    worker.queue_prefetch = THREADS * PREFETCH_PER_THREAD
    worker.start()
    stopping.wait()
    worker.stop()


if __name__ == "__main__":
    main()
