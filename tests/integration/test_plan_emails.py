"""Emails are planned once for each cause: from notices, and from what time brings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Engine

from jobs import plan_emails as module
from jobs.plan_emails import plan_emails
from jobs.sweep_streaks import sweep_streaks
from models import tables
from models.rulebooks import Rulebooks
from models.rules.control import bucket_of
from models.statements import emails as statements
from models.statements.emails import EmailState
from tests.applying import opened, put_events, put_program, put_users, read_table

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
PROGRAM = """
[app]
name = "Planning"
{app}
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = {{ lessons = 1 }}
milestones = [2]
[achievements.scholar]
on = "metric"
metric = "lessons"
at = 2
[emails]
from = "Planning <planning@example.org>"
[emails.reminder]
on = "streak-reminder"
streak = "daily"
[emails.lost]
on = "streak-lost"
streak = "daily"
[emails.milestone]
on = "milestone"
streak = "daily"
[emails.achievement]
on = "achievement"
[emails.come-back]
on = "inactive"
days = [3]
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM.format(app=""), BEGINNING)
        yield engine


def learn(
    engine: Engine, user: str, at: datetime, *, imported_at: datetime | None = None, **more: Any
) -> None:
    """Let a user with an address do a lesson, as it is told at that time, or imported later."""
    user_fields = {"email": f"{user}@example.org", **more}
    event = {
        "user_id": user,
        "metric": "lessons",
        "key": f"{at}",
        "occurred_at": at.isoformat(),
        "user": {key: value for key, value in user_fields.items() if value},
    }
    put_events(engine, [event], now=imported_at or at, imported=imported_at is not None)


def plan(engine: Engine, now: datetime) -> int:
    return sum(plan_emails(engine, Rulebooks(), now))


def planned(engine: Engine) -> list[tuple[str, str, str]]:
    return [
        (row["user_id"], row["name"], row["state"]) for row in read_table(engine, tables.emails)
    ]


def test_notices_and_time_make_emails_once_s50_s53(engine: Engine) -> None:
    learn(engine, "ann", NOON)
    learn(engine, "ann", NOON + timedelta(days=1))
    assert plan(engine, NOON + timedelta(days=1)) == 2
    assert planned(engine) == [
        ("ann", "achievement", "planned"),
        ("ann", "milestone", "planned"),
    ]
    evening = datetime(2026, 1, 12, 20, tzinfo=UTC)
    assert plan(engine, evening - timedelta(minutes=1)) == 0
    assert plan(engine, evening) == 1
    [reminder] = [row for row in read_table(engine, tables.emails) if row["name"] == "reminder"]
    assert (reminder["kind"], reminder["send_at"]) == ("streak-reminder", evening)
    assert reminder["useless_at"] == datetime(2026, 1, 13, tzinfo=UTC)
    assert plan(engine, evening) == 0

    list(sweep_streaks(engine, Rulebooks(), datetime(2026, 1, 13, 0, 1, tzinfo=UTC)))
    assert plan(engine, datetime(2026, 1, 13, 0, 2, tzinfo=UTC)) == 1
    assert plan(engine, NOON + timedelta(days=4)) == 1
    assert [name for _, name, _ in planned(engine)] == [
        "achievement",
        "come-back",
        "lost",
        "milestone",
        "reminder",
    ]
    assert plan(engine, NOON + timedelta(days=40)) == 0, "nothing more is due without a lesson"


def test_who_acts_is_reminded_of_the_next_deadline_s51(engine: Engine) -> None:
    for day in range(3):
        learn(engine, "ann", NOON + timedelta(days=day))
    assert plan(engine, NOON + timedelta(days=2, hours=11)) == 2, "a milestone, an achievement"
    assert plan(engine, NOON + timedelta(days=3, hours=8)) == 1
    learn(engine, "ann", NOON + timedelta(days=3, hours=9))
    assert plan(engine, NOON + timedelta(days=3, hours=10)) == 0
    assert plan(engine, NOON + timedelta(days=4, hours=8)) == 1


def test_imports_are_told_to_nobody_s53(engine: Engine) -> None:
    now = NOON + timedelta(days=3)
    learn(engine, "ann", NOON, imported_at=now)
    learn(engine, "ann", NOON + timedelta(days=1), imported_at=now)
    list(sweep_streaks(engine, Rulebooks(), now))
    assert plan(engine, now) == 0, "an achievement, a milestone, a streak lost: all of it is past"
    assert plan(engine, NOON + timedelta(days=4)) == 1, "but then it is three days"


def test_who_has_no_address_has_no_email(engine: Engine) -> None:
    learn(engine, "ann", NOON, email=None, tz="UTC")
    assert plan(engine, NOON + timedelta(days=1, hours=8)) == 0


def test_the_control_group_gets_none_and_one_can_see_which_s53(engine: Engine) -> None:
    put_program(engine, PROGRAM.format(app="control_group_percent = 50"), BEGINNING)
    users = [f"user-{number}" for number in range(20)]
    for user in users:
        learn(engine, user, NOON)
    assert plan(engine, NOON + timedelta(days=1, hours=8)) == 20
    withheld = {user for user, _, state in planned(engine) if state == EmailState.WITHHELD}
    assert withheld == {user for user in users if bucket_of(user) < 5_000}
    assert 0 < len(withheld) < 20


def test_a_zone_moves_what_is_due_s7_s51(engine: Engine) -> None:
    """In Tokyo the 11th ends at 15:00 UTC."""
    learn(engine, "ann", NOON - timedelta(hours=9), tz="Asia/Tokyo")
    assert plan(engine, datetime(2026, 1, 11, 10, 59, tzinfo=UTC)) == 0
    put_users(
        engine,
        [{"user_id": "ann", "tz": "America/New_York"}],
        now=datetime(2026, 1, 11, 10, 59, tzinfo=UTC),
        imported=False,
    )
    assert plan(engine, datetime(2026, 1, 11, 11, tzinfo=UTC)) == 0
    assert plan(engine, datetime(2026, 1, 12, 1, tzinfo=UTC)) == 1, "20:00 in New York"


def test_two_that_plan_at_once_plan_each_email_once_s53(database_url: str, engine: Engine) -> None:
    users = [f"user-{number}" for number in range(300)]
    for user in users:
        learn(engine, user, NOON)
        learn(engine, user, NOON + timedelta(days=1))
    start, found = Barrier(2), []

    def run() -> None:
        with opened(database_url) as other:
            start.wait()
            found.append(plan(other, NOON + timedelta(days=2, hours=8)))

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) + plan(engine, NOON + timedelta(days=2, hours=8)) == 900
    assert len(planned(engine)) == 900


def test_an_email_that_is_new_in_the_program_reaches_those_who_are_there_s36(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "USERS_PER_TRANSACTION", 2)
    put_program(engine, PROGRAM.format(app="").partition("[emails]")[0], NOON)
    for user in ("ann", "bob", "cid", "dan", "eve"):
        learn(engine, user, NOON)
    evening = NOON + timedelta(days=1, hours=8)
    assert plan(engine, evening) == 0
    put_program(engine, PROGRAM.format(app=""), evening)
    assert plan(engine, evening) == 5
    assert plan(engine, evening) == 0


def test_what_waits_is_counted(engine: Engine) -> None:
    learn(engine, "ann", NOON)
    evening = NOON + timedelta(days=1, hours=8)
    plan(engine, evening)
    with engine.connect() as connection:
        assert statements.count_due(connection, evening) == 1
        assert statements.count_due(connection, evening - timedelta(seconds=1)) == 0
        assert statements.count_emails(connection)[EmailState.PLANNED] == 1
