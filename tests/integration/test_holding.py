"""While Postgres is away a worker holds its messages, in order, and asks until it answers again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import dramatiq
import pytest
from dramatiq import Broker
from sqlalchemy import URL, Engine, event, make_url

from models.database import open_engine
from tests.brokers import is_settled, opened_broker, working
from tests.proxy import Proxy, proxying
from tests.waiting import wait_until
from worker import holding, retries
from worker.holding import HoldInOutage
from worker.retries import RetryOrKeep

SENT = range(1, 21)
ASKED = 30


class Postgres:
    """A database behind a network that can be cut; counts how often anybody tried to connect."""

    def __init__(self, engine: Engine, proxy: Proxy) -> None:
        self.engine, self.proxy = engine, proxy
        self.asked = 0
        event.listen(engine, "do_connect", self._count)

    def _count(self, *_: object) -> None:
        self.asked += 1

    def cut(self) -> None:
        self.proxy.cut(refusing=True)
        wait_until(lambda: not self._is_there())
        self.asked = 0

    def heal(self) -> None:
        self.proxy.heal()

    def _is_there(self) -> bool:
        try:
            with self.engine.connect():
                return True
        except Exception:
            return False


@pytest.fixture
def postgres(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    monkeypatch.setattr(holding, "ASK_SECONDS", 0.01)
    url = make_url(database_url)
    socket = Path(str(url.query["host"])) / f".s.PGSQL.{url.query['port']}"
    with proxying(socket) as proxy:
        engine = open_engine(_through(proxy, url))
        try:
            yield Postgres(engine, proxy)
        finally:
            engine.dispose()


def _through(proxy: Proxy, url: URL) -> str:
    direct = url.difference_update_query(["host", "port"])
    return direct.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


Opening = Callable[[], AbstractContextManager[Broker]]


@pytest.fixture
def opening(each_broker_url: str, valkey_url: str, namespace: str, postgres: Postgres) -> Opening:
    return lambda: opened_broker(
        each_broker_url,
        valkey_url,
        namespace,
        [RetryOrKeep(postgres.engine), HoldInOutage(postgres.engine)],
    )


class Act:
    """Needs Postgres; `tried` counts by message, `done` is in order."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tried = Counter[int]()
        self.done: list[int] = []

    def declare(self, broker: Broker) -> dramatiq.Actor[[int], None]:
        return dramatiq.actor(broker=broker, queue_name="events", actor_name="act")(self._run)

    def _run(self, number: int) -> None:
        self.tried[number] += 1
        with self._engine.begin():
            self.done.append(number)


def send_in_an_outage(actor: dramatiq.Actor[[int], None], postgres: Postgres) -> None:
    postgres.cut()
    for number in SENT:
        actor.send(number)


@pytest.mark.parametrize("threads", [1, 4])
def test_what_waits_is_tried_once_and_in_order(
    threads: int, opening: Opening, postgres: Postgres
) -> None:
    act = Act(postgres.engine)
    with opening() as broker:
        actor = act.declare(broker)
        with working(broker, threads):
            actor.send(0)
            wait_until(lambda: act.done == [0])
            send_in_an_outage(actor, postgres)
            wait_until(lambda: postgres.asked >= ASKED)
            assert act.done == [0]
            postgres.heal()
            wait_until(lambda: len(act.done) > len(SENT) and is_settled(broker))
    failed = sorted(number for number, tries in act.tried.items() if tries > 1)
    # each thread finds out by a message that fails
    assert 1 <= len(failed) <= threads
    assert act.tried == Counter([0, *SENT, *failed])
    assert sorted(act.done) == [0, *SENT]
    if threads == 1:
        assert [number for number in act.done if number not in failed] == [0, *SENT[1:]]


def test_a_worker_that_stops_meanwhile_keeps_nothing(opening: Opening, postgres: Postgres) -> None:
    act = Act(postgres.engine)
    with opening() as broker:
        actor = act.declare(broker)
        with working(broker, threads=2):
            send_in_an_outage(actor, postgres)
            wait_until(lambda: postgres.asked >= ASKED)
        assert act.done == []
    postgres.heal()
    with opening() as broker:
        act.declare(broker)
        with working(broker):
            wait_until(lambda: len(act.done) == len(SENT) and is_settled(broker))
    assert sorted(act.done) == list(SENT)


def test_in_a_long_outage_messages_are_put_back_and_held_again(
    opening: Opening, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ would take them from a worker that holds them for half an hour."""
    monkeypatch.setattr(holding, "HELD_SECONDS_MAX", 0.05)
    monkeypatch.setattr(retries, "OUTAGE_DELAY_MILLISECONDS_MAX", 4)
    act = Act(postgres.engine)
    with opening() as broker:
        actor = act.declare(broker)
        with working(broker, threads=4):
            send_in_an_outage(actor, postgres)
            wait_until(lambda: len(act.tried) == len(SENT) and min(act.tried.values()) >= 3)
            postgres.heal()
            wait_until(lambda: len(act.done) == len(SENT) and is_settled(broker))
    assert sorted(act.done) == list(SENT)


def test_an_error_of_one_message_holds_no_other(opening: Opening, postgres: Postgres) -> None:
    """A lock that was waited for too long counts as an outage; the next message finds Postgres."""
    act = Act(postgres.engine)
    with opening() as broker:
        actor = act.declare(broker)
        locked = dramatiq.actor(broker=broker, queue_name="events", actor_name="locked")(
            lambda: refuse(postgres.engine)
        )
        with working(broker):
            locked.send()
            actor.send(1)
            wait_until(lambda: act.done == [1])


def refuse(engine: Engine) -> None:
    """Fail as a statement does that waits too long for a lock."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "do $$ begin raise exception 'waited' using errcode = '55P03'; end $$"
        )
