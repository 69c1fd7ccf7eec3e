"""The command as a person meets it: it runs, it answers, and it says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.statements.emails import EmailState
from streakline import Client, Event
from streakline.addresses import BROKER_URL_FILE
from streakline.contract import read_instant
from tests.applying import opened, put_events, put_users
from tests.stack import PROGRAM, STREAKLINE, Stack, running_stack
from tests.waiting import wait_until
from worker.schedule import TICKS


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
    assert status["warehouse"] == {
        "waiting_events": 0,
        "waiting_rows": 0,
        "lag_seconds": 0.0,
        "failing_since": None,
        "error": None,
        "closed_events": 0,
    }
    assert status["emails"] == {"due": 0} | {state.value: 0 for state in EmailState}
    assert status["backfills"] == []
    assert {tick["name"] for tick in status["ticks"]} == {tick.name for tick in TICKS}


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
    done = run_alone("program", "check", str(path), "--json")
    assert done.returncode == 1
    assert "points.xp.triggers.lesson.metric" in done.stderr
    assert "did you mean 'lessons'?" in done.stderr
    assert json.loads(done.stdout) == {
        "ok": False,
        "problems": [
            {
                "place": "points.xp.triggers.lesson.metric",
                "text": "unknown metric 'lesons'; did you mean 'lessons'?",
                "line": 13,
                "column": None,
                "file": str(path),
            }
        ],
    }


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


SCHOOL = """
[app]
name = "School"

[metrics.lessons]

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[streaks.daily.freezes]
max = 2

[streaks.weekly]
frequency = "weekly"
metrics = { lessons = 1 }

[points.xp]
levels = [{ key = "bronze", at = 0 }, { key = "silver", at = 50 }]
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10

[achievements.scholar]
on = "metric"
metric = "lessons"
at = 3

[achievements.helper]
on = "manual"

[leaderboards.xp]
rank_by = { points = "xp" }
period = "all"

