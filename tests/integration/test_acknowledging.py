"""Messages that are done leave the broker together, and none is forgotten when it is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.errors import ConnectionClosed
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from tests.servers import temporary_home
from worker.broker import open_redis_broker
from worker.embedded import embedded_valkey

QUEUE = "events"
PREFETCH = 8


class Worker:
    """A broker as a worker holds it, with a consumer, and a look at what Redis holds."""

    def __init__(self, url: str, namespace: str) -> None:
        self.redis: Any = Redis.from_url(url, decode_responses=True)
        self.namespace = namespace
        self.broker: Any = open_redis_broker(url, namespace)
        actor = dramatiq.actor(broker=self.broker, queue_name=QUEUE, actor_name="act")
        self.act = actor(lambda number: None)
        self.consumer = self.consume()

    def consume(self) -> Any:
        return self.broker.consume(QUEUE, prefetch=PREFETCH, timeout=1)

    def send(self, count: int) -> None:
        for number in range(count):
            self.act.send(number)

    def take(self, count: int) -> list[Any]:
        return [next(self.consumer) for _ in range(count)]

    def unacknowledged(self) -> int:
        """Return how many messages Redis keeps: waiting, or taken and not done."""
        count: int = self.redis.hlen(f"{self.namespace}:{QUEUE}.msgs")
        return count

    def close(self) -> None:
        self.broker.client.close()
        self.redis.close()


@pytest.fixture
def worker(every_redis_url: str, namespace: str) -> Iterator[Worker]:
    worker = Worker(every_redis_url, namespace)
    yield worker
    worker.close()


def test_what_is_done_is_acknowledged_with_the_next_look_at_the_queue(worker: Worker) -> None:
    worker.send(5)
    for message in worker.take(4):
        worker.consumer.ack(message)
    assert worker.unacknowledged() == 5
    [last] = worker.take(1)
    assert next(worker.consumer) is None, "the queue is empty"
    assert worker.unacknowledged() == 1
    worker.consumer.ack(last)
    worker.consumer.close()
    assert worker.unacknowledged() == 0


def test_a_worker_takes_more_when_half_of_what_it_may_hold_is_done(worker: Worker) -> None:
    worker.send(2 * PREFETCH)
    first = worker.take(PREFETCH)
    for message in first[: PREFETCH // 2]:
        worker.consumer.ack(message)
    assert len(worker.take(PREFETCH // 2)) == PREFETCH // 2
    assert worker.unacknowledged() == 2 * PREFETCH - PREFETCH // 2


def test_a_worker_with_one_message_done_and_the_others_long_still_gets_the_next(
    worker: Worker,
) -> None:
    worker.send(PREFETCH + 1)
    first = worker.take(PREFETCH)
    worker.consumer.ack(first[0])
    assert worker.take(1)[0] is not None


def test_what_could_not_be_acknowledged_is_by_the_next_consumer(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.send(3)
    for message in worker.take(3):
        worker.consumer.ack(message)

    def cut(*args: object, **kwargs: object) -> None:
        raise RedisConnectionError("cut")

    with monkeypatch.context() as cutting:
        cutting.setattr(worker.broker, "_acknowledge", cut)
        with pytest.raises(ConnectionClosed):
            next(worker.consumer)
    assert worker.unacknowledged() == 3
    worker.consumer = worker.consume()
    assert next(worker.consumer) is None
    assert worker.unacknowledged() == 0


def test_a_message_that_another_worker_was_given_meanwhile_stays_with_it(
    worker: Worker, every_redis_url: str
) -> None:
    worker.send(1)
    [message] = worker.take(1)
    worker.consumer.requeue([message])
    other = open_redis_broker(every_redis_url, worker.namespace)
    other.do_fetch(QUEUE, 1)
    worker.consumer.ack(message)
    worker.consumer.close()
    assert worker.unacknowledged() == 1
    other.client.close()


def test_messages_whose_fetch_was_never_answered_run_while_the_worker_lives(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has given them to this worker, and the connection breaks before it says so.

    Dramatiq leaves them there until the worker dies. What threads have stays with them.
    """
    worker.send(6)
    [running] = worker.take(1)
    fetch = worker.broker.fetch

    def lose_reply(queue: str, *args: Any) -> Any:
        fetch(queue, *args)
        raise RedisConnectionError("the reply was lost")

    worker.consumer.message_cache.clear()  # fetched with the first, and gone with the consumer
    with monkeypatch.context() as losing:
        losing.setattr(worker.broker, "fetch", lose_reply)
        worker.consumer.prefetch = PREFETCH
        with pytest.raises(ConnectionClosed):
            next(worker.consumer)
    worker.consumer = worker.consume()
    found = []
    while (message := next(worker.consumer)) is not None:
        found.append(message.args[0])
        worker.consumer.ack(message)
    assert sorted(found) == [1, 2, 3, 4, 5], "all but the one that runs"
    worker.consumer.ack(running)
    assert next(worker.consumer) is None
    assert worker.unacknowledged() == 0


def test_messages_whose_fetch_was_repeated_unseen_run_while_the_worker_lives(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has given some to this worker, its reply was lost, and redis-py has asked once more."""
    worker.send(6)
    worker.broker.do_fetch(QUEUE, 2)
    [running, waiting] = worker.take(2)
    worker.consumer.ack(waiting)
    monkeypatch.setattr(worker.consumer, "_gives_back_at", 0.0)
    found = [waiting.args[0]]
    while (message := next(worker.consumer)) is not None:
        found.append(message.args[0])
        worker.consumer.ack(message)
    assert sorted([running.args[0], *found]) == [0, 1, 2, 3, 4, 5], "each once"
    worker.consumer.ack(running)
    assert next(worker.consumer) is None
    assert worker.unacknowledged() == 0


def test_a_redis_that_refuses_is_waited_for_like_one_that_is_away(namespace: str) -> None:
    """Any other error would end Dramatiq's consumer thread, and the worker would do nothing."""
    with temporary_home() as home, embedded_valkey(home) as url:
        worker = Worker(url, namespace)
        worker.send(3)
        message, _ = worker.take(2)
        worker.redis.config_set("min-replicas-to-write", "1")
        worker.consumer.ack(message)
        for refused in (
            lambda: next(worker.consumer),
            worker.consumer.close,
            lambda: worker.consumer.nack(message),
            lambda: worker.consumer.requeue([message]),
            worker.consume,
        ):
            with pytest.raises(ConnectionClosed, match="NOREPLICAS"):
                refused()
        worker.redis.config_set("min-replicas-to-write", "0")
        worker.consumer = worker.consume()
        assert next(worker.consumer).args == (2,)
        worker.close()
