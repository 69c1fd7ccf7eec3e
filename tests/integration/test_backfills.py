"""The engine of backfills: chunk by chunk, each once, stopped and continued anywhere (S71, S72)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine

from jobs.backfills import (
    Chunk,
    Context,
    Hopeless,
    NotPossible,
    Work,
    cancel_backfill,
    pause_backfill,
    resume_backfill,
    run_chunk,
    throttle_backfill,
)
from jobs.backfills.kinds import KINDS
from jobs.backfills.kinds.recompute_users import RecomputeUsers
from jobs.backfills.showing import show_backfill
from models import tables
from models.statements.backfills import State
from tests.applying import (
    NOW,
    dump_state,
    must_equal,
    must_verify,
    opened,
    put_events,
    put_program,
    put_users,
    read_table,
)
from tests.backfilling import OPS, chunks, counts, opened_context, read, run, start

PROGRAM = """
[app]
name = "Backfills"

[metrics.lessons]

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }

[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10

[achievements.scholar]
on = "metric"
metric = "lessons"
at = 3

[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
"""
USERS = 11
EVENTS_OF_EACH = 4
ROWS = 3
KIND = "recompute-users"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_users(
            engine,
            [
                {"user_id": user(number), "attributes": {"plan": "pro" if number % 2 else "free"}}
                for number in range(USERS)
            ],
        )
        put_events(
            engine,
            [
                {
                    "user_id": user(number),
                    "metric": "lessons",
                    "key": str(day),
                    "occurred_at": f"2026-11-{10 + day}T10:00:00Z",
                }
                for number in range(USERS)
                for day in range(EVENTS_OF_EACH)
            ],
        )
        yield engine


@pytest.fixture
def context(
    engine: Engine, valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Context]:
    monkeypatch.setattr(RecomputeUsers, "rows_max", ROWS)
    with opened_context(engine, valkey_url, namespace) as context:
        yield context


def user(number: int) -> str:
    return f"u{number:02d}"


def damage(engine: Engine) -> None:
    """Let rows be lost that follow from the facts, and one be there that does not."""
    entries, achievements = tables.point_entries, tables.achievements
    with engine.begin() as connection:
        connection.execute(entries.delete().where(entries.c.user_id == user(2)))
        connection.execute(achievements.delete().where(achievements.c.user_id >= user(9)))
        connection.execute(
            achievements.insert().values(
                user_id=user(3),
                key="no-such",
                since=1,
                completed_at=NOW,
                backdated=False,
                decided_at=NOW,
            )
        )


def test_damaged_users_are_as_their_facts_say_again_s70(context: Context) -> None:
    before = dump_state(context.engine)
    damage(context.engine)
    assert dump_state(context.engine) != before
    done = run(context, KIND, {})
    assert (done.done, done.total, done.cursor) == (USERS, USERS, None)
    must_equal(dump_state(context.engine), before)
    assert must_verify(context.engine).users_checked == USERS


def test_a_dry_run_tells_exactly_what_the_run_does_and_changes_nothing_s72(
    context: Context,
) -> None:
    damage(context.engine)
    before = dump_state(context.engine)
    predicted = run(context, KIND, {}, dry_run=True)
    must_equal(dump_state(context.engine), before)
    assert counts(predicted.changes) == {
        "point_entries": {"added": EVENTS_OF_EACH},
        "achievements": {"added": 2, "removed": 1},
    }
    [lost] = [one for one in predicted.changes["achievements"]["samples"] if "removed" in one]
    assert (lost["user_id"], lost["removed"]["key"]) == (user(3), "no-such")

    assert run(context, KIND, {}).changes == predicted.changes
    assert run(context, KIND, {}).changes == {}, "again: no change"


@pytest.mark.parametrize(
    ("parameters", "users"),
    [
        ({"user_ids": [user(9), user(2), user(2)]}, 2),
        ({"segment": {"plan": "pro"}}, 5),
        ({"segment": {"plan": "none"}}, 0),
    ],
)
def test_some_users_alone_s70(parameters: dict[str, Any], users: int, context: Context) -> None:
    damage(context.engine)
    done = run(context, KIND, parameters)
    assert (done.done, done.total) == (users, users)
    healed = {row["user_id"] for row in read_table(context.engine, tables.point_entries)}
    assert (user(2) in healed) == ("user_ids" in parameters)


@pytest.mark.parametrize(
    ("kind", "parameters", "reason"),
    [
        ("recompute-user", {}, "did you mean 'recompute-users'"),
        (KIND, {"users": ["u00"]}, "no parameter 'users'"),
        (KIND, {"user_ids": ["u00"], "segment": {"plan": "pro"}}, "not both"),
        (KIND, {"user_ids": ["nobody"]}, "'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(
    kind: str, parameters: dict[str, Any], reason: str, context: Context
) -> None:
    with pytest.raises(NotPossible, match=reason):
        start(context, kind, parameters)
    assert read_table(context.engine, tables.backfills) == []


def test_a_step_that_is_asked_for_again_is_done_once_s71(context: Context) -> None:
    number = start(context, KIND, {})
    first = run_chunk(context, number, 0, lambda: NOW)
    assert first is not None
    assert (first.step, first.done) == (1, ROWS)
    assert run_chunk(context, number, 0, lambda: NOW) is None
    assert run_chunk(context, number, 2, lambda: NOW) is None, "nor one that is not due yet"
    assert read(context, number).done == ROWS


def test_of_many_who_run_the_same_step_at_once_one_does_s71(context: Context) -> None:
    number, together = start(context, KIND, {}), Barrier(4)

    def ask() -> bool:
        together.wait()
        return run_chunk(context, number, 0, lambda: NOW) is not None

    with ThreadPoolExecutor(4) as threads:
        ran = [one.result() for one in [threads.submit(ask) for _ in range(4)]]
    assert sum(ran) == 1
    assert read(context, number).step == 1


def test_it_pauses_resumes_and_is_cancelled_after_a_chunk_s71(context: Context) -> None:
    number = start(context, KIND, {})
    running = chunks(context, number)
    assert next(running).done == ROWS
    pause_backfill(context, number, OPS, NOW)
    step = read(context, number).step
    assert run_chunk(context, number, step, lambda: NOW) is None, "it rests"
    with pytest.raises(NotPossible, match="is paused; to pause it"):
        pause_backfill(context, number, OPS, NOW)
    resume_backfill(context, number, OPS, NOW)
    assert next(chunks(context, number)).done == 2 * ROWS
    cancelled = cancel_backfill(context, number, OPS, NOW)
    assert (cancelled.state, cancelled.done) == (State.CANCELLED, 2 * ROWS)
    assert run_chunk(context, number, cancelled.step, lambda: NOW) is None
    with pytest.raises(NotPossible, match="is cancelled; to resume it"):
        resume_backfill(context, number, OPS, NOW)
    shown = show_backfill(context.engine, number)
    assert shown is not None
    assert [(one["action"], one["actor"], one["reason"]) for one in shown["actions"]] == [
        (action, "ops", "a test") for action in ("start", "pause", "resume", "cancel")
    ]


def test_a_throttled_one_has_small_chunks_and_tells_its_rate_s71(context: Context) -> None:
    number = start(context, KIND, {}, rate_max=2)
    assert next(chunks(context, number)).done == 2
    throttle_backfill(context, number, None, OPS, NOW)
    last = list(chunks(context, number))[-1]
    assert (last.state, last.done) == (State.DONE, USERS)
    assert last.rate == pytest.approx(last.done / last.running_seconds)
    with pytest.raises(NotPossible, match="rate of 0"):
        start(context, KIND, {}, rate_max=0)


class Breaking(RecomputeUsers):
    """A kind whose chunk after the first one fails so many times, after it has done its work."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures = failures
        self.error = error

    def run(self, work: Work) -> Chunk:
        """Do the chunk, and fail."""
        done = super().run(work)
        if work.backfill.step == 1 and self.failures:
            self.failures -= 1
            raise self.error
        return done


def test_a_chunk_that_fails_is_tried_again_s71(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, KIND, Breaking(2, RuntimeError("no \x00 luck")))
    damage(context.engine)
    seen = list(chunks(context, start(context, KIND, {})))
    assert [one.error for one in seen[1:4]] == ["RuntimeError: no  luck"] * 2 + [None]
    assert (seen[-1].state, seen[-1].done) == (State.DONE, USERS)
    must_verify(context.engine)


@pytest.mark.parametrize(
    ("error", "attempts", "shown"),
    [(RuntimeError("no luck"), 3, "RuntimeError: no luck"), (Hopeless("no hope"), 1, "no hope")],
)
def test_it_stops_as_failed_with_the_reason_and_resumes_from_there_s71(
    error: Exception,
    attempts: int,
    shown: str,
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = Breaking(attempts, error)
    monkeypatch.setitem(KINDS, KIND, kind)
    damage(context.engine)
    number = start(context, KIND, {})
    failed = list(chunks(context, number))[-1]
    assert (failed.state, failed.done, failed.attempts) == (State.FAILED, ROWS, attempts)
    assert failed.error == shown
    there = {row["key"] for row in read_table(context.engine, tables.achievements)}
    assert "no-such" in there, "what the failed chunk had done is taken back"
    resumed = resume_backfill(context, number, OPS, NOW)
    assert (resumed.state, resumed.error) == (State.RUNNING, None)
    assert list(chunks(context, number))[-1].done == USERS
    must_verify(context.engine)


def test_an_outage_is_no_failure_s71(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    away = sqlalchemy.exc.OperationalError("select 1", {}, ConnectionError("away"))
    monkeypatch.setitem(KINDS, KIND, Breaking(9, away))
    number = start(context, KIND, {})
    run_chunk(context, number, 0, lambda: NOW)
    with pytest.raises(sqlalchemy.exc.OperationalError):
        run_chunk(context, number, 1, lambda: NOW, lambda error: error is away)
    assert (read(context, number).attempts, read(context, number).state) == (0, State.RUNNING)


NEW = """
[achievements.beginner]
on = "metric"
metric = "lessons"
at = 2
[achievements.master]
on = "metric"
metric = "lessons"
at = 99
"""


def test_new_achievements_are_backdated_to_who_meets_them_silently_s36(context: Context) -> None:
    put_program(context.engine, PROGRAM + NEW, NOW)
    before = dump_state(context.engine)
    wanted = {"achievements": ["beginner"]}
    predicted = run(context, "backdate-achievements", wanted, dry_run=True)
    must_equal(dump_state(context.engine), before)
    done = run(context, "backdate-achievements", wanted)
    assert (done.done, done.changes) == (USERS, predicted.changes)
    assert done.changes["achievements"]["added"] == USERS
    rows = read_table(context.engine, tables.achievements)
    assert {(row["key"], row["backdated"]) for row in rows} == {
        ("scholar", False),
        ("beginner", True),
    }
    assert all(
        row["silent"]
        for row in read_table(context.engine, tables.notices)
        if row["cause"].startswith("beginner")
    )
    must_verify(context.engine)
    again = run(context, "backdate-achievements", wanted)
    assert (again.total, again.changes) == (0, {})
    everything = run(context, "backdate-achievements", {})
    assert (everything.total, everything.changes) == (USERS, {}), "nobody is a master"
    with pytest.raises(NotPossible, match="no achievement 'novice'; there are beginner, master"):
        start(context, "backdate-achievements", {"achievements": ["novice"]})
