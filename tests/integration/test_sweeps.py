"""Where much is due at once a sweep calls other processes to help; loads give way to a crowd."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from jobs.sweep_streaks import USERS_PER_TRANSACTION
from models import tables
from streakline import Client
from tests.applying import put_events, put_program, read_table
from tests.clickhouse import ClickhouseServer
from tests.settings import make_settings
from tests.stack import PROGRAM
from worker import queues
from worker import sweeps as module
from worker.runtime import Runtime, open_runtime
from worker.schedule import SWEEPS_QUEUE, TICKS
from worker.sweeps import HELP_SWEEP, HELP_SWEEP_ACTOR

ACTIVE_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOST_AT = ACTIVE_AT + timedelta(days=3)
MANY = USERS_PER_TRANSACTION + 1


@pytest.fixture
def runtime(
    database_url: str, valkey_url: str, clickhouse_server: ClickhouseServer, namespace: str
) -> Iterator[Runtime]:
    settings = make_settings(
        database_url, valkey_url, namespace, clickhouse_url=clickhouse_server.url
    )
    with open_runtime(settings) as runtime:
        put_program(runtime.engine, PROGRAM, ACTIVE_AT)
        yield runtime


def put_due(runtime: Runtime, users: int) -> None:
    at = ACTIVE_AT.isoformat()
    put_events(
        runtime.engine,
        [
            {"user_id": f"u{number}", "metric": "lessons", "key": "1", "occurred_at": at}
            for number in range(users)
        ],
        now=ACTIVE_AT,
    )


@pytest.mark.parametrize(("minutes", "answered"), [(4, True), (6, False)])
def test_a_tick_is_answered_though_clocks_differ_and_left_when_it_is_old(
    minutes: int, answered: bool, runtime: Runtime
) -> None:
    tick = next(one for one in TICKS if one.name == "project-rankings")
    slot = tick.slot(datetime.now(UTC) - timedelta(minutes=minutes))
    runtime.broker.get_actor(tick.actor_name)(slot.isoformat())
    assert [row["slot"] for row in read_table(runtime.engine, tables.tick_runs)] == (
        [slot] if answered else []
    )


def calls(runtime: Runtime) -> int:
    """Return how many calls for help wait."""
    assert isinstance(runtime.broker, RedisBroker)
    client: Any = runtime.broker.client
    bodies = client.hvals(f"{runtime.broker.namespace}:{SWEEPS_QUEUE}.msgs")
    return sum(Message.decode(body).actor_name == HELP_SWEEP_ACTOR for body in bodies)


@pytest.mark.parametrize(
    ("users", "called"), [(3, 0), (MANY, 1), (USERS_PER_TRANSACTION + MANY, 2)]
)
def test_help_is_called_again_and_again_where_more_is_due_than_one_part(
    users: int, called: int, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALLS_APART_SECONDS", 0.0)
    put_due(runtime, users)
    assert runtime.sweeps["sweep-streaks"](LOST_AT) == {"users": users}
    assert calls(runtime) == called
    assert runtime.sweeps["sweep-streaks"](LOST_AT) == {"users": 0}


def test_calls_for_help_are_apart(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_APART_SECONDS", 3_600.0)
    put_due(runtime, USERS_PER_TRANSACTION + MANY)
    assert runtime.sweeps[HELP_SWEEP](LOST_AT) == {"users": USERS_PER_TRANSACTION + MANY}
    assert calls(runtime) == 1


def test_what_is_left_when_the_time_is_up_is_gone_on_with(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_PER_SWEEP_MAX", 0.0)
    put_due(runtime, MANY)
    assert runtime.sweeps[HELP_SWEEP](LOST_AT) == {"users": USERS_PER_TRANSACTION}
    assert calls(runtime) == 1
    assert runtime.sweeps[HELP_SWEEP](LOST_AT) == {"users": 1}


def test_a_process_that_sweeps_already_does_not_sweep_twice(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile = []
    monkeypatch.setattr(
        module, "call_for_help", lambda *_: meanwhile.append(runtime.sweeps[HELP_SWEEP](LOST_AT))
    )
    put_due(runtime, MANY)
    assert runtime.sweeps["sweep-streaks"](LOST_AT) == {"users": MANY}
    assert meanwhile == [{"users": 0}]


def test_loads_give_way_while_many_messages_wait(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = runtime.sweeps["load-warehouse"]
    put_due(runtime, 3)
    assert load(LOST_AT)["rows"] > 0
    with Client(runtime.addresses.broker_url, namespace=runtime.settings.namespace) as client:
        client.track("waits", "lessons", key="1")
    put_due(runtime, 5)
    assert load(LOST_AT)["rows"] > 0, "a message is not a crowd"
    monkeypatch.setattr(queues, "CROWD", 0)
    put_due(runtime, 7)
    assert load(LOST_AT)["rows"] == 0
    assert load(LOST_AT + timedelta(minutes=5))["rows"] > 0, "nor are loads put off for ever"
