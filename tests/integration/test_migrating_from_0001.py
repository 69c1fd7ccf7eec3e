"""From revision 0001 to 0002: facts stay, all that followed from them is folded anew from them.

The old rows are written as the code of 0001 wrote them, by SQL; what must come of them is what the
same facts come to in a new database.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from jobs.recompute_users import recompute_stale
from jobs.sweep_streaks import sweep_streaks
from models import tables
from models.migrations import upgrade
from models.program import load_program
from models.rulebooks import Rulebooks
from models.statements import users as user_statements
from models.statements.events import Outcome
from tests.applying import (
    NOW,
    dump_state,
    must_equal,
    opened,
    put_events,
    put_program,
    put_users,
    read_leaderboard,
    read_rules,
    read_standings,
    read_states,
    read_table,
)
from tests.servers import fresh_database

PROGRAM = """
[app]
name = "App"
timezone = "UTC"
[metrics.runs]
[streaks.daily]
frequency = "daily"
metrics = { runs = 1 }
[points.xp.triggers.run]
on = "metric"
metric = "runs"
every = 2
points = 10
[leaderboards.runs]
period = "all"
rank_by = { metric = "runs" }
segment_by = ["country"]
"""
APPLIED_AT = datetime(2026, 11, 1, tzinfo=UTC)
TOKYO, NEW_YORK = "Asia/Tokyo", "America/New_York"

ZONES = [
    ("mover", datetime(2026, 11, 1, tzinfo=UTC), TOKYO),
    ("mover", datetime(2026, 11, 10, 0, 0, 0, 123456, tzinfo=UTC), NEW_YORK),
    ("told late", datetime(2026, 11, 18, tzinfo=UTC), TOKYO),
]
FIELDS = [
    ("mover", "attributes.country", "JP", datetime(2026, 11, 2, 21, tzinfo=UTC)),
    ("mover", "attributes.shoes", "red", datetime(2026, 11, 2, 21, tzinfo=UTC)),
    ("mover", "name", "Mo", datetime(2026, 11, 3, tzinfo=UTC)),
    ("nowhere", "attributes.country", "FR", datetime(2026, 11, 5, 21, tzinfo=UTC)),
]
EVENTS = [
    # eight in the evening in UTC is the next morning in Tokyo and the afternoon in New York
    ("mover", datetime(2026, 11, 2, 20, tzinfo=UTC), date(2026, 11, 3)),
    ("mover", datetime(2026, 11, 3, 20, tzinfo=UTC), date(2026, 11, 4)),
    ("mover", datetime(2026, 11, 12, 20, tzinfo=UTC), date(2026, 11, 12)),
    ("nowhere", datetime(2026, 11, 5, 20, tzinfo=UTC), date(2026, 11, 5)),
    ("nowhere", datetime(2026, 11, 6, 20, tzinfo=UTC), date(2026, 11, 6)),
    # dated before the zone was told, for a time that it then reached back to (S1)
    ("told late", datetime(2026, 11, 19, 20, tzinfo=UTC), date(2026, 11, 19)),
]
EVERYONE = {user for user, *_ in EVENTS}
OLD_STATE = (
    '{"zones":[],"totals":{"runs":["99",9,"2026-11-12T20:00:00Z"]},"day":null,'
    '"streaks":{"daily":["2026-11-01","2026-11-12",12]},"points":{}}'
)
FILL: dict[str, list[dict[str, Any]]] = {
    "insert into programs values (1, :toml, :canonical, :applied_at)": [
        {
            "toml": PROGRAM,
            "canonical": load_program(PROGRAM, source="test").canonical_json(),
            "applied_at": APPLIED_AT,
        }
    ],
    "insert into users values (:user, :now, :state)": [
        {"user": user, "now": NOW, "state": OLD_STATE} for user in sorted(EVERYONE)
    ],
    "insert into user_zones values (:user, :since, :tz)": [
        {"user": user, "since": since, "tz": tz} for user, since, tz in ZONES
    ],
    "insert into user_fields values (:user, :field, :value, :told_at)": [
        {"user": user, "field": field, "value": value, "told_at": told_at}
        for user, field, value, told_at in FIELDS
    ],
    "insert into events values (:user, 'runs', :key, 1.5, :at, true, :day, null, 1, :now)": [
        {"user": user, "key": f"{at:%d}", "at": at, "day": day, "now": NOW}
        for user, at, day in EVENTS
    ],
    # What followed from the facts, and is wrong here so that none of it can be taken over.
    "insert into metric_days values (:user, '2026-11-12', 'runs', 99, 9)": [
        {"user": user} for user in EVERYONE
    ],
    "insert into streak_chains values (:user, 'daily', '2026-11-01', '2026-11-12', 12)": [
        {"user": user} for user in EVERYONE
    ],
    "insert into point_entries values (:user, 'xp', 'run', 1, '02', 490, :now)": [
        {"user": user, "now": NOW} for user in EVERYONE
    ],
    "insert into boards (leaderboard, run, segment, since, ascending)"
    " values ('runs', 'all', 'all', 1, false)": [{}],
    "insert into touched_boards (board_id, user_ids) values (1, :users)": [
        {"users": sorted(EVERYONE)}
    ],
}
AFTERWARDS = [
    # nine in the evening before, in New York; the other user's date is Tokyo's next
    {"user_id": "mover", "metric": "runs", "key": "new", "occurred_at": "2026-11-22T02:00:00Z"},
    {"user_id": "told late", "metric": "runs", "key": "new", "occurred_at": "2026-11-22T20:00:00Z"},
]


@pytest.fixture
def migrated(postgres_url: str) -> Iterator[Engine]:
    """A database that was filled at revision 0001, at the newest one."""
    with fresh_database(postgres_url) as url, opened(url) as engine:
        upgrade(engine, "0001")
        with engine.begin() as connection:
            for statement, rows in FILL.items():
                connection.execute(text(statement), rows)
        upgrade(engine)
        yield engine


@pytest.fixture
def told_anew(database_url: str) -> Iterator[Engine]:
    """A new database that was told the same facts."""
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, APPLIED_AT)
        known = [zone for zone in ZONES if zone[0] != "told late"]
        _put_zones(engine, known)
        put_events(engine, [_event(user, at) for user, at, _ in EVENTS])
        _put_zones(engine, [zone for zone in ZONES if zone not in known])
        for user, field, value, told_at in FIELDS:
            name = field.removeprefix("attributes.")
            fields = {name: value} if name == field else {"attributes": {name: value}}
            put_users(engine, [{"user_id": user} | fields], now=told_at, imported=False)
        yield engine


def _put_zones(engine: Engine, zones: list[tuple[str, datetime, str]]) -> None:
    for user, since, tz in zones:
        put_users(engine, [{"user_id": user, "tz": tz}], now=since, imported=False)


def _event(user_id: str, at: datetime) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "metric": "runs",
        "key": f"{at:%d}",
        "value": "1.5",
        "occurred_at": at.isoformat(),
    }


def test_everyone_is_to_be_folded_anew_and_nothing_that_followed_is_left(migrated: Engine) -> None:
    stamp = read_rules(migrated).stamp
    assert read_states(migrated) == {}
    with migrated.connect() as connection:
        assert set(user_statements.read_stale_ids(connection, stamp, 99)) == EVERYONE
    left = {table.name for table in tables.metadata.sorted_tables if read_table(migrated, table)}
    assert left == {"programs", "users", "user_facts", "user_fields", "events"}


def test_events_stay_as_they_are_and_zones_become_facts_s1(migrated: Engine) -> None:
    events = read_table(migrated, tables.events)
    assert [(row["user_id"], row["occurred_at"], row["local_date"]) for row in events] == EVENTS
    assert {(row["tz"], row["user_attributes"]) for row in events} == {(None, None)}
    facts = read_table(migrated, tables.user_facts)
    zones = [(row["user_id"], row["at"], row["body"]) for row in facts if "tz" in row["body"]]
    assert sorted(zones, key=str) == sorted(
        [(user, since, {"tz": tz}) for user, since, tz in ZONES], key=str
    )
    assert {(row["kind"], row["program_version"]) for row in facts} == {("told", 1)}


def test_recomputing_comes_to_what_the_facts_come_to(migrated: Engine, told_anew: Engine) -> None:
    assert recompute_stale(migrated, Rulebooks(), NOW) == len(EVERYONE)
    assert recompute_stale(migrated, Rulebooks(), NOW) == 0
    sum(sweep_streaks(told_anew, Rulebooks(), NOW))
    _must_equal(migrated, told_anew)
    for segment in ("all", "country=JP", "country=FR"):
        board = read_leaderboard(migrated, "runs", segment=segment)
        assert read_standings(migrated, board) == read_standings(told_anew, board)


def test_a_user_who_does_something_is_folded_and_the_event_has_the_date_of_the_zone_s1(
    migrated: Engine, told_anew: Engine
) -> None:
    for engine in (migrated, told_anew):
        assert put_events(engine, AFTERWARDS).outcomes[Outcome.APPLIED] == len(AFTERWARDS)
        sum(sweep_streaks(engine, Rulebooks(), NOW))
    touched = {event["user_id"] for event in AFTERWARDS}
    assert read_states(migrated).keys() == touched
    new = {
        row["user_id"]: row["local_date"]
        for row in read_table(migrated, tables.events)
        if row["key"] == "new"
    }
    assert new == {"mover": date(2026, 11, 21), "told late": date(2026, 11, 23)}
    found = read_states(migrated)
    assert found == {
        user: state for user, state in read_states(told_anew).items() if user in touched
    }
    assert recompute_stale(migrated, Rulebooks(), NOW) == 1
    _must_equal(migrated, told_anew)


def _must_equal(migrated: Engine, told_anew: Engine) -> None:
    """Everything is the same but the ids of what was told, and that a name was told as well."""
    found, expected = dump_state(migrated), dump_state(told_anew)
    for dump in (found, expected):
        del dump["user_facts"]
    must_equal(found, expected)
