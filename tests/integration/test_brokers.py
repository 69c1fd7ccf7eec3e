"""What a broker of either kind does for the workers: Valkey and RabbitMQ, the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import dramatiq
import pytest
from dramatiq import Broker, Message

from models import tables
from models.statements.messages import DeadMessage, add_dead_message
from streakline import Client
from streakline.contract import EVENTS_QUEUE, IDENTIFY_USERS_ACTOR
from streakline.messages import users_message
from tests.applying import put_program, read_table
from tests.backfilling import run
from tests.brokers import is_settled, opened_broker, working
from tests.settings import make_settings
from tests.stack import PROGRAM
from tests.waiting import wait_until
from worker.metrics import REGISTRY
from worker.queues import count_messages, is_crowded, read_applied_until, read_waiting
from worker.runtime import Runtime, open_runtime

THREADS = 32
ONE_HOUR = timedelta(hours=1)
ABOUT = timedelta(minutes=1)


@pytest.fixture
def broker(each_broker_url: str, valkey_url: str, namespace: str) -> Iterator[Broker]:
    with opened_broker(each_broker_url, valkey_url, namespace) as broker:
        yield broker


@pytest.fixture
def runtime(
    each_broker_url: str, valkey_url: str, database_url: str, namespace: str
) -> Iterator[Runtime]:
    settings = make_settings(database_url, valkey_url, namespace, broker_url=each_broker_url)
    with open_runtime(settings, threads=THREADS) as runtime:
        put_program(runtime.engine, PROGRAM)
        yield runtime


class Holding:
    """An actor that holds its messages until it is told to finish them."""

    def __init__(self, broker: Broker) -> None:
        self.begun: list[int] = []
        self.finished = Event()
        actor = dramatiq.actor(broker=broker, queue_name=EVENTS_QUEUE, actor_name="hold")
        self.send = actor(self.hold).send

    def hold(self, number: int, events: object = ()) -> None:
        self.begun.append(number)
        assert self.finished.wait(30)


def test_what_workers_have_taken_is_counted_as_what_waits_is(broker: Broker) -> None:
    later = datetime.now(UTC) + ONE_HOUR
    holding = Holding(broker)
    broker.declare_queue(EVENTS_QUEUE)
    for number in range(3):
        holding.send(number, events=[{}] * 4)
    assert count_messages(broker) == {EVENTS_QUEUE: 3}
    with working(broker, threads=3):
        wait_until(lambda: len(holding.begun) == 3)
        wait_until(lambda: read_waiting(broker, later).messages == 3)  # told once a second
        assert read_waiting(broker, later).events == 12
        until = read_applied_until(broker, later)
        assert until is not None
        assert later - ONE_HOUR - ABOUT < until < later - ONE_HOUR + ABOUT
        assert count_messages(broker) == {EVENTS_QUEUE: 3}
        holding.finished.set()
        wait_until(lambda: is_settled(broker))
        assert read_applied_until(broker, later) == later


def test_a_worker_that_stops_finishes_what_runs_and_gives_back_what_waits(
    broker: Broker, each_broker_url: str, valkey_url: str, namespace: str
) -> None:
    holding = Holding(broker)
    for number in range(8):
        holding.send(number)
    with working(broker, threads=2) as worker:
        wait_until(lambda: len(holding.begun) == 2)
        stopping = Thread(target=worker.stop)
        stopping.start()
        wait_until(lambda: not any(one.running for one in worker.workers))
        holding.finished.set()
        stopping.join()
    assert len(holding.begun) < 8
    with opened_broker(each_broker_url, valkey_url, namespace) as other:
        next_one = Holding(other)
        next_one.finished.set()
        with working(other, threads=2):
            wait_until(lambda: is_settled(other))
    assert sorted([*holding.begun, *next_one.begun]) == list(range(8)), "each once"


def test_many_messages_are_applied_as_few_batches(runtime: Runtime, each_broker_url: str) -> None:
    before = REGISTRY.get_sample_value("streakline_batch_events_count") or 0
    with Client(each_broker_url, namespace=runtime.settings.namespace) as client:
        for number in range(100):
            client.track(f"u{number % 7}", "lessons", key=str(number))
    worker = dramatiq.Worker(runtime.broker, worker_threads=THREADS, worker_timeout=10)
    worker.start()
    wait_until(lambda: is_settled(runtime.broker))
    worker.stop()
    assert len(read_table(runtime.engine, tables.events)) == 100
    batches = (REGISTRY.get_sample_value("streakline_batch_events_count") or 0) - before
    assert 0 < batches <= 50


def test_a_backfill_rests_while_messages_wait_in_a_crowd(broker: Broker) -> None:
    holding = Holding(broker)
    broker.declare_queue("sweeps")
    for number in range(101):
        holding.send(number)
    assert is_crowded(broker)
    assert is_crowded(broker, EVENTS_QUEUE)
    assert not is_crowded(broker, "sweeps")


def test_a_message_for_an_actor_of_a_newer_release_is_kept_until_there_is_one(
    runtime: Runtime,
) -> None:
    newer: Message[None] = Message(
        queue_name=EVENTS_QUEUE, actor_name="newer", args=(1,), kwargs={}, options={}
    )
    runtime.broker.enqueue(newer)
    with working(runtime.broker):
        wait_until(lambda: is_settled(runtime.broker))
    [unknown] = read_table(runtime.engine, tables.dead_messages)
    assert (unknown["queue"], unknown["actor"]) == (EVENTS_QUEUE, "newer")
    failed = DeadMessage(
        message_id="failed",
        queue=EVENTS_QUEUE,
        actor="newer",
        body=newer.copy(args=(2,)).encode(),
        error="RuntimeError: no luck",
    )
    with runtime.engine.begin() as connection:
        add_dead_message(connection, failed)
    assert recover(runtime) == 0, "nobody knows the actor"

    taken: list[int] = []
    dramatiq.actor(broker=runtime.broker, queue_name=EVENTS_QUEUE, actor_name="newer")(taken.append)
    assert [recover(runtime), recover(runtime)] == [1, 0]
    with working(runtime.broker):
        wait_until(lambda: is_settled(runtime.broker))
    assert taken == [1]
    [left] = read_table(runtime.engine, tables.dead_messages)
    assert left["message_id"] == "failed"


def recover(runtime: Runtime) -> int:
    """Return how many messages the tick puts back that were kept for want of an actor."""
    return runtime.sweeps["recover-messages"](datetime.now(UTC))["unknown"]


def test_a_dead_message_is_listed_and_replayed(runtime: Runtime) -> None:
    """One that an actor cannot take; mended, it is put back on its queue and applied."""
    good = users_message([{"user_id": "u"}], datetime.now(UTC))
    runtime.broker.enqueue(good.copy(kwargs={"users": "none", "received_at": "never"}))
    with working(runtime.broker):
        wait_until(lambda: is_settled(runtime.broker))
    [dead] = read_table(runtime.engine, tables.dead_messages)
    assert (dead["queue"], dead["actor"]) == (EVENTS_QUEUE, IDENTIFY_USERS_ACTOR)
    with runtime.engine.begin() as connection:
        connection.execute(tables.dead_messages.update().values(body=good.encode()))
    run(runtime.backfills.context, "replay-dead", {})
    with working(runtime.broker):
        wait_until(lambda: is_settled(runtime.broker))
    assert read_table(runtime.engine, tables.dead_messages) == []
    assert [row["user_id"] for row in read_table(runtime.engine, tables.users)] == ["u"]
