"""A message that failed leaves its queue only for another place: tried again, dead, or rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import dramatiq
import pytest
import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.common import dq_name
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from models import tables
from models.database import open_engine
from tests.applying import opened, read_table
from tests.waiting import wait_until
from worker import retries
from worker.broker import GatheringBroker, open_redis_broker
from worker.recovery import recover_messages
from worker.retries import MalformedMessage, RetryOrKeep

QUEUE = "events"
RETRIES_MAX = 3
# Nobody listens on port 1: the connection is refused at once.
UNREACHABLE_DATABASE_URL = "postgresql+psycopg://127.0.0.1:1/none"


@pytest.fixture(autouse=True)
def _short_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "RETRIES_MAX", RETRIES_MAX)
    monkeypatch.setattr(retries, "DELAY_MILLISECONDS_MIN", 1)
    monkeypatch.setattr(retries, "DELAY_MILLISECONDS_MAX", 4)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        yield engine


@pytest.fixture
def unreachable_engine() -> Iterator[Engine]:
    engine = open_engine(UNREACHABLE_DATABASE_URL, connections_max=1)
    yield engine
    engine.dispose()


@contextmanager
def opened_broker(url: str, namespace: str, engine: Engine) -> Iterator[RedisBroker]:
    broker = open_redis_broker(url, namespace, [RetryOrKeep(engine)])
    try:
        yield broker
    finally:
        broker.client.close()


@contextmanager
def working(broker: RedisBroker) -> Iterator[None]:
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=10)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def declare(broker: RedisBroker, function: Callable[[], object]) -> dramatiq.Actor[[], object]:
    return dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="act")(function)


def failing(runs: list[int], *outcomes: Exception | None) -> Callable[[], None]:
    """Return an actor's function that meets the outcomes in order, the last one ever after."""

    def act() -> None:
        runs.append(1)
        outcome = outcomes[min(len(runs), len(outcomes)) - 1]
        if outcome is not None:
            raise outcome

    return act


def is_settled(broker: RedisBroker) -> bool:
    """Tell whether nothing is queued, delayed, or held by a worker."""
    return bool(cast(Any, broker).do_qsize(QUEUE) == 0)


def rejected(broker: RedisBroker) -> Sequence[Message[object]]:
    """Return the messages that wait in the broker for the recovery."""
    client = cast(Any, broker.client)
    name = f"{broker.namespace}:{QUEUE}.XQ"
    ids = client.zrange(name, 0, -1)
    bodies = client.hgetall(f"{name}.msgs")  # read last: it has what was listed before
    return [Message.decode(bodies[one]) for one in ids]


def dead(engine: Engine) -> list[dict[str, Any]]:
    return read_table(engine, tables.dead_messages)


def test_a_failing_message_is_retried_and_then_kept_as_dead(
    valkey_url: str, namespace: str, engine: Engine
) -> None:
    runs: list[int] = []
    with opened_broker(valkey_url, namespace, engine) as broker:
        act = declare(broker, failing(runs, RuntimeError("no \x00 luck")))
        with working(broker):
            sent = act.send()
            wait_until(lambda: dead(engine) and is_settled(broker))
        assert rejected(broker) == []
    [kept] = dead(engine)
    assert len(runs) == 1 + RETRIES_MAX
    assert (kept["message_id"], kept["queue"], kept["actor"]) == (sent.message_id, QUEUE, "act")
    assert kept["error"] == "RuntimeError: no  luck"
    body: Message[object] = Message.decode(kept["body"])
    assert (body.actor_name, body.message_id) == ("act", sent.message_id)


def test_a_message_that_succeeds_on_a_retry_is_done_and_nowhere_kept(
    valkey_url: str, namespace: str, engine: Engine
) -> None:
    runs: list[int] = []
    with opened_broker(valkey_url, namespace, engine) as broker:
        act = declare(broker, failing(runs, RuntimeError("once"), RuntimeError("twice"), None))
        with working(broker):
            act.send()
            wait_until(lambda: len(runs) == 3 and is_settled(broker))
        assert rejected(broker) == []
    assert dead(engine) == []


def test_a_malformed_message_is_dead_at_once(
    valkey_url: str, namespace: str, engine: Engine
) -> None:
    runs: list[int] = []
    with opened_broker(valkey_url, namespace, engine) as broker:
        act = declare(broker, failing(runs, MalformedMessage("carries str instead of a list")))
        with working(broker):
            act.send()
            wait_until(lambda: dead(engine) and is_settled(broker))
    [kept] = dead(engine)
    assert kept["error"] == "MalformedMessage: carries str instead of a list"
    assert len(runs) == 1


def test_arguments_that_the_actor_does_not_take_end_as_dead_too(
    valkey_url: str, namespace: str, engine: Engine
) -> None:
    with opened_broker(valkey_url, namespace, engine) as broker:
        act = declare(broker, failing([], None))
        with working(broker):
            broker.enqueue(act.message().copy(kwargs={"unknown": 1}))
            wait_until(lambda: dead(engine) and is_settled(broker))
    [kept] = dead(engine)
    assert "unexpected keyword argument" in kept["error"]


