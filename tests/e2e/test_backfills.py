"""Backfills as operators have them: commands and workers, killed on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from models import tables
from streakline import Event
from tests.applying import Dump, dump_state, must_equal, must_verify, opened
from tests.e2e.dying_backfill import POINTS
from tests.stack import PROGRAM, Stack
from tests.waiting import wait_until
from worker.backfilling import OVERDUE

USERS = 900  # so many chunks of 200 that three can be killed


@pytest.fixture
def engine(stack: Stack) -> Iterator[Engine]:
    with opened(stack.environment["STREAKLINE_DATABASE_URL"]) as engine:
        yield engine


def put_lessons(stack: Stack) -> None:
    """Have events applied, by a worker."""
    with stack.client() as client:
        client.track_many(
            [Event(user_id=f"u{number:04d}", metric="lessons", key="1") for number in range(USERS)]
        )
    worker = stack.start("worker", "--queues", "events,sweeps")
    wait_until(lambda: stack.ask("status")["applied_events"] == USERS)
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=30)


def damage(engine: Engine) -> Dump:
    """Lose all entries of the ledger of points; return what there was."""
    before = dump_state(engine)
    with engine.begin() as connection:
        connection.execute(tables.point_entries.delete())
    return before


def finished(stack: Stack, number: int) -> Any:
    def is_done() -> Any:
        found = stack.ask("backfill", "show", str(number))
        assert found["state"] not in {"failed", "cancelled"}, found
        return found if found["state"] == "done" else None

    return wait_until(is_done, deadline_seconds=60)


def test_killed_three_times_on_the_way_it_ends_as_an_unbroken_one_s71(
    stack: Stack, engine: Engine
) -> None:
    put_lessons(stack)
    before = damage(engine)
    number = stack.ask("backfill", "start", "recompute-users", "--reason", "a test")["id"]
    for step, point in enumerate(POINTS):
        dying = [sys.executable, "-m", "tests.e2e.dying_backfill", point, str(number), str(step)]
        killed = subprocess.run(dying, env=dict(stack.environment), timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL, point
    stack.start("worker", "--queues", "backfills", "--threads", "2")
    later = update(tables.backfills).values(next_at=tables.backfills.c.next_at - OVERDUE)
    with engine.begin() as connection:
        connection.execute(later)  # the message for the next chunk was lost half a minute ago
    assert stack.ask("tick", "run", "recover-backfills")["done"]["backfills"] == 1
    found = finished(stack, number)
    assert (found["done"], found["total"], found["error"]) == (USERS, USERS, None)
    assert found["changes"]["point_entries"]["added"] == USERS
    must_equal(dump_state(engine), before)
    assert must_verify(engine).users_checked == USERS


def test_an_operator_rehearses_starts_pauses_and_watches_s72(stack: Stack, engine: Engine) -> None:
    put_lessons(stack)
    before = damage(engine)
    stack.start("worker", "--queues", "backfills", "--threads", "2")

    rehearsed = stack.ask("backfill", "start", "recompute-users", "--dry-run")["id"]
    predicted = finished(stack, rehearsed)
    assert predicted["dry_run"] is True
    assert predicted["changes"]["point_entries"]["added"] == USERS
    assert dump_state(engine) != before, "nothing was changed"

    number = str(stack.ask("backfill", "start", "recompute-users", "--rate", "1")["id"])
    paused = stack.ask("backfill", "pause", number, "--reason", "lunch", "--by", "dia")
    assert paused["state"] == "paused"
    assert [(one["action"], one["actor"], one["reason"]) for one in paused["actions"]][1:] == [
        ("pause", "dia", "lunch")
    ]
    assert stack.run("backfill", "pause", number).returncode == 1
    [listed, _] = stack.ask("status")["backfills"]
    assert (listed["id"], listed["state"]) == (int(number), "paused")
    stack.ask("backfill", "throttle", number)
    stack.ask("backfill", "resume", number)
    watched = stack.run("backfill", "watch", number)
    assert watched.returncode == 0, watched.stderr
    assert f"{USERS} of {USERS} users" in watched.stdout
    must_equal(dump_state(engine), before)
    shown = stack.ask("backfill", "show", number)
    assert set(shown) >= {
        *("id", "kind", "state", "done", "total", "rate", "cursor", "dry_run", "changes", "error")
    }
    assert "recompute-users" in stack.run("backfill", "list").stdout


def test_a_file_with_bad_rows_is_imported_and_they_are_written_into_a_file_s70(
    stack: Stack, engine: Engine, tmp_path: Path
) -> None:
    lines = ["uid,at,key", *(f"u{one},2021-03-0{one}T08:00:00Z,k" for one in range(1, 5))]
    path = tmp_path / "old.csv"
    path.write_text("\n".join([*lines[:3], "u9", *lines[3:], "u8,today,k"]), encoding="utf-8")
    given = ("--columns", "user_id=uid,occurred_at=at", "--constant", "metric=lessons")
    stack.start("worker", "--queues", "backfills", "--threads", "2")
    number = stack.ask("backfill", "start", "import-events", str(path), *given)["id"]
    found = finished(stack, number)
    assert found["changes"]["events"]["added"] == 4
    assert found["refused"] == 2

    out = tmp_path / "refused.jsonl"
    assert stack.run("backfill", "refused", str(number), "--out", str(out)).returncode == 0
    refused = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(one["file"], one["line"]) for one in refused] == [(str(path), 4), (str(path), 7)]
    assert refused[0]["row"] == ["u9"]
    assert "occurred_at" in refused[1]["reason"]
    again = stack.ask("backfill", "start", "import-events", str(path), *given)["id"]
    assert finished(stack, again)["changes"] == {}
    must_verify(engine)


def test_what_was_set_aside_is_replayed_by_a_command_s70(stack: Stack, tmp_path: Path) -> None:
    wrong = {"user_id": "u1", "metric": "naps", "key": "1"}
    path = tmp_path / "naps.jsonl"
    path.write_text(json.dumps(wrong), encoding="utf-8")
    stack.start("worker", "--queues", "events,backfills", "--threads", "2")
    number = stack.ask("backfill", "start", "import-events", str(path))["id"]
    assert finished(stack, number)["refused"] == 1
    right = tmp_path / "right.toml"
    right.write_text(PROGRAM + "[metrics.naps]\n", encoding="utf-8")
    stack.ask("program", "apply", str(right))
    replayed = stack.ask("events", "replay", "--refused-as", "unknown-metric")["id"]
    assert finished(stack, replayed)["changes"]["events"]["added"] == 1
    assert stack.ask("events", "rejected")["rejected"] == []
    assert stack.ask("status")["rejected_events"] == 0
    assert stack.ask("user", "show", "u1")["metrics"]["naps"]["total"] == "1"


def test_a_backfill_that_there_is_not_is_an_answer(stack: Stack) -> None:
    done = stack.run("backfill", "show", "7", "--json")
    assert (done.returncode, "there is no backfill 7" in done.stdout) == (1, True)
    done = stack.run("backfill", "start", "recompute-users", "--user", "nobody")
    assert (done.returncode, "'nobody'" in done.stderr) == (2, True)
