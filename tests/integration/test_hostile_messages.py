"""Whatever is put on the queue: no worker stops, no neighbour suffers, nothing comes for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import Engine

from models import tables
from models.statements.messages import NO_ACTOR
from streakline.contract import (
    EVENTS_PER_MESSAGE_MAX,
    EVENTS_QUEUE,
    Event,
    instant_text,
)
from streakline.messages import events_message, users_message
from tests.applying import opened, put_program, read_table
from tests.brokers import opened_broker
from tests.settings import make_settings
from tests.stack import PROGRAM
from tests.waiting import wait_until
from worker.envelopes import DEPTH_MAX, MESSAGE_BYTES_MAX
from worker.queues import read_waiting
from worker.retries import RetryOrKeep
from worker.runtime import Runtime, open_runtime

THREADS = 4
SENT_AT = datetime.now(UTC)
FAR = "9999-12-31T23:59:59Z"
NOTHING_LISTENS = "postgresql+psycopg://127.0.0.1:1/none"


@pytest.fixture
def runtime(database_url: str, valkey_url: str, namespace: str) -> Iterator[Runtime]:
    with open_runtime(make_settings(database_url, valkey_url, namespace)) as runtime:
        put_program(runtime.engine, PROGRAM)
        yield runtime


@contextmanager
def working(runtime: Runtime) -> Iterator[dramatiq.Worker]:
    worker = dramatiq.Worker(
        runtime.broker, queues={EVENTS_QUEUE}, worker_threads=THREADS, worker_timeout=10
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def put(runtime: Runtime, body: bytes, message_id: bytes | str) -> None:
    """Put bytes on the queue, as Dramatiq would a message."""
    client = redis_of(runtime)
    name = f"{runtime.settings.namespace}:{EVENTS_QUEUE}"
    client.hset(f"{name}.msgs", message_id, body)
    client.rpush(name, message_id)


def redis_of(runtime: Runtime) -> Any:
    assert isinstance(runtime.broker, RedisBroker)
    return runtime.broker.client


def is_empty(runtime: Runtime) -> bool:
    """Tell whether nothing is queued, delayed, rejected or held by a worker."""
    names = [name.decode() for name in redis_of(runtime).keys(f"*{runtime.settings.namespace}:*")]
    return not any(name.endswith((".msgs", ".XQ", EVENTS_QUEUE)) for name in names)


def good(key: str, **changes: Any) -> bytes:
    """Return a message of one event with its outermost fields changed, or left out for `...`."""
    event = Event(user_id="good", metric="lessons", key=key, occurred_at=SENT_AT)
    fields = json.loads(events_message([event], SENT_AT).encode()) | changes
    return json.dumps({name: value for name, value in fields.items() if value != "..."}).encode()


def carrying(*events: Any, received_at: Any = None, **kwargs: Any) -> bytes:
    """Return a message of anything as events."""
    told = {"events": list(events), "received_at": received_at or instant_text(SENT_AT)}
    return good("bad", kwargs=told | kwargs)


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


NO_MESSAGES = {
    "nothing": b"",
    "a pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94.",
    "no JSON": b'{"queue_name": "events"',
    "a list": b"[]",
    "null": b"null",
    "a number of too many digits": b"1" * 5_000,
    "a tower of brackets": b"[" * 200_000,
    "too large": b'"' + b" " * MESSAGE_BYTES_MAX + b'"',
    "no arguments": good("bad", kwargs="..."),
    "arguments that are a list": good("bad", kwargs=[]),
    "a field too many": good("bad", pickled="gASVDAAAAAAAAACMCGJ1aWx0aW5zlC4="),
    "options that are text": good("bad", options="retries"),
    "an actor that is a list": good("bad", actor_name=["apply_events"]),
    "an actor that is not there, on a queue that is not": good(
        "bad", actor_name="os.system", queue_name="elsewhere"
    ),
    "an actor of another queue": good("bad", actor_name="run_backfill"),
    "an id that is an object": good("bad", message_id={}),
    "an id with NUL": good("bad", message_id="a\x00b"),
    "an id of half a character": good("bad", message_id="\ud800"),
    "a time that is text": good("bad", message_timestamp="yesterday"),
    "a time before time": good("bad", message_timestamp=-1),
    "an eta in a thousand years": good("bad", options={"eta": 32_503_680_000_000}),
    "an eta of four hundred digits": good("bad", options={"eta": 10**400}),
    "nested too deep": carrying(nested(DEPTH_MAX)),
}
"""What is kept as it came, for it is no message of ours."""

MALFORMED = {
    "events that are a number": good("bad", kwargs={"events": 5, "received_at": FAR[:0]}),
    "too many events": carrying(*[{}] * (EVENTS_PER_MESSAGE_MAX + 1)),
    "received in a thousand years": carrying(received_at=FAR),
    "received before time zones": carrying(received_at="0001-01-01T00:00:00Z"),
    "received never": carrying(received_at={"now": True}),
    "sent by one that would try for ever": carrying(received_at="never"),
}
"""Messages for an actor that cannot take them: dead at once, with their bodies."""

TAKEN: dict[str, dict[str, Any]] = {
    "named for another queue": {"queue_name": "elsewhere"},
    "named for a list": {"options": {"redis_message_id": ["a"]}},
    "lying elsewhere": {"options": {"redis_message_id": "elsewhere"}},
    "retried minus a million times": {"options": {"retries": -1_000_000}},
    "retried rather often": {"options": {"retries": 10**300}},
    "retried as text": {"options": {"retries": "many", "max_retries": 10**9}},
    "throwing": {"options": {"throws": "Exception", "pipe_target": 1, "broker_priority": "x"}},
    "never due": {"options": {"eta": float("nan")}},
    "long due": {"options": {"eta": -1}},
}
"""What is wrong is beside the point, and the event in it counts."""

EVENT = {"user_id": "good", "metric": "lessons", "occurred_at": instant_text(SENT_AT)}
NO_EVENTS: list[Any] = [
    None,
    [],
    "text",
    1e400,
    nested(DEPTH_MAX - 8),
    {"user_id": "a\x00b", "metric": "lessons", "key": "1"},
    {"user_id": "\ud800", "metric": "lessons", "key": "2"},
    EVENT | {"key": "3", "value": float("nan")},
    EVENT | {"key": "4", "value": 10**400},
    EVENT | {"key": "5", "value": "1e400"},
    EVENT | {"key": "6", "occurred_at": FAR},
    EVENT | {"key": "7", "occurred_at": "0001-01-01T00:00:00+23:59"},
    EVENT | {"key": "8", "attributes": {"a": nested(8)}},
    EVENT | {"key": "9", "attributes": {str(n): "x" for n in range(10_000)}},
    EVENT | {"key": "10", "user": {"tz": "../../etc/passwd"}},
    EVENT | {"key": "11", "user": {"email": "a@b.example\r\nBcc: c@d.example"}},
    EVENT | {"key": "x" * 100_000},
    EVENT | {"key": "12", "__class__": "os.system"},
]
"""What stands among good events and is set aside for itself."""


def test_rubbish_is_kept_with_its_reason_and_all_else_is_applied(runtime: Runtime) -> None:
    # Given rubbish of every kind between good messages, some of it under ids that are none
    bodies = {**NO_MESSAGES, **MALFORMED}
    for number, (name, body) in enumerate(bodies.items()):
        put(runtime, body, f"hostile {name}" if number % 2 else f"hostile {name} \xff".encode("l1"))
        put(runtime, good(f"after {name}"), f"good {name}")
    put(runtime, good("under no text"), b"\xff")
    for name, changes in TAKEN.items():
        put(runtime, good(name, **changes), name)
    beside = [EVENT | {"key": f"beside {number}"} for number in range(len(NO_EVENTS))]
    put(
        runtime,
        carrying(*[one for pair in zip(NO_EVENTS, beside, strict=True) for one in pair]),
        "m",
    )
    redis_of(runtime).rpush(f"{runtime.settings.namespace}:{EVENTS_QUEUE}", "of which nothing is")
    waiting = read_waiting(runtime.broker, SENT_AT).messages

    # When a worker takes all of it
    with working(runtime) as worker:
        wait_until(lambda: is_empty(runtime), deadline_seconds=60)
        alive = [thread.is_alive() for thread in (*worker.workers, *worker.consumers.values())]

    # Then every good event counts, and all else is kept, with its reason
    assert waiting == 2 * len(bodies) + 1 + len(TAKEN) + 1
    assert alive == [True] * (THREADS + 2)
    keys = {row["key"] for row in read_table(runtime.engine, tables.events)}
    beside_keys = {event["key"] for event in beside}
    assert keys == {f"after {name}" for name in bodies} | set(TAKEN) | beside_keys
    found = dead(runtime.engine)
    assert all(row["error"].startswith("MalformedMessage: ") for row in found)
    kept = {row["body"] for row in found if row["actor"] == NO_ACTOR}
    assert kept >= set(NO_MESSAGES.values())
    assert len(found) == len(bodies) + 1
    assert len(read_table(runtime.engine, tables.rejected_events)) == len(NO_EVENTS)


def test_what_is_told_of_users_is_as_little_trusted(runtime: Runtime) -> None:
    users: list[Any] = [
        {"user_id": "good", "tz": "Asia/Tokyo"},
        {"user_id": "good", "tz": "../../etc/passwd"},
        {"user_id": ["good"]},
        "good",
        {"user_id": "better", "name": "\ud800"},
        {"user_id": "good", "email": nested(20)},
    ]
    put(runtime, users_message(users, SENT_AT).encode(), "users")
    put(runtime, users_message(users[:1] * 501, SENT_AT).encode(), "too many")
    with working(runtime):
        wait_until(lambda: is_empty(runtime))
    assert [row["user_id"] for row in read_table(runtime.engine, tables.users)] == ["good"]
    assert len(read_table(runtime.engine, tables.rejected_events)) == 5
    assert len(dead(runtime.engine)) == 1


def test_while_postgres_is_away_rubbish_stays_in_the_broker(
    valkey_url: str, namespace: str
) -> None:
    settings = make_settings(NOTHING_LISTENS, valkey_url, namespace)
    with open_runtime(settings) as runtime:
        put(runtime, b"rubbish", "r")
        with working(runtime):
            rejected = f"{namespace}:{EVENTS_QUEUE}.XQ.msgs"
            wait_until(lambda: redis_of(runtime).hgetall(rejected) == {b"r": b"rubbish"})


def test_rabbitmq_keeps_no_rubbish_and_brings_none_again(
    rabbitmq_url: str, database_url: str, valkey_url: str, namespace: str
) -> None:
    ran: list[int] = []
    rubbish = [body for name, body in NO_MESSAGES.items() if name != "too large"]
    changes = {"actor_name": "act", "args": [], "kwargs": {}}
    with (
        opened(database_url) as engine,
        opened_broker(rabbitmq_url, valkey_url, namespace, [RetryOrKeep(engine)]) as broker,
    ):
        assert isinstance(broker, RabbitmqBroker)
        dramatiq.actor(broker=broker, actor_name="act", queue_name=EVENTS_QUEUE)(
            lambda: ran.append(1)
        )
        broker.declare_queue(EVENTS_QUEUE, ensure=True)
        for body in rubbish:
            broker.channel.basic_publish("", EVENTS_QUEUE, body)
        for taken in TAKEN.values():
            broker.channel.basic_publish("", EVENTS_QUEUE, good("good", **changes, **taken))
        worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=10)
        worker.start()
        wait_until(lambda: len(ran) == len(TAKEN) and len(dead(engine)) == len(rubbish))
        alive = [thread.is_alive() for thread in (*worker.workers, *worker.consumers.values())]
        worker.stop()
        assert broker.get_queue_message_counts(EVENTS_QUEUE) == (0, 0, 0)
        assert alive == [True] * 4
        assert {row["body"] for row in dead(engine)} == set(rubbish)


def dead(engine: Engine) -> list[dict[str, Any]]:
    return read_table(engine, tables.dead_messages)
