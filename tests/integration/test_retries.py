"""A message that failed leaves its queue only for another place: tried again, dead, or rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq import Broker, Message
from dramatiq.common import dq_name
from dramatiq.errors import ConnectionClosed
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from models import tables
from models.database import open_engine
from tests.applying import opened, read_table
from tests.brokers import is_settled, opened_broker, rejected, working
from tests.waiting import wait_until
from worker import retries
from worker.broker import GatheringBroker
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
    monkeypatch.setattr(retries, "OUTAGE_DELAY_MILLISECONDS_MAX", 4)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        yield engine


@pytest.fixture
def unreachable_engine() -> Iterator[Engine]:
    engine = open_engine(UNREACHABLE_DATABASE_URL, connections_max=1)
    yield engine
    engine.dispose()


Opening = Callable[[Engine], AbstractContextManager[Broker]]


@pytest.fixture
def opening(each_broker_url: str, valkey_url: str, namespace: str) -> Opening:
    """Return what opens a broker that keeps the dead in a database."""
    return lambda engine: opened_broker(
        each_broker_url, valkey_url, namespace, [RetryOrKeep(engine)]
    )


def declare(broker: Broker, function: Callable[[], object]) -> dramatiq.Actor[[], object]:
    return dramatiq.actor(broker=broker, queue_name=QUEUE, actor_name="act")(function)


def failing(runs: list[int], *outcomes: Exception | None) -> Callable[[], None]:
    """Return an actor's function that meets the outcomes in order, the last one ever after."""

    def act() -> None:
        runs.append(1)
        outcome = outcomes[min(len(runs), len(outcomes)) - 1]
        if outcome is not None:
            raise outcome

    return act


def dead(engine: Engine) -> list[dict[str, Any]]:
    return read_table(engine, tables.dead_messages)


def test_a_failing_message_is_retried_and_then_kept_as_dead(
    opening: Opening, engine: Engine
) -> None:
    runs: list[int] = []
    with opening(engine) as broker:
        act = declare(broker, failing(runs, RuntimeError("no \x00 luck")))
        with working(broker):
            sent = act.send()
            wait_until(lambda: dead(engine) and is_settled(broker))
        assert rejected(broker, QUEUE) == []
    [kept] = dead(engine)
    assert len(runs) == 1 + RETRIES_MAX
    assert (kept["message_id"], kept["queue"], kept["actor"]) == (sent.message_id, QUEUE, "act")
    assert kept["error"] == "RuntimeError: no  luck"
    body: Message[object] = Message.decode(kept["body"])
    assert (body.actor_name, body.message_id) == ("act", sent.message_id)


def test_a_message_that_succeeds_on_a_retry_is_done_and_nowhere_kept(
    opening: Opening, engine: Engine
) -> None:
    runs: list[int] = []
    with opening(engine) as broker:
        act = declare(broker, failing(runs, RuntimeError("once"), RuntimeError("twice"), None))
        with working(broker):
            act.send()
            wait_until(lambda: len(runs) == 3 and is_settled(broker))
        assert rejected(broker, QUEUE) == []
    assert dead(engine) == []


def test_a_malformed_message_is_dead_at_once(opening: Opening, engine: Engine) -> None:
    runs: list[int] = []
    with opening(engine) as broker:
        act = declare(broker, failing(runs, MalformedMessage("carries str instead of a list")))
        with working(broker):
            act.send()
            wait_until(lambda: dead(engine) and is_settled(broker))
    [kept] = dead(engine)
    assert kept["error"] == "MalformedMessage: carries str instead of a list"
    assert len(runs) == 1


def test_arguments_that_the_actor_does_not_take_end_as_dead_too(
    opening: Opening, engine: Engine
) -> None:
    with opening(engine) as broker:
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
    kind: str, opening: Opening, engine: Engine
) -> None:
    runs: list[int] = []
    outage = redis.ConnectionError("gone") if kind == "away" else refused_write(engine)
    beyond = RETRIES_MAX + 4
    with opening(engine) as broker:
        act = declare(broker, failing(runs, *[outage] * beyond, None))
        with working(broker):
            act.send()
            wait_until(lambda: len(runs) == beyond + 1 and is_settled(broker))
        assert rejected(broker, QUEUE) == []
    assert dead(engine) == []


def test_what_cannot_be_kept_in_postgres_is_rejected_and_comes_back(
    opening: Opening, each_broker_url: str, engine: Engine, unreachable_engine: Engine
) -> None:
    runs: list[int] = []
    with opening(unreachable_engine) as broker:
        act = declare(broker, failing(runs, MalformedMessage("bad")))
        with working(broker):
            sent = act.send()
            wait_until(lambda: rejected(broker, QUEUE))
            wait_until(lambda: is_settled(broker))
        assert [message.message_id for message in rejected(broker, QUEUE)] == [sent.message_id]
        assert len(runs) == 1
    # Postgres is back: another worker finds the message by the recovery, and keeps it.
    with opening(engine) as broker:
        declare(broker, failing(runs, MalformedMessage("bad")))
        assert recover_messages(broker, each_broker_url) == 1
        with working(broker):
            wait_until(lambda: dead(engine) and is_settled(broker))
        assert rejected(broker, QUEUE) == []
    assert [row["message_id"] for row in dead(engine)] == [sent.message_id]


def test_a_message_whose_retry_cannot_be_enqueued_is_not_lost(
    opening: Opening, each_broker_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dramatiq's own middleware acknowledges it here, and it is gone."""
    runs: list[int] = []
    faults: list[int] = []
    with opening(engine) as broker:
        enqueue = broker.enqueue

        def enqueue_but_no_retry(
            message: Message[Any], *, delay: int | None = None
        ) -> Message[Any]:
            if delay is not None and not faults:
                faults.append(1)
                raise ConnectionClosed("gone while the retry was enqueued")  # type: ignore[no-untyped-call] # it has no types
            return enqueue(message, delay=delay)

        monkeypatch.setattr(broker, "enqueue", enqueue_but_no_retry)
        act = declare(broker, failing(runs, RuntimeError("once"), None))
        with working(broker):
            sent = act.send()
            wait_until(lambda: rejected(broker, QUEUE))
            assert [message.message_id for message in rejected(broker, QUEUE)] == [sent.message_id]
            assert len(runs) == 1
            assert recover_messages(broker, each_broker_url) == 1
            wait_until(lambda: len(runs) == 2 and is_settled(broker))
        assert rejected(broker, QUEUE) == []
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
    with opened_broker(valkey_url, valkey_url, namespace, [RetryOrKeep(engine)]) as broker:
        act = declare(broker, failing(runs, RuntimeError("once"), None))
        with working(broker):
            act.send()
            wait_until(lambda: len(runs) == 2 and is_settled(broker), deadline_seconds=15)
    assert cuts == [1]