def refused_write(engine: Engine) -> DBAPIError:
    """Return what a Postgres says that takes no writes: a replica after a failover, say."""
    with engine.connect() as connection:
        connection.execute(text("set transaction read only"))
        with pytest.raises(DBAPIError) as refused:
            connection.execute(text("create table t (n int)"))
    return refused.value


@pytest.mark.parametrize("kind", ["away", "takes no writes"])
def test_an_outage_is_waited_for_beyond_the_last_retry(
    kind: str, valkey_url: str, namespace: str, engine: Engine
) -> None:
    runs: list[int] = []
    outage = redis.ConnectionError("gone") if kind == "away" else refused_write(engine)
    beyond = RETRIES_MAX + 4
    with opened_broker(valkey_url, namespace, engine) as broker:
        act = declare(broker, failing(runs, *[outage] * beyond, None))
        with working(broker):
            act.send()
            wait_until(lambda: len(runs) == beyond + 1 and is_settled(broker))
        assert rejected(broker) == []
    assert dead(engine) == []


def test_what_cannot_be_kept_in_postgres_is_rejected_and_comes_back(
    valkey_url: str, namespace: str, engine: Engine, unreachable_engine: Engine
) -> None:
    runs: list[int] = []
    with opened_broker(valkey_url, namespace, unreachable_engine) as broker:
        act = declare(broker, failing(runs, MalformedMessage("bad")))
        with working(broker):
            sent = act.send()
            wait_until(lambda: rejected(broker))
            wait_until(lambda: is_settled(broker))
        assert [message.message_id for message in rejected(broker)] == [sent.message_id]
        assert len(runs) == 1
    # Postgres is back: another worker finds the message by the recovery, and keeps it.
    with opened_broker(valkey_url, namespace, engine) as broker:
        declare(broker, failing(runs, MalformedMessage("bad")))
        assert recover_messages(broker, valkey_url) == 1
        with working(broker):
            wait_until(lambda: dead(engine) and is_settled(broker))
        assert rejected(broker) == []
    assert [row["message_id"] for row in dead(engine)] == [sent.message_id]


def test_a_message_whose_retry_cannot_be_enqueued_is_not_lost(
    valkey_url: str, namespace: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dramatiq's own middleware acknowledges it here, and it is gone."""
    runs: list[int] = []
    faults: list[int] = []
    enqueue = RedisBroker.enqueue

    def enqueue_but_no_retry(
        self: RedisBroker, message: Message[Any], *, delay: int | None = None
    ) -> Message[Any]:
        if delay is not None and not faults:
            faults.append(1)
            raise redis.ConnectionError("gone while the retry was enqueued")
        return enqueue(self, message, delay=delay)

    monkeypatch.setattr(RedisBroker, "enqueue", enqueue_but_no_retry)
    with opened_broker(valkey_url, namespace, engine) as broker:
        act = declare(broker, failing(runs, RuntimeError("once"), None))
        with working(broker):
            sent = act.send()
            wait_until(lambda: rejected(broker))
            assert [message.message_id for message in rejected(broker)] == [sent.message_id]
            assert len(runs) == 1
            assert recover_messages(broker, valkey_url) == 1
            wait_until(lambda: len(runs) == 2 and is_settled(broker))
        assert rejected(broker) == []
    assert faults == [1]
    assert dead(engine) == []


def test_a_retry_that_waits_in_memory_outlives_a_cut_connection(
    valkey_url: str, namespace: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dramatiq drops it from memory and leaves it with the living worker, where nobody looks."""
    monkeypatch.setattr(retries, "DELAY_MILLISECONDS_MIN", 500)
    monkeypatch.setattr(retries, "DELAY_MILLISECONDS_MAX", 500)
    runs: list[int] = []
    cuts: list[int] = []
    fetch = GatheringBroker.fetch

    def cut_once_while_it_waits(
        self: GatheringBroker, queue: str, messages_max: int
    ) -> list[tuple[bytes, bytes]]:
        held = f"{namespace}:__acks__.{self.broker_id}.{dq_name(QUEUE)}"
        if queue == dq_name(QUEUE) and not cuts and self.client.exists(held):
            cuts.append(1)
            raise redis.ConnectionError("cut while a retry waits")
        return fetch(self, queue, messages_max)

    monkeypatch.setattr(GatheringBroker, "fetch", cut_once_while_it_waits)
    with opened_broker(valkey_url, namespace, engine) as broker:
        act = declare(broker, failing(runs, RuntimeError("once"), None))
        with working(broker):
            act.send()
            wait_until(lambda: len(runs) == 2 and is_settled(broker), deadline_seconds=15)
    assert cuts == [1]