[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
segment_by = ["country"]
"""
BECAUSE = ("--reason", "an outage", "--by", "olga")
SOME_DAYS = ("2025-03-03", "2025-03-04", "2025-03-05")
"""From a Monday on."""
ANNS_CHAIN = {"start": "2025-03-03", "end": "2025-03-05", "length": 3}


class School:
    """A stack in which ann, of France, has had three lessons, and bob, of Germany, one."""

    def __init__(self, stack: Stack, database_url: str) -> None:
        self._stack, self.database_url = stack, database_url
        self.ask, self.run = stack.ask, stack.run
        told_at = datetime(2025, 3, 1, tzinfo=UTC)
        with opened(database_url) as engine:
            for user_id, country in (("ann", "FR"), ("bob", "DE")):
                told = {"user_id": user_id, "tz": "UTC", "attributes": {"country": country}}
                put_users(engine, [told], now=told_at)
        self.teach("ann", *SOME_DAYS)
        self.teach("bob", SOME_DAYS[0])

    def teach(self, user_id: str, *days: str) -> None:
        """Apply a lesson on each of some days, and show it in the rankings."""
        with opened(self.database_url) as engine:
            lessons = [
                {
                    "user_id": user_id,
                    "metric": "lessons",
                    "key": day,
                    "occurred_at": f"{day}T00:00Z",
                }
                for day in days
            ]
            put_events(engine, lessons, now=datetime.now(UTC))
        self.ask("recompute")

    def execute(self, sql: str, **values: str) -> None:
        """Change something behind the app's back."""
        with opened(self.database_url) as engine, engine.begin() as connection:
            assert connection.execute(text(sql), values).rowcount == 1

    def refuse(self, code: int, *words: str) -> str:
        """Run a command that must fail with this code; return what it said, in one line."""
        done = self.run(*words)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return " ".join(done.stderr.split())

    def say_no(self, *words: str) -> str:
        """Run a command whose answer is no; return the reason, given as JSON and as a line."""
        done = self.run(*words, "--json")
        assert done.returncode == 1, (done.stdout, done.stderr)
        reason = str(json.loads(done.stdout)["error"])
        assert done.stderr == f"error: {reason}\n"
        return reason

    def history(self, user_id: str, streak: str = "daily") -> Any:
        """Return a user's chains."""
        return self.ask("user", "show", user_id)["streaks"][streak]["history"]


@pytest.fixture
def school(database_url: str, valkey_url: str, namespace: str, tmp_path: Path) -> Iterator[School]:
    with running_stack(
        database_url=database_url,
        broker_url=valkey_url,
        namespace=namespace,
        home=tmp_path,
        program=SCHOOL,
    ) as stack:
        yield School(stack, database_url)


def test_freezes_are_granted_up_to_the_maximum_s24(school: School) -> None:
    granted = school.ask("streak", "grant", "ann", "daily", "--freezes", "5", *BECAUSE)
    assert granted["streaks"]["daily"]["freezes"] == 2
    assert "daily" in school.run("streak", "grant", "bob", "daily", *BECAUSE).stdout

    said = school.say_no("streak", "grant", "ann", "dayly", *BECAUSE)
    assert "did you mean 'daily'?" in said
    said = school.say_no("streak", "grant", "ann", "weekly", *BECAUSE)
    assert "[streaks.weekly.freezes]" in said
    said = school.say_no("streak", "grant", "nobody", "daily", *BECAUSE)
    assert "no user 'nobody' was ever seen" in said
    assert "--reason" in school.refuse(2, "streak", "grant", "ann", "daily")
    school.refuse(2, "streak", "grant", "ann", "daily", "--freezes", "0", *BECAUSE)


def test_a_pause_holds_one_streak_or_all_s27(school: School) -> None:
    days = ("--from", "2025-03-06", "--until", "2025-03-09")
    shown = school.ask("streak", "pause", "ann", *days, "--streak", "daily", *BECAUSE)
    assert shown["streaks"]["daily"]["history"] == [ANNS_CHAIN]
    school.teach("ann", "2025-03-10")
    assert school.history("ann") == [{"start": "2025-03-03", "end": "2025-03-10", "length": 4}]

    school.ask("streak", "pause", "bob", *days[:2], "--until", "2025-03-30", *BECAUSE)
    school.teach("bob", "2025-03-31")
    assert [chain["length"] for chain in school.history("bob", "weekly")] == [2]
    assert [chain["length"] for chain in school.history("bob")] == [1, 1]

    backwards = ("--from", "2025-03-09", "--until", "2025-03-06")
    assert "before the first" in school.say_no("streak", "pause", "ann", *backwards, *BECAUSE)
    said = school.refuse(2, "streak", "pause", "ann", "--from", "6 March", *days[2:], *BECAUSE)
    assert "'6 March' is not a date such as 2026-11-23" in said
    said = school.say_no("streak", "pause", "ann", *days, "--streak", "weakly", *BECAUSE)
    assert "did you mean 'weekly'?" in said
    assert "--reason" in school.refuse(2, "streak", "pause", "ann", *days)


def test_an_amnesty_makes_chains_whole_for_one_for_some_for_all_s27(school: School) -> None:
    days = ("--from", "2025-03-06", "--until", "2025-03-07")
    for user_id in ("ann", "bob"):
        school.teach(user_id, "2025-03-08")
        assert len(school.history(user_id)) == 2
    assert school.ask("streak", "amnesty", *days, "--where", "country=FR", *BECAUSE) == {"users": 1}
    assert [chain["length"] for chain in school.history("ann")] == [4]
    assert [chain["length"] for chain in school.history("bob")] == [1, 1]
    earlier = ("--from", "2025-03-04", "--until", "2025-03-05")
    done = school.ask("streak", "amnesty", *earlier, "--user", "bob", *BECAUSE)
    assert [chain["length"] for chain in done["streaks"]["daily"]["history"]] == [1, 1]
    done = school.run("streak", "amnesty", *days, "--everyone", *BECAUSE)
    assert done.stdout.strip() == "2 users"
    assert [chain["length"] for chain in school.history("bob")] == [2]

    one_of = "one of --user, --where and --everyone"
    assert one_of in school.refuse(2, "streak", "amnesty", *days, *BECAUSE)
    both = ("--everyone", "--user", "ann")
    assert one_of in school.refuse(2, "streak", "amnesty", *days, *both, *BECAUSE)
    said = school.say_no("streak", "amnesty", *days, "--where", "plan=pro", *BECAUSE)
    assert "those that can be named: country" in said
    said = school.refuse(2, "streak", "amnesty", *days, "--where", "country", *BECAUSE)
    assert "must be like country=FR" in said
    assert "--reason" in school.refuse(2, "streak", "amnesty", *days, "--everyone")


def test_a_reset_ends_a_chain_and_a_restoration_brings_it_back_s27(school: School) -> None:
    today = datetime.now(UTC).date()
    school.teach("ann", *(f"{today - timedelta(days=back)}" for back in (2, 1, 0)))
    assert school.ask("user", "show", "ann")["streaks"]["daily"]["length"] == 3
    reset = school.ask("streak", "reset", "ann", "daily", *BECAUSE)
    assert reset["streaks"]["daily"]["length"] == 0
    restored = school.ask("streak", "restore", "ann", "daily", *BECAUSE)
    assert restored["streaks"]["daily"]["length"] == 3

    school.teach("cleo", f"{today}")
    said = school.say_no("streak", "restore", "cleo", "daily", *BECAUSE)
    assert said == "cleo has no chain of daily that broke or was reset"
    for command in ("reset", "restore"):
        said = school.say_no("streak", command, "ann", "weakly", *BECAUSE)
        assert "did you mean 'weekly'?" in said
        assert "--reason" in school.refuse(2, "streak", command, "ann", "daily")


def test_a_restoration_undoes_a_break_s27(school: School) -> None:
    restored = school.ask("streak", "restore", "ann", "daily", *BECAUSE)
    assert restored["streaks"]["daily"]["length"] == 3
    assert restored["streaks"]["daily"]["started_on"] == "2025-03-03"


def test_points_are_adjusted_and_the_level_follows_s33(school: School) -> None:
    more = school.ask("points", "adjust", "ann", "xp", "25.5", *BECAUSE)["points"]["xp"]
    assert more == {"total": "55.5", "level": {"key": "silver", "number": 2}}
    less = school.ask("points", "adjust", "ann", "xp", "-30", *BECAUSE)
    assert less["points"]["xp"] == {"total": "25.5", "level": {"key": "bronze", "number": 1}}
    assert less["leaderboards"]["xp"]["score"] == "25.5"
    board = school.ask("leaderboard", "show", "xp")
    assert [one["score"] for one in board["standings"]] == ["25.5", "10"]

    assert "did you mean 'xp'?" in school.say_no("points", "adjust", "ann", "xpp", "1", *BECAUSE)
    school.refuse(2, "points", "adjust", "ann", "xp", "twelve", *BECAUSE)
    assert "--reason" in school.refuse(2, "points", "adjust", "ann", "xp", "1")


def test_an_achievement_is_completed_by_hand_once_s34(school: School) -> None:
    for _ in range(2):
        shown = school.ask("achievement", "complete", "bob", "helper", *BECAUSE)
        assert [one["key"] for one in shown["achievements"]] == ["helper"]
    said = school.say_no("achievement", "complete", "bob", "scholar", *BECAUSE)
    assert "is no achievement with on = 'manual'" in said
    said = school.say_no("achievement", "complete", "bob", "helpr", *BECAUSE)
    assert "did you mean 'helper'?" in said
    assert "--reason" in school.refuse(2, "achievement", "complete", "bob", "helper")


def test_what_is_known_of_a_user_is_set_from_now_on_s1(school: School) -> None:
    shown = school.ask(
        *("user", "set", "ann", "--tz", "Asia/Tokyo", "--email", "ann@example.org"),
        *("--name", "Ann", "--attribute", "country=JP", *BECAUSE),
    )
    assert (shown["tz"], shown["tz_assumed"]) == ("Asia/Tokyo", False)
    assert shown["fields"] == {
        "email": "ann@example.org",
        "name": "Ann",
        "attributes.country": "JP",
    }
    assert shown["streaks"]["daily"]["history"] == [ANNS_CHAIN]
    assert school.ask("user", "show", "ann", "--as-of", "2025-03-09T00:00:00Z")["tz"] == "UTC"

    assert "nothing to set" in school.refuse(2, "user", "set", "ann", *BECAUSE)
    said = school.refuse(2, "user", "set", "ann", "--tz", "Asia/Tokio", *BECAUSE)
    assert "Asia/Tokyo" in said
    said = school.refuse(2, "user", "set", "ann", "--attribute", "country", *BECAUSE)
    assert "must be like country=FR" in said
    assert "was ever seen" in school.say_no("user", "set", "nobody", "--tz", "UTC", *BECAUSE)
    assert "--reason" in school.refuse(2, "user", "set", "ann", "--tz", "UTC")


def test_a_suspended_user_vanishes_from_rankings_until_cleared_s48(school: School) -> None:
    suspended = school.ask("user", "suspend", "ann", *BECAUSE)
    assert suspended["suspended"] is True
    assert suspended["leaderboards"] == {}
    assert suspended["points"]["xp"]["total"] == "30"
    board = school.ask("leaderboard", "show", "xp")
    assert [one["user_id"] for one in board["standings"]] == ["bob"]
    cleared = school.ask("user", "clear", "ann", *BECAUSE)
    assert cleared["suspended"] is False
    assert cleared["leaderboards"]["xp"]["rank"] == 1
    for command in ("suspend", "clear"):
        assert "was ever seen" in school.say_no("user", command, "nobody", *BECAUSE)
        assert "--reason" in school.refuse(2, "user", command, "ann")


def test_a_user_is_shown_as_of_the_past_s26(school: School) -> None:
    school.ask("points", "adjust", "ann", "xp", "1000", *BECAUSE)
    shown = school.ask("user", "show", "ann", "--as-of", "2025-03-04T12:00:00Z")
    assert shown["metrics"]["lessons"]["total"] == "2"
    assert shown["streaks"]["daily"]["length"] == 2
    assert shown["points"]["xp"]["total"] == "20"
    assert shown["achievements"] == []
    text_shown = school.run("user", "show", "ann", "--as-of", "2025-03-04T12:00:00Z")
    assert text_shown.returncode == 0
    assert "20" in text_shown.stdout
    before = ("user", "show", "ann", "--as-of", "2025-02-01T00:00:00Z")
    assert "was ever seen by 2025-02-01T00:00:00Z" in school.say_no(*before)
    assert "--as-of" in school.refuse(2, "user", "show", "ann", "--as-of", "yesterday")


def test_verify_names_whose_state_is_not_what_the_facts_come_to(school: School) -> None:
    sound = school.ask("verify")
    assert (sound["users_checked"], sound["user_mismatches"]) == (2, 0)
    assert (sound["board_mismatches"], sound["samples"]) == (0, [])
    assert sound["boards_checked"] > 0
    assert school.ask("verify", "--sample", "1")["users_checked"] == 1
    assert "2 users, 0 differ" in school.run("verify").stdout

    school.execute(
        "update users set state = replace(state, :right, :wrong) where user_id = 'ann'",
        right='"facts":3',
        wrong='"facts":4',
    )
    done = school.run("verify", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["user_mismatches"] == 1
    assert found["samples"] == [
        {"user_id": "ann", "differs": "state.facts", "stored": "4", "recomputed": "3"}
    ]
    done = school.run("verify")
    assert done.returncode == 1
    assert "user_id ann, differs state.facts, stored 4, recomputed 3" in done.stdout

    # Folding anew puts it right; so it does with a row that a fold had decided.
    assert school.ask("recompute", "--everyone") == {"users": 2}
    assert school.ask("verify")["user_mismatches"] == 0
    school.execute("update point_entries set amount = 99 where user_id = 'bob'")
    found = json.loads(school.run("verify", "--json").stdout)
    assert [(one["user_id"], one["differs"]) for one in found["samples"]] == [
        ("bob", "point_entries")
    ]
    school.refuse(2, "verify", "--sample", "0")


def test_explain_derives_what_a_user_has_s37(school: School) -> None:
    lesson = {"local_date": "2025-03-05", "value": "1"}
    expected: list[tuple[str, object, dict[str, Any] | None]] = [
        ("metric.lessons", "3", lesson),
        ("streak.weekly", 0, {"period": "2025-03-03", "state": "active", "length": 1}),
        ("points.xp", "30", {"trigger": "lesson", "amount": "10", "balance": "30"}),
        ("achievement.scholar", True, lesson),
        ("achievement.helper", False, None),
        ("leaderboard.xp", "30", {"trigger": "lesson", "balance": "30"}),
        ("leaderboard.weekly/2025-W10", "3", {"value": "1", "score": "3"}),
    ]
    for what, value, step in expected:
        found = school.ask("explain", "ann", what)
        assert (found["user_id"], found["what"]) == ("ann", what.partition("/")[0])
        assert found["value"] == value, what
        matching = [one for one in found["steps"] if step and step.items() <= one.items()]
        assert len(matching) == (0 if step is None else 1), what
        shown = school.run("explain", "ann", what)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith(f"{found['what']} of ann: {value}\n")
        for column in found["steps"][0] if found["steps"] else ():
            assert column.replace("_", " ") in shown.stdout, what
        for one in found.get("standings", ()):
            assert f"  rank {one['rank']} of {one['participants']} in " in shown.stdout, what


def test_explain_says_what_there_is_to_explain_s37(school: School) -> None:
    assert school.ask("explain", "ann", "lessons")["what"] == "metric.lessons"
    assert "did you mean 'points.xp'?" in school.say_no("explain", "ann", "points.xq")
    several = school.say_no("explain", "ann", "xp")
    assert several == "'xp' is several things; say points.xp or leaderboard.xp"
    assert "was ever seen" in school.say_no("explain", "nobody", "points.xp")
    earlier = school.ask("explain", "ann", "points.xp", "--as-of", "2025-03-04T12:00:00Z")
    assert earlier["value"] == "20"
    assert "--as-of" in school.refuse(2, "explain", "ann", "points.xp", "--as-of", "yesterday")


def test_recompute_backdates_new_achievements_s36(school: School, tmp_path: Path) -> None:
    assert school.ask("recompute") == {"users": 0}
    path = tmp_path / "school2.toml"
    path.write_text(SCHOOL + '[achievements.first]\non = "metric"\nmetric = "lessons"\nat = 1\n')
    school.ask("program", "apply", str(path))
    assert school.ask("verify")["users_waiting"] == 2
    assert school.ask("recompute") == {"users": 2}
    assert school.run("recompute", "--everyone").stdout.strip() == "2 users folded anew"
    assert school.ask("verify")["users_waiting"] == 0
    shown = school.ask("user", "show", "bob")["achievements"]
    assert [(one["key"], one["backdated"]) for one in shown] == [("first", True)]


def test_runs_and_segments_of_a_leaderboard_are_shown_s41_s45_s47(school: School) -> None:
    runs = school.ask("leaderboard", "runs", "weekly")
    assert runs == {
        "leaderboard": "weekly",
        "runs": [
            {
                "run": "2025-W10",
                "status": "closing",
                "opens_at": "2025-03-03T00:00:00Z",
                "closes_at": "2025-03-10T00:00:00Z",
                "final_at": runs["runs"][0]["final_at"],
                "finalized_at": None,
            }
        ],
    }
    waits = read_instant("final_at", runs["runs"][0]["final_at"]) - datetime.now(UTC)
    assert timedelta(hours=11) < waits < timedelta(hours=12), "it was opened by an import, just now"
    assert "2025-W10" in school.run("leaderboard", "runs", "weekly").stdout
    assert school.ask("leaderboard", "runs", "xp")["runs"][0]["run"] == "all"

    show = ("leaderboard", "show", "weekly", "--run", "2025-W10")
    page = school.ask(*show)
    assert (page["run"], page["participants"]) == ("2025-W10", 2)
    assert [(one["rank"], one["user_id"], one["score"]) for one in page["standings"]] == [
        (1, "ann", "3"),
        (2, "bob", "1"),
    ]
    for source in ("redis", "postgres"):
        one = school.ask(*show, "--user", "bob", "--user", "nobody", "--source", source)
        assert [(row["rank"], row["user_id"]) for row in one["standings"]] == [(2, "bob")]
        german = school.ask(*show, "--segment", "country=DE", "--source", source)
        assert german["segment"] == {"country": "DE"}
        assert [(row["rank"], row["user_id"]) for row in german["standings"]] == [(1, "bob")]
    assert "country=DE" in school.run(*show, "--segment", "country=DE").stdout
    assert school.ask("leaderboard", "show", "weekly")["standings"] == []

    said = school.say_no("leaderboard", "runs", "weakly")
    assert "did you mean 'weekly'?" in said
    assert "'2025-13'" in school.say_no("leaderboard", "show", "weekly", "--run", "2025-13")
    assert "segmented by country" in school.say_no(*show, "--segment", "plan=pro")
    assert "must be like country=FR" in school.refuse(2, *show, "--segment", "DE")


def test_ticks_are_listed_and_run_by_hand_up_to_an_instant_s23(school: School) -> None:
    listed = school.ask("tick", "list")["ticks"]
    assert [(one["name"], one["last"]) for one in listed] == [(tick.name, None) for tick in TICKS]
    assert "sweep-streaks" in school.run("tick", "list").stdout

    early = school.ask("tick", "run", "sweep-streaks", "--now", "2025-03-05T12:00Z")
    assert early["done"] == {"users": 1}, "bob's chain has ended, ann's has not"
    ahead = school.run("tick", "run", "sweep-streaks", "--now", "2999-01-01T00:00Z")
    assert "has not come" in ahead.stdout
    assert "2 users" in ahead.stdout
    assert school.ask("tick", "run", "sweep-streaks")["done"] == {"users": 0}
    assert school.history("ann") == [ANNS_CHAIN]
    assert school.ask("verify")["user_mismatches"] == 0
    assert "sweep-leaderboards" in school.refuse(2, "tick", "run", "sweep")
    assert "--now" in school.refuse(2, "tick", "run", "sweep-streaks", "--now", "tomorrow")


def test_a_run_becomes_final_and_what_comes_late_is_listed_s43(school: School) -> None:
    run = ("weekly", "2025-W10")
    assert "is final" in school.say_no("leaderboard", "late", *run)
    school.ask("tick", "run", "sweep-streaks")
    assert school.ask("tick", "run", "sweep-leaderboards")["done"] == {"open": 2, "final": 0}
    assert school.ask("leaderboard", "finalize", *run)["status"] == "final"
    show = ("leaderboard", "show", "weekly", "--run", "2025-W10")
    final = school.ask(*show)
    assert (final["status"], final["participants"]) == ("final", 2)
    school.teach("bob", *SOME_DAYS[1:], "2025-03-06")
    assert school.ask(*show) == final
    assert school.ask("leaderboard", "late", *run)["late"] == [
        {
            "user_id": "bob",
            "final_score": "1",
            "score": "4",
            "reached_at": "2025-03-06T00:00:00Z",
        }
    ]
    assert "bob" in school.run("leaderboard", "late", *run).stdout
    assert school.ask("leaderboard", "finalize", *run)["status"] == "final"
    assert [one["user_id"] for one in school.ask(*show)["standings"]] == ["bob", "ann"]
    assert "no run" in school.say_no("leaderboard", "finalize", "weekly", "2025-W11")
    assert school.ask("verify")["board_mismatches"] == 0


def test_doctor_says_what_is_well_and_which_ticks_do_not_run(school: School) -> None:
    done = school.run("doctor")
    assert done.returncode == 1
    assert "ok   tables: at revision" in done.stdout
    assert "look ticks: not run for 3 intervals: sweep-streaks" in done.stdout
