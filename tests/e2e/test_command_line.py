"""The command as a person meets it: it runs, it answers, and it says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streakline import Client, Event
from streakline.addresses import BROKER_URL_FILE
from tests.stack import PROGRAM, STREAKLINE, Stack, running_stack
from tests.waiting import wait_until


@pytest.fixture
def stack(database_url: str, valkey_url: str, namespace: str, tmp_path: Path) -> Iterator[Stack]:
    with running_stack(
        database_url=database_url, broker_url=valkey_url, namespace=namespace, home=tmp_path
    ) as stack:
        yield stack


def run_alone(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of ours in the environment but what is given."""
    clean = {name: value for name, value in os.environ.items() if "STREAKLINE_" not in name}
    return subprocess.run(
        [STREAKLINE, *words],
        env=clean | {"COLUMNS": "300"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_up_serves_a_backend_and_stops_cleanly(tmp_path: Path) -> None:
    # Given `streakline up` on a fresh home, with a program beside it
    home = tmp_path / "home"
    program = tmp_path / "streakline.toml"
    program.write_text(PROGRAM, encoding="utf-8")
    environment = {"STREAKLINE_HOME": str(home), "STREAKLINE_PROGRAM": str(program)}
    up = subprocess.Popen([STREAKLINE, "up", "--workers", "1"], env=dict(os.environ) | environment)
    try:
        wait_until((home / BROKER_URL_FILE).exists, deadline_seconds=60)

        # When a backend tracks events
        with Client((home / BROKER_URL_FILE).read_text().strip()) as client:
            client.track("user-1", "lessons", key="lesson-1", user={"tz": "Asia/Tokyo"})

        # Then they are applied, and read from another terminal
        drained = wait_until(
            lambda: run_alone("drain", "--timeout", "20", **environment).returncode == 0,
            deadline_seconds=90,
        )
        assert drained
        shown = run_alone("user", "show", "user-1", "--json", **environment)
        user = json.loads(shown.stdout)
        assert user["tz"] == "Asia/Tokyo"
        assert user["streaks"]["daily"]["length"] == 1
        assert user["points"]["xp"]["total"] == "10"
        assert user["leaderboards"]["xp"]["rank"] == 1
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(timeout=60) == 0


def test_status_has_the_shape_that_others_build_on(stack: Stack) -> None:
    status = stack.ask("status")
    assert status["ready"] is True
    assert status["waiting_events"] == 0
    assert status["rankings"] == {"waiting": 0}
    assert status["warehouse"] == {"waiting_events": 0}
    assert status["emails"] == {"due": 0, "failed": 0}
    assert status["backfills"] == []
    assert {tick["name"] for tick in status["ticks"]} == {"project-rankings", "recover-messages"}


def test_what_waits_is_counted_and_drain_says_that_nobody_works(stack: Stack) -> None:
    with stack.client() as client:
        client.track_many(
            [Event(user_id="user-1", metric="lessons", key=str(n)) for n in range(700)]
        )
    status = stack.ask("status")
    assert status["waiting_events"] == 700
    assert status["oldest_waiting_seconds"] > 0
    drained = stack.run("drain", "--timeout", "0.2")
    assert drained.returncode == 1
    assert "are workers running?" in drained.stderr


def test_unknown_users_and_leaderboards_are_answered_with_no(stack: Stack) -> None:
    user = stack.run("user", "show", "nobody", "--json")
    assert user.returncode == 1
    assert json.loads(user.stdout) == {"error": "no user 'nobody' was ever seen"}
    board = stack.run("leaderboard", "show", "lesons")
    assert board.returncode == 1
    assert "did you mean 'lessons'?" in board.stderr


def test_a_program_that_says_the_same_is_no_new_version(stack: Stack) -> None:
    again = stack.ask("program", "apply")
    assert (again["version"], again["new"]) == (1, False)


def test_a_broken_program_is_named_by_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(PROGRAM.replace('metric = "lessons"\npoints', 'metric = "lesons"\npoints'))
    done = run_alone("program", "check", str(path))
    assert done.returncode == 2
    assert "points.xp.triggers.lesson.metric" in done.stderr
    assert "did you mean 'lessons'?" in done.stderr


def test_no_database_is_said_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://app:secret@127.0.0.1:1/app"
    done = run_alone(
        "migrate",
        STREAKLINE_HOME=str(tmp_path),
        STREAKLINE_DATABASE_URL=url,
        STREAKLINE_REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert done.returncode == 2
    assert "STREAKLINE_DATABASE_URL" in done.stderr
    assert "secret" not in done.stderr + done.stdout


def test_no_broker_is_said_by_doctor_and_the_other_checks_go_on(
    database_url: str, tmp_path: Path
) -> None:
    done = run_alone(
        "doctor",
        "--json",
        STREAKLINE_HOME=str(tmp_path),
        STREAKLINE_DATABASE_URL=database_url,
        STREAKLINE_REDIS_URL="redis://app:secret@127.0.0.1:1/0",
    )
    assert done.returncode == 1
    assert "secret" not in done.stderr + done.stdout
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["postgres"]["ok"]
    assert not checks["broker"]["ok"]
    assert "STREAKLINE_REDIS_URL" in checks["redis"]["detail"]


def test_a_misspelt_setting_is_refused_with_the_right_name(tmp_path: Path) -> None:
    done = run_alone("status", STREAKLINE_HOME=str(tmp_path), STREAKLINE_DATABSE_URL="x")
    assert done.returncode == 2
    assert "Did you mean STREAKLINE_DATABASE_URL?" in done.stderr


def test_a_worker_of_an_unknown_queue_does_not_start(tmp_path: Path) -> None:
    done = run_alone("worker", "--queues", "evnts", STREAKLINE_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "events" in done.stderr


def test_an_import_names_bad_lines_applies_the_rest_and_changes_nothing_again(
    stack: Stack, tmp_path: Path
) -> None:
    """S13: of any age; S75: twice is once; S11: other content under a key is a conflict."""
    stack.start_all()
    events = tmp_path / "events.jsonl"
    line = '{"user_id": "user-1", "metric": "lessons", "key": "%s", "occurred_at": "%s"}'
    events.write_text(
        "\n".join(
            [
                line % ("a", "2011-01-01T12:00:00Z"),
                "{broken",
                line % ("b", "2011-01-02T12:00:00Z"),
                line % ("a", "2012-01-01T12:00:00Z"),
                (line % ("c", "2011-01-02T12:00:00Z")).replace("lessons", "lesons"),
            ]
        )
    )
    users = tmp_path / "users.jsonl"
    users.write_text('{"user_id": "user-1", "tz": "Europe/Paris"}')
    for _ in range(2):
        done = stack.run("events", "import", str(events), "--users", str(users))
        assert done.returncode == 1
        assert f"{events}, line 2: is no JSON" in done.stderr
        assert stack.run("drain", "--timeout", "60").returncode == 0
        user = stack.ask("user", "show", "user-1")
        assert user["metrics"]["lessons"]["total"] == "2"
        assert user["streaks"]["daily"]["history"] == [
            {"start": "2011-01-01", "end": "2011-01-02", "length": 2}
        ]
        found = stack.ask("events", "rejected")["rejected"]
        assert sorted(item["reason"] for item in found) == ["conflict", "unknown-metric"]


def test_the_demo_ends_by_itself_with_a_leaderboard(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    if not (repository / ".git").exists():
        pytest.skip("not a checkout of git: there is no history to show")
    done = run_alone("demo", "--git", str(repository), "--burst", "2000")
    assert done.returncode == 0, done.stderr
    assert "streaks of days with a commit" in done.stdout
    assert "commits (all)" in done.stdout
    assert "events applied, 0 set aside" in done.stdout
