"""A worker killed at the worst moments loses nothing and doubles nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from streakline import Event
from streakline.addresses import is_redis
from tests.e2e.dying_worker import POINTS
from tests.stack import Stack, read_boards, running_stack
from tests.waiting import wait_until

USERS = 6
EVENTS = 600  # two messages: the one that the worker dies of, and one behind it
RECOVERY_SECONDS_MAX = 90  # the design's own goal for a dead worker's messages
WAITED_FOR = "before-commit"
"""Here the dead worker falls silent by itself; at the other points it has been for long."""


def silence_all(stack: Stack) -> None:
    """Let the last heartbeat of every worker there was be long ago."""
    heartbeats = f"{stack.namespace}:__heartbeats__"
    with Redis.from_url(stack.broker_url) as client:
        redis: Any = client
        redis.zadd(heartbeats, dict.fromkeys(redis.zrange(heartbeats, 0, -1), 1))


@pytest.fixture
def many_servers(
    database_url: str, rabbitmq_url: str, cluster_url: str, namespace: str, tmp_path: Path
) -> Iterator[Stack]:
    with running_stack(
        database_url=database_url,
        broker_url=rabbitmq_url,
        redis_url=cluster_url,
        namespace=namespace,
        home=tmp_path,
    ) as stack:
        yield stack


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_or_doubled_when_a_worker_is_killed(point: str, stack: Stack) -> None:
    must_survive(point, stack)


def test_nor_with_rabbitmq_as_broker_and_rankings_on_a_cluster(many_servers: Stack) -> None:
    must_survive("before-ack", many_servers)
    # which asks the analytics process for the warehouse, through RabbitMQ and the cluster
    assert many_servers.ask("verify")["boards_checked"] == 2


def must_survive(point: str, stack: Stack) -> None:
    # Given events on the queue and a worker that dies of the first message
    events = [
        Event(user_id=f"user-{number % USERS}", metric="lessons", key=str(number))
        for number in range(EVENTS)
    ]
    with stack.client() as client:
        client.track_many(events)
    dying = stack.start_dying(point, "events")
    assert dying.wait(timeout=60) == -signal.SIGKILL
    if point != WAITED_FOR and is_redis(stack.broker_url):
        silence_all(stack)

    # When others take over
    stack.start_all()
    wait_until(
        lambda: stack.run("drain", "--timeout", "5").returncode == 0,
        deadline_seconds=RECOVERY_SECONDS_MAX,
        message="the dead worker's messages run again",
    )

    # Then every event counts once, everywhere
    status = stack.ask("status")
    assert status["applied_events"] == EVENTS
    assert status["dead_messages"] == 0
    for number in range(USERS):
        user = stack.ask("user", "show", f"user-{number}")
        assert user["metrics"]["lessons"]["total"] == str(EVENTS // USERS)
        assert user["points"]["xp"]["total"] == str(EVENTS // USERS * 10)
    for redis, postgres in read_boards(stack, ["lessons", "xp"]).values():
        assert redis["participants"] == USERS
        assert redis == postgres
