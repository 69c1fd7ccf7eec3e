"""New time zones move deadlines that lie ahead, and nothing that is closed (S8)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from jobs import follow_calendar as module
from jobs.follow_calendar import follow_calendar
from jobs.sweep_streaks import sweep_streaks
from models import tables
from models.rulebooks import Rulebooks
from models.rules import calendar, periods
from tests.applying import must_verify, opened, put_events, put_program, read_states, read_table
from tests.folding import november

PROGRAM = """
[app]
name = "App"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[streaks.daily.freezes]
start = 1
max = 2
"""
RULEBOOKS = Rulebooks()
ONE_HOUR = timedelta(hours=1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, november(1))
        yield engine


def put_lessons(engine: Engine, *users: str) -> None:
    """One lesson each in Paris, on the 2nd."""
    at = november(2, 12)
    events = [
        {
            "user_id": user_id,
            "metric": "lessons",
            "key": "one",
            "occurred_at": at.isoformat(),
            "user": {"tz": "Europe/Paris"},
        }
        for user_id in users
    ]
    put_events(engine, events, now=at)


def follow(engine: Engine, version: str, now: datetime) -> list[int]:
    return list(follow_calendar(engine, RULEBOOKS, version, now))


@pytest.fixture
def paris_goes_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A new tzdata, by which Paris has the time of London."""

    def forget() -> None:
        for function in (calendar.day_start, periods._first_instant, periods._over_at):
            function.cache_clear()

    zone = calendar._zone
    monkeypatch.setattr(
        calendar,
        "_zone",
        lambda tz: ZoneInfo("Europe/London") if tz == "Europe/Paris" else zone(tz),
    )
    forget()
    yield
    monkeypatch.undo()
    forget()


def told(engine: Engine) -> dict[tuple[str, str], bool]:
    """Return whether each notice is silent, by user and kind, of which there is one."""
    rows = read_table(engine, tables.notices)
    found = {(row["user_id"], row["kind"]): row["silent"] for row in rows}
    assert len(found) == len(rows)
    return found


def due(engine: Engine) -> list[datetime]:
    return [row["due_at"] for row in read_table(engine, tables.users)]


def test_what_lies_ahead_moves_and_what_is_closed_stays_s8(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    # Given users whose 3rd of November is closed, held by a freeze, at midnight in Paris
    put_lessons(engine, "ann", "bob")
    assert sum(sweep_streaks(engine, RULEBOOKS, november(3, 23))) == 2
    assert due(engine) == [november(4, 23)] * 2
    follow(engine, "2026a", november(4))
    assert due(engine) == [november(4, 23)] * 2
    assert told(engine) == {("ann", "freeze-used"): False, ("bob", "freeze-used"): False}

    # When Paris goes west
    request.getfixturevalue("paris_goes_west")
    assert follow(engine, "2026b", november(4)) == [2]

    # Then the 4th is over an hour later, the 3rd stays frozen, and that is told once
    assert due(engine) == [november(4, 23) + ONE_HOUR] * 2
    states = read_states(engine)
    assert {state.due_at for state in states.values()} == {november(4, 23) + ONE_HOUR}
    assert told(engine) == {("ann", "freeze-used"): False, ("bob", "freeze-used"): False}
    assert must_verify(engine).users_checked == 2
    assert sum(sweep_streaks(engine, RULEBOOKS, november(4, 23, 30))) == 0
    assert sum(sweep_streaks(engine, RULEBOOKS, november(5))) == 2


def test_a_version_is_followed_once_and_an_older_one_not_at_all(engine: Engine) -> None:
    put_lessons(engine, "ann")
    assert follow(engine, "2026b", november(3)) == [1]
    assert follow(engine, "2026b", november(3)) == []
    assert follow(engine, "2026a", november(3)) == [], "of a process that is not upgraded yet"
    assert follow(engine, "2027a", november(3)) == [1]


def test_it_goes_on_where_it_was(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USERS_PER_TRANSACTION", 2)
    put_lessons(engine, "a", "b", "c", "d", "e")
    assert next(follow_calendar(engine, RULEBOOKS, "2026b", november(3))) == 2
    assert follow(engine, "2026b", november(3)) == [2, 1]
    assert follow(engine, "2026b", november(3)) == []
