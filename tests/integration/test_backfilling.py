"""Backfills in a worker: messages that come again or never, and live traffic that goes first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from jobs.backfills import (
    By,
    Context,
    cancel_backfill,
    pause_backfill,
    run_chunk,
    start_backfill,
)
from jobs.backfills.kinds.recompute_users import RecomputeUsers
from models import tables
from models.statements.backfills import Backfill, State, read_backfill
from streakline import Client
from tests.applying import put_events, put_program, read_leaderboard, read_table
from tests.settings import make_settings
from tests.stack import PROGRAM
from tests.waiting import wait_until
from worker import backfilling as module
from worker import queues
from worker.clock import utc_now
from worker.gauges import StatusCollector
from worker.runtime import Runtime, open_runtime
from worker.schedule import BACKFILLS_QUEUE
from worker.status import read_status

USERS = 20
ROWS = 4


@pytest.fixture
def runtime(
    database_url: str, valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    monkeypatch.setattr(RecomputeUsers, "rows_max", ROWS)
    monkeypatch.setattr(module, "MESSAGE_SECONDS_MAX", 0.0)  # a chunk a message
    with open_runtime(make_settings(database_url, valkey_url, namespace)) as runtime:
        put_program(runtime.engine, PROGRAM)
        put_events(
            runtime.engine,
            [{"user_id": f"u{one:02d}", "metric": "lessons", "key": "1"} for one in range(USERS)],
        )
        yield runtime


@contextmanager
def working(runtime: Runtime) -> Iterator[None]:
    worker = dramatiq.Worker(
        runtime.broker, queues={BACKFILLS_QUEUE}, worker_threads=2, worker_timeout=10
    )
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def start(runtime: Runtime, **options: Any) -> int:
    context = runtime.backfills.context
    return start_backfill(
        context, "recompute-users", {}, by=By(actor="ops"), now=utc_now(), **options
    )


def read(runtime: Runtime, number: int) -> Backfill:
    with runtime.engine.connect() as connection:
        found = read_backfill(connection, number)
    assert found is not None
    return found


def recovered(backfills: int = 0, lost_boards: int = 0, cleared_rows: int = 0) -> dict[str, int]:
    """Return what the tick says that it did."""
    return {"backfills": backfills, "lost_boards": lost_boards, "cleared_rows": cleared_rows}


def messages(runtime: Runtime) -> list[Message[Any]]:
    """Return what waits on the queue, at once or for later."""
    assert isinstance(runtime.broker, RedisBroker)
    client: Any = runtime.broker.client
    name = f"{runtime.broker.namespace}:{BACKFILLS_QUEUE}"
    bodies = [body for key in (f"{name}.msgs", f"{name}.DQ.msgs") for body in client.hvals(key)]
    return [Message.decode(body) for body in bodies]


def test_every_chunk_sends_for_the_next_until_all_is_done_s71(runtime: Runtime) -> None:
    number = start(runtime)
    runtime.backfills.send(read(runtime, number))
    runtime.backfills.send(read(runtime, number))  # a message may come twice
    with working(runtime):
        done = wait_until(lambda: (found := read(runtime, number)).settled_at and found)
    assert isinstance(done, Backfill)
    assert (done.state, done.done, done.step) == (State.DONE, USERS, USERS // ROWS + 1)


def test_a_message_runs_one_chunk_after_the_other_for_a_while_s71(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGE_SECONDS_MAX", 60.0)
    number = start(runtime)
    runtime.backfills.run(number, 0)
    assert read(runtime, number).state is State.DONE
    assert messages(runtime) == []


def test_an_outage_in_a_later_chunk_of_a_message_has_that_one_tried_again_s71(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGE_SECONDS_MAX", 60.0)

    def run_or_break_off(context: Context, number: int, step: int, *rest: Any) -> Any:
        if step == 2:
            raise OperationalError("select 1", {}, OSError("the server is away"))
        return run_chunk(context, number, step, *rest)

    monkeypatch.setattr(module, "run_chunk", run_or_break_off)
    number = start(runtime)
    runtime.backfills.run(number, 0)
    assert [one.args for one in messages(runtime)] == [(number, 2)]
    with pytest.raises(OperationalError):
        runtime.backfills.run(
            number, 2
        )  # a message whose own chunk fails is tried again as a whole


def test_one_whose_message_was_lost_is_sent_for_anew_s71(runtime: Runtime) -> None:
    number = start(runtime)
    tick = runtime.sweeps["recover-backfills"]
    assert tick(utc_now()) == recovered(0, 0), "it may be under way"
    late = tables.backfills.c.next_at - module.OVERDUE
    with runtime.engine.begin() as connection:
        connection.execute(update(tables.backfills).values(next_at=late))
    assert tick(utc_now()) == recovered(1, 0)
    assert tick(utc_now()) == recovered(0, 0), "once is enough"
    with working(runtime):
        wait_until(lambda: read(runtime, number).state is State.DONE)
    assert tick(utc_now() + timedelta(days=1)) == recovered(0, 0)


def test_a_rate_is_kept_by_resting_after_each_chunk_s71(runtime: Runtime) -> None:
    number = start(runtime, rate_max=2)
    runtime.backfills.run(number, 0)
    found = read(runtime, number)
    assert (found.done, found.step) == (2, 1)
    assert found.counted_until is not None
    rested = (found.next_at - found.counted_until).total_seconds()
    assert 0.5 < rested <= 1.1, "2 rows at 2 a second are a second, the work included"
    [waits] = messages(runtime)
    assert (waits.args, "eta" in waits.options) == ((number, 1), True)


def test_a_long_rest_is_in_postgres_and_not_with_a_worker(runtime: Runtime) -> None:
    """RabbitMQ wants a message back within half an hour."""
    number = start(runtime, rate_max=0.01)
    runtime.backfills.run(number, 0)
    assert messages(runtime) == []
    tick, due = runtime.sweeps["recover-backfills"], read(runtime, number).next_at
    assert due > utc_now() + timedelta(seconds=module.DELAY_SECONDS_MAX)
    assert tick(due) == recovered(0)
    assert tick(due + module.OVERDUE + timedelta(seconds=1)) == recovered(1)
    assert [one.args for one in messages(runtime)] == [(number, 1)]


def test_live_traffic_goes_first_s73(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    number = start(runtime)
    runtime.backfills.run(number, 0)
    [waits] = messages(runtime)
    assert "eta" not in waits.options, "nothing is in its way"
    with Client(runtime.addresses.broker_url, namespace=runtime.settings.namespace) as client:
        client.track("waits", "lessons", key="1")
    runtime.backfills.run(number, 1)
    assert all("eta" not in one.options for one in messages(runtime)), "a message is no crowd"
    monkeypatch.setattr(queues, "CROWD", 0)
    runtime.backfills.run(number, 2)
    [rests] = [one for one in messages(runtime) if "eta" in one.options]
    assert rests.args == (number, 3)
    found = read(runtime, number)
    assert found.counted_until is not None
    assert found.next_at > found.counted_until


def test_boards_that_redis_lost_are_made_anew_by_themselves_s74(runtime: Runtime) -> None:
    runtime.projector.project()
    board = read_leaderboard(runtime.engine, "lessons")
    before = runtime.rankings.page(board, limit=USERS)
    assert len(before) == USERS
    tick = runtime.sweeps["recover-backfills"]
    assert tick(utc_now()) == recovered(0, 0)
    keys: Any = list(runtime.redis.scan_iter(match=f"{runtime.settings.namespace}:ranking:*"))
    runtime.redis.delete(*keys)
    assert tick(utc_now()) == recovered(0, 2)
    assert tick(utc_now()) == recovered(0, 2), "one is under way already"
    with working(runtime):
        wait_until(lambda: runtime.rankings.page(board, limit=USERS) == before)
    [started] = read_table(runtime.engine, tables.backfill_actions)
    assert (started["actor"], started["reason"]) == (
        "streakline",
        "Redis has lost boards, 2 of those looked at",
    )


def test_a_dead_message_runs_again_with_all_its_retries(runtime: Runtime) -> None:
    message = runtime.broker.get_actor("recompute_users").message(utc_now().isoformat())
    runtime.backfills.context.put_back(message.copy(options={"retries": 8}).encode())
    assert isinstance(runtime.broker, RedisBroker)
    client: Any = runtime.broker.client
    [body] = client.hvals(f"{runtime.broker.namespace}:sweeps.msgs")
    again: Message[Any] = Message.decode(body)
    assert (again.message_id, again.options["retries"]) == (message.message_id, 0)


def test_what_an_import_had_read_is_cleared_away_in_parts(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLEARED_ROWS_MAX", 4)
    path = tmp_path / "events.jsonl"
    lines = [f'{{"user_id": "u{one}", "metric": "lessons", "key": "x"}}\n' for one in range(6)]
    path.write_text("".join(lines), encoding="utf-8")
    context = runtime.backfills.context
    asked = ("import-events", {"files": [str(path)]})
    first, second = (
        start_backfill(context, *asked, by=By(actor="ops"), now=utc_now()) for _ in range(2)
    )
    for number in (first, second):
        runtime.backfills.run(number, 0)
    tick = runtime.sweeps["recover-backfills"]
    assert tick(utc_now()) == recovered()
    cancel_backfill(context, first, By(actor="ops"), utc_now())
    assert tick(utc_now()) == recovered(cleared_rows=4)
    assert tick(utc_now()) == recovered(cleared_rows=2)
    assert tick(utc_now()) == recovered()
    rows = read_table(runtime.engine, tables.backfill_rows)
    assert {row["backfill_id"] for row in rows} == {second}, "one that runs needs its own"


def test_prometheus_and_status_see_how_far_backfills_are(runtime: Runtime) -> None:
    first, second = start(runtime), start(runtime)
    runtime.backfills.run(first, 0)
    pause_backfill(runtime.backfills.context, second, By(actor="ops"), utc_now())
    shown = {
        one["id"]: (one["state"], one["done"], one["total"])
        for one in read_status(runtime)["backfills"]
    }
    assert shown == {first: ("running", ROWS, USERS), second: ("paused", 0, USERS)}
    [gauge] = [
        metric
        for metric in StatusCollector(runtime).collect()
        if metric.name == "streakline_backfills"
    ]
    assert {sample.labels["state"]: sample.value for sample in gauge.samples} == {
        "planned": 0,
        "running": 1,
        "paused": 1,
        "failed": 0,
    }
