"""Where much is due at once a sweep calls other processes to help."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from dramatiq import Broker, Message
from sqlalchemy import Engine

from jobs.project_rankings import project_rankings
from jobs.sweep_streaks import USERS_PER_TRANSACTION
from models.rulebooks import Rulebooks
from tests.applying import opened, opened_rankings, put_events, put_program
from tests.stack import PROGRAM
from worker import sweeps as module
from worker.actors import SWEEPS_QUEUE, declare_actors
from worker.broker import open_redis_broker
from worker.projecting import Projector
from worker.sweeps import HELP_SWEEP, HELP_SWEEP_ACTOR, HELPERS_CALLED, Sweep, build_sweeps

ACTIVE_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOST_AT = ACTIVE_AT + timedelta(days=3)
MANY = USERS_PER_TRANSACTION + 1


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, ACTIVE_AT)
        yield engine


@pytest.fixture
def broker(valkey_url: str, namespace: str) -> Iterator[Broker]:
    broker = open_redis_broker(valkey_url, namespace)
    yield broker
    broker.client.close()


@pytest.fixture
def sweeps(
    engine: Engine, broker: Broker, valkey_url: str, namespace: str
) -> Iterator[dict[str, Sweep]]:
    rulebooks = Rulebooks()
    with opened_rankings(valkey_url, namespace) as rankings:
        projector = Projector(lambda: project_rankings(engine, rankings, rulebooks))
        sweeps = build_sweeps(
            engine=engine,
            rulebooks=rulebooks,
            rankings=rankings,
            projector=projector,
            broker=broker,
            broker_url=valkey_url,
        )
        declare_actors(
            broker,
            engine=engine,
            rulebooks=rulebooks,
            projector=projector,
            sweeps=sweeps,
            threads=1,
        )
        yield sweeps


def put_due(engine: Engine, users: int) -> None:
    at = ACTIVE_AT.isoformat()
    put_events(
        engine,
        [
            {"user_id": f"u{number}", "metric": "lessons", "key": "1", "occurred_at": at}
            for number in range(users)
        ],
        now=ACTIVE_AT,
    )


def calls(broker: Broker) -> int:
    """Return how many calls for help wait."""
    client = broker.client  # type: ignore[attr-defined] # it is Redis'
    bodies = client.hvals(f"{broker.namespace}:{SWEEPS_QUEUE}.msgs")  # type: ignore[attr-defined]
    return sum(Message.decode(body).actor_name == HELP_SWEEP_ACTOR for body in bodies)


@pytest.mark.parametrize(("users", "called"), [(3, 0), (MANY, HELPERS_CALLED)])
def test_help_is_called_where_more_is_due_than_one_part(
    users: int, called: int, engine: Engine, broker: Broker, sweeps: dict[str, Sweep]
) -> None:
    put_due(engine, users)
    assert sweeps["sweep-streaks"](LOST_AT) == {"users": users}
    assert calls(broker) == called
    assert sweeps["sweep-streaks"](LOST_AT) == {"users": 0}


def test_a_helper_calls_nobody(engine: Engine, broker: Broker, sweeps: dict[str, Sweep]) -> None:
    put_due(engine, MANY)
    assert sweeps[HELP_SWEEP](LOST_AT) == {"users": MANY}
    assert calls(broker) == 0


def test_what_is_left_when_the_time_is_up_is_gone_on_with(
    engine: Engine, broker: Broker, sweeps: dict[str, Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_PER_SWEEP_MAX", 0.0)
    put_due(engine, MANY)
    assert sweeps[HELP_SWEEP](LOST_AT) == {"users": USERS_PER_TRANSACTION}
    assert calls(broker) == 1
    assert sweeps[HELP_SWEEP](LOST_AT) == {"users": 1}


def test_a_process_that_sweeps_already_does_not_sweep_twice(
    engine: Engine, sweeps: dict[str, Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile = []
    monkeypatch.setattr(
        module, "call_for_help", lambda *_: meanwhile.append(sweeps[HELP_SWEEP](LOST_AT))
    )
    put_due(engine, MANY)
    assert sweeps["sweep-streaks"](LOST_AT) == {"users": MANY}
    assert meanwhile == [{"users": 0}]
