"""How often Redis is asked, which limits the rates; times would follow the machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from streakline import Client, Event
from tests.brokers import working
from tests.regressions.dramatiq import Places, count_calls, declare, look, stock_broker
from tests.waiting import wait_until
from worker.broker import open_redis_broker

EVENTS = 500
SCRIPTS = "evalsha"


def asked(url: str, act: Callable[[], object]) -> int:
    """Return how often Redis ran a script meanwhile."""
    before = count_calls(url, SCRIPTS)
    act()
    return count_calls(url, SCRIPTS) - before


def test_dramatiq_asks_for_each_message_when_it_is_sent_and_when_it_is_done(
    valkey_url: str, namespace: str
) -> None:
    done: list[int] = []
    with stock_broker(valkey_url, namespace) as broker:
        act = declare(broker, done.append)

        def send() -> None:
            for number in range(EVENTS):
                act.send(number)

        def work() -> None:
            with working(broker, threads=8):
                wait_until(lambda: look(valkey_url, namespace) == Places())

        assert asked(valkey_url, send) >= EVENTS
        assert asked(valkey_url, work) >= EVENTS, (
            "Dramatiq acknowledges many at once by now: our consumer may go"
        )


def test_here_many_events_are_sent_by_one_call_and_many_messages_done_by_one(
    valkey_url: str, namespace: str
) -> None:
    events = [
        Event(user_id="u", metric="lessons", key=str(number), occurred_at=datetime.now(UTC))
        for number in range(EVENTS)
    ]
    with Client(valkey_url, namespace=f"{namespace}-sent") as client:
        client.track("u", "warming-up")  # connected, and the script is loaded
        assert asked(valkey_url, lambda: client.track_many(events)) == 1

    done: list[int] = []
    broker = open_redis_broker(valkey_url, namespace)
    act = declare(broker, done.append)
    for number in range(EVENTS):
        act.send(number)

    def work() -> None:
        with working(broker, threads=8):
            wait_until(lambda: look(valkey_url, namespace) == Places())

    assert asked(valkey_url, work) < EVENTS / 2
    assert sorted(done) == list(range(EVENTS))
    broker.client.close()
