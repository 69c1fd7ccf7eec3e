"""What rows and messages that a release left behind come to: work the messages off, and look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dramatiq
from redis import Redis

from jobs.show_user import show_user
from jobs.verify import every_id
from models.statements.events import read_counts
from tests.waiting import wait_until
from worker.queues import count_messages
from worker.runtime import Runtime

AS_OF = datetime(2025, 5, 1, tzinfo=UTC)
THREADS = 4


def work_off(runtime: Runtime, messages: Sequence[dict[str, str]]) -> None:
    """Put messages on their queues as a client of then did, and let a worker take them all."""
    broker: Any = runtime.broker
    redis: Redis = broker.client
    for message in messages:
        name = f"{broker.namespace}:{message['queue']}"
        message_id = json.loads(message["body"])["message_id"]
        redis.hset(f"{name}.msgs", message_id, message["body"])
        redis.rpush(name, message_id)
    queues = {message["queue"] for message in messages}
    worker = dramatiq.Worker(broker, queues=queues, worker_threads=THREADS, worker_timeout=10)
    worker.start()
    try:
        wait_until(
            lambda: not any(count_messages(broker)[queue] for queue in queues),
            message="all messages are done",
        )
    finally:
        worker.stop()


def read_becomes(runtime: Runtime) -> dict[str, dict[str, Any]]:
    """Return what each user has as of an instant of the past, as JSON has it."""
    found = {}
    for user_id in every_id(runtime.engine):
        shown = show_user(runtime.engine, runtime.rankings, user_id, AS_OF, as_of=AS_OF)
        if shown is not None:
            names = ("tz", "fields", "metrics", "streaks", "points", "achievements")
            found[user_id] = json.loads(json.dumps({n: shown[n] for n in names}, default=str))
    return found


def read_outcomes(runtime: Runtime) -> dict[str, int]:
    """Return how many events had each outcome."""
    with runtime.engine.connect() as connection:
        return {outcome.value: count for outcome, count in read_counts(connection).items()}
