"""Set-aside events and dead messages, replayed once their cause is gone (S70)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from dramatiq import Message
from sqlalchemy import Engine

from jobs.backfills import Context, NotPossible, run_chunk
from jobs.backfills.kinds.replay_dead import ReplayDead
from jobs.backfills.kinds.replay_rejected import ReplayRejected
from models import tables
from models.statements.events import Outcome, read_counts
from models.statements.messages import DeadMessage, add_dead_message
from tests.applying import (
    NOW,
    dump_state,
    must_equal,
    must_verify,
    opened,
    put_events,
    put_program,
    read_table,
)
from tests.backfilling import PutBack, opened_context, run, start

PROGRAM = """
[app]
name = "Replay"
{age}
[metrics.lessons]
max_value = {most}
{more}
[streaks.daily]
frequency = "daily"
metrics = {{ lessons = 1 }}
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
"""
WRONG = PROGRAM.format(most=5, more="", age="")
RIGHT = PROGRAM.format(most=50, more="[metrics.minutes]", age="")
LONG = PROGRAM.format(most=50, more="[metrics.minutes]", age='max_event_age = "90d"')
REJECTED, DEAD = "replay-rejected", "replay-dead"
ROWS = 4
USERS = 5


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        yield engine


@pytest.fixture
def context(
    engine: Engine, valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Context]:
    for kind in (ReplayRejected, ReplayDead):
        monkeypatch.setattr(kind, "rows_max", ROWS)
    with opened_context(engine, valkey_url, namespace) as context:
        yield context


def event(user: int, day: int, metric: str = "lessons", **more: Any) -> dict[str, Any]:
    at = (NOW - timedelta(days=day)).isoformat()
    return {
        "user_id": f"u{user}",
        "metric": metric,
        "key": f"{metric}-{day}",
        "occurred_at": at,
    } | more


def events() -> list[dict[str, Any]]:
    """Return events some of which the wrong program does not take."""
    return [
        one
        for user in range(USERS)
        for one in (
            event(user, 3),
            event(user, 2, value=7),
            event(user, 2, "minutes", value=30),
            event(user, 1),
        )
    ]


def reasons(context: Context) -> list[str]:
    return sorted(row["reason"] for row in read_table(context.engine, tables.rejected_events))


def test_what_a_right_program_takes_counts_as_if_it_had_been_right_s70(
    context: Context, second_database_url: str
) -> None:
    put_program(context.engine, WRONG)
    put_events(context.engine, events(), imported=False)
    assert reasons(context) == ["too-large"] * USERS + ["unknown-metric"] * USERS
    put_program(context.engine, RIGHT)
    before = dump_state(context.engine)

    predicted = run(context, REJECTED, {}, dry_run=True)
    must_equal(dump_state(context.engine), before)
    assert len(reasons(context)) == 2 * USERS
    assert predicted.changes["events"]["added"] == 2 * USERS
    assert predicted.changes["rejected_events"]["removed"] == 2 * USERS
    assert predicted.changes["points"]["changed"] == USERS

    done = run(context, REJECTED, {})
    assert (done.done, done.total) == (2 * USERS, 2 * USERS)
    assert done.changes == predicted.changes
    assert reasons(context) == []
    must_verify(context.engine)
    with context.engine.connect() as connection:
        counts = read_counts(connection)
    assert (counts[Outcome.APPLIED], counts[Outcome.REJECTED]) == (4 * USERS, 0)

    with opened(second_database_url) as other:
        put_program(other, RIGHT)
        put_events(other, events(), imported=False)
        for name in ("point_entries", "streak_chains"):
            found, wanted = dump_state(context.engine)[name], dump_state(other)[name]
            assert found == wanted, name
    assert run(context, REJECTED, {}).changes == {}, "again: no change"


def test_what_is_refused_again_stays_with_the_reason_that_holds_now_s17(context: Context) -> None:
    put_program(context.engine, WRONG)
    put_events(
        context.engine,
        [
            event(1, 1, value=99),
            event(2, 1, "minutes", value="-3"),
            event(3, 1),
            event(3, 1, value=2),
        ],
        imported=False,
    )
    put_events(context.engine, [{"metric": "lessons"}, {"user_id": "u4", "metric": ""}])
    was = ["conflict", "invalid", "invalid", "too-large", "unknown-metric"]
    assert reasons(context) == was
    put_program(context.engine, RIGHT)
    predicted = run(context, REJECTED, {}, dry_run=True)
    assert reasons(context) == was
    done = run(context, REJECTED, {})
    assert done.changes == predicted.changes == {"rejected_events": {"changed": 1, "samples": []}}
    assert reasons(context) == ["conflict", "invalid", "invalid", "negative", "too-large"]
    [detail] = [
        row["detail"]
        for row in read_table(context.engine, tables.rejected_events)
        if row["reason"] == "negative"
    ]
    assert "minutes does not allow_negative" in detail
    assert run(context, REJECTED, {}).changes == {}


def test_age_is_what_it_was_when_the_event_came_s13(context: Context) -> None:
    put_program(context.engine, RIGHT)
    put_events(context.engine, [event(1, 40), event(2, 400)], imported=False)
    assert reasons(context) == ["too-old", "too-old"]
    assert run(context, REJECTED, {}).changes == {}
    put_program(context.engine, LONG)
    assert run(context, REJECTED, {}).changes["events"]["added"] == 1
    assert reasons(context) == ["too-old"]


def test_old_events_of_an_import_are_not_too_old_afterwards_s13(context: Context) -> None:
    put_program(context.engine, WRONG)
    put_events(context.engine, [event(1, 400, "minutes")], imported=True)
    put_program(context.engine, RIGHT)
    assert run(context, REJECTED, {}).changes["events"]["added"] == 1


def test_some_alone(context: Context) -> None:
    put_program(context.engine, WRONG)
    put_events(context.engine, events(), imported=False)
    put_program(context.engine, RIGHT)
    done = run(context, REJECTED, {"reasons": ["unknown-metric"], "metrics": ["minutes"]})
    assert done.total == USERS
    assert reasons(context) == ["too-large"] * USERS
    with pytest.raises(NotPossible, match="no reason 'too-big'; there are invalid, conflict"):
        start(context, REJECTED, {"reasons": ["too-big"]})


def test_an_event_that_came_again_meanwhile_counts_once(context: Context) -> None:
    put_program(context.engine, WRONG)
    put_events(context.engine, [event(1, 1, "minutes")], imported=False)
    put_program(context.engine, RIGHT)
    put_events(context.engine, [event(1, 1, "minutes")], imported=False)
    assert "events" not in run(context, REJECTED, {}).changes
    assert reasons(context) == []
    assert len(read_table(context.engine, tables.events)) == 1


def put_dead(context: Context, number: int, actor: str) -> None:
    message: Message[Any] = Message(
        queue_name="events", actor_name=actor, args=(), kwargs={"n": number}, options={"retries": 8}
    )
    dead = DeadMessage(
        message_id=f"m{number:02d}",
        queue="events",
        actor=actor,
        body=message.encode(),
        error="RuntimeError: no luck",
    )
    with context.engine.begin() as connection:
        add_dead_message(connection, dead)


def test_dead_messages_are_put_back_and_forgotten_s70(context: Context) -> None:
    put_program(context.engine, RIGHT)
    for number in range(10):
        put_dead(context, number, "act" if number % 2 else "other")
    back = context.put_back
    assert isinstance(back, PutBack)
    predicted = run(context, DEAD, {"actors": ["act"]}, dry_run=True)
    assert back.bodies == []
    done = run(context, DEAD, {"actors": ["act"]})
    assert done.changes == predicted.changes
    assert done.changes["dead_messages"]["removed"] == 5
    assert [Message.decode(body).kwargs["n"] for body in back.bodies] == [1, 3, 5, 7, 9]
    run(context, DEAD, {})
    assert read_table(context.engine, tables.dead_messages) == []
    assert len(back.bodies) == 10


def test_where_the_broker_is_away_no_dead_message_is_forgotten(context: Context) -> None:
    put_program(context.engine, RIGHT)
    put_dead(context, 1, "act")

    def refuse(_body: bytes) -> None:
        raise ConnectionError("away")

    away = Context(
        engine=context.engine,
        rulebooks=context.rulebooks,
        rankings=context.rankings,
        put_back=refuse,
    )
    failed = run_chunk(away, start(context, DEAD, {}), 0, lambda: NOW)
    assert failed is not None
    assert failed.error == "ConnectionError: away"
    assert len(read_table(context.engine, tables.dead_messages)) == 1
