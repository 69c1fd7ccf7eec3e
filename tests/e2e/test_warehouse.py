"""The warehouse beside the processes that there are: loaded, asked, compared, and killed."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from streakline import Event
from tests.applying import opened
from tests.backfilling import counts
from tests.clickhouse import ClickhouseServer
from tests.e2e.dying_worker import LOADING_POINTS
from tests.stack import Stack
from tests.waiting import wait_until

USERS = 5
EVENTS = 300


def track(stack: Stack, keys: str) -> None:
    with stack.client() as client:
        client.track_many(
            Event(user_id=f"user-{number % USERS}", metric="lessons", key=f"{keys}-{number}")
            for number in range(EVENTS)
        )


def drain(stack: Stack) -> None:
    done = stack.run("drain", "--timeout", "60")
    assert done.returncode == 0, done.stderr


def must_agree(stack: Stack) -> None:
    verified = stack.ask("verify")
    assert verified["warehouse_compared"] > 0
    assert (verified["warehouse_mismatches"], verified["warehouse_unfinished"]) == (0, [])


def reload_days(stack: Stack, *options: str) -> Any:
    """Reload the days around today; return how many rows of which kind that changes."""
    today = datetime.now(UTC).date()
    days = [f"{today + timedelta(days=number)}" for number in (-1, 1)]
    words = ("reload-warehouse", "--from", days[0], "--to", days[1], "--table", "events")
    number = stack.ask("backfill", "start", *words, *options)["id"]
    found = stack.ask("backfill", "watch", f"{number}")
    return {name.split()[0]: change for name, change in counts(found["changes"]).items()}


def test_another_process_is_asked_while_it_has_the_warehouse_s60_s61(stack: Stack) -> None:
    stack.start_all()
    track(stack, "a")
    drain(stack)
    status = stack.ask("status")["warehouse"]
    assert (status["waiting_events"], status["waiting_rows"], status["error"]) == (0, 0, None)
    must_agree(stack)
    doctor = json.loads(stack.run("doctor", "--json").stdout)
    [check] = [one for one in doctor["checks"] if one["check"] == "warehouse"]
    assert check["ok"]
    assert check["detail"].startswith("ClickHouse ")

    # And days of it are compared row by row, by whoever has it, and made anew
    stack.start("worker", "--queues", "backfills", "--threads", "2")
    with opened(stack.environment["STREAKLINE_DATABASE_URL"]) as engine, engine.begin() as wrong:
        wrong.execute(text("update events set attributes = '{}' where key = 'a-1'"))
    assert reload_days(stack, "--dry-run") == {"events": {"changed": 1}}
    assert reload_days(stack) == {"events": {"changed": 1}}
    must_agree(stack)

    # And all of it is loaded anew when that is asked for
    stack.ask("warehouse", "reload")
    drain(stack)
    must_agree(stack)

    # And when nobody has it, it is asked here
    stack.stop()
    must_agree(stack)


def test_old_events_leave_postgres_once_the_warehouse_has_them(
    stack: Stack, tmp_path: Path
) -> None:
    stack.start_all()
    track(stack, "new")
    past = tmp_path / "past.jsonl"
    with past.open("w") as file:
        for number in range(EVENTS):
            file.write(json.dumps(old_event(number)) + "\n")
    stack.ask("events", "import", str(past))
    drain(stack)
    short = stack.run("events", "close", "--kept", "10")
    assert (short.returncode, "33 days at least" in short.stderr) == (2, True)
    assert stack.run("events", "close").returncode == 2
    assert stack.ask("events", "close", "--kept", "90") == {"events": EVENTS}
    assert stack.ask("status")["warehouse"]["closed_events"] == EVENTS
    must_agree(stack)
    assert stack.ask("verify")["users_closed"] == USERS
    # And the same file again is nothing new
    stack.ask("events", "import", str(past))
    drain(stack)
    status = stack.ask("status")
    assert (status["applied_events"], status["duplicate_events"]) == (2 * EVENTS, EVENTS)
    user = stack.ask("user", "show", "user-1")
    assert user["metrics"]["lessons"]["total"] == str(2 * EVENTS // USERS)
    too_early = stack.run("user", "show", "user-1", "--as-of", "2020-01-01T00:00:00Z")
    assert "closed up to" in too_early.stderr
    derived = stack.run("explain", "user-1", "points.xp")
    assert "since: 2024-" in derived.stdout


def old_event(number: int) -> dict[str, str]:
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    return {
        "user_id": f"user-{number % USERS}",
        "metric": "lessons",
        "key": f"old-{number}",
        "occurred_at": at.isoformat(),
    }


@pytest.mark.parametrize("point", LOADING_POINTS)
def test_every_row_is_loaded_once_when_the_loader_is_killed(point: str, stack: Stack) -> None:
    stack.start("worker", "--queues", "events,sweeps")
    stack.start("scheduler")
    track(stack, "a")
    dying = stack.start_dying(point, "analytics")
    assert dying.wait(timeout=60) == -signal.SIGKILL
    track(stack, "b")
    stack.start("worker", "--queues", "sweeps,analytics", "--threads", "4")
    drain(stack)
    must_agree(stack)


def test_nobody_waits_for_a_server_that_is_down_and_one_can_see_it(
    stack: Stack, clickhouse_server: ClickhouseServer
) -> None:
    clickhouse_server.stop()
    url = clickhouse_server.url
    stack.environment = {**stack.environment, "STREAKLINE_CLICKHOUSE_URL": url}
    stack.start_all()
    track(stack, "a")
    wait_until(lambda: stack.ask("status")["applied_events"] == EVENTS, deadline_seconds=60)
    found = wait_until(lambda: stack.ask("status")["warehouse"]["error"], deadline_seconds=60)
    assert "refused" in found
    assert stack.ask("status")["warehouse"]["waiting_events"] == EVENTS
    doctor = stack.run("doctor")
    assert doctor.returncode == 1
    assert "STREAKLINE_CLICKHOUSE_URL" in doctor.stdout

    clickhouse_server.start()
    drain(stack)
    must_agree(stack)
    assert stack.ask("status")["warehouse"]["error"] is None
