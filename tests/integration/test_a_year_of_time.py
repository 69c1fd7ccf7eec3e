"""A year: sweeps that come late, twice or for days not at all change nothing that anybody reads.

Two databases are told the same. One is swept every hour, the other by chance, at times from two
places at once. At every hour what is read of the second, with time brought up to then as a reader
does it, is the state that stands in the first.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from sqlalchemy import Engine, select

from jobs.sweep_streaks import sweep_streaks
from models import tables
from models.rulebooks import Rulebooks
from models.rules.calendar import day_start
from models.rules.effects import Effects
from models.rules.fold import advance
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.statements.users import decode_state
from tests.applying import (
    Raw,
    dump_state,
    must_equal,
    must_verify,
    opened,
    put_events,
    put_program,
    put_users,
    read_rules,
)

PROGRAM = """
[app]
name = "App"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
milestones = [7, 30]
[streaks.daily.freezes]
start = 1
max = 2
earn_every = 7
[streaks.graceful]
frequency = "daily"
metrics = { lessons = 1 }
grace = "5h"
days_off = ["sunday"]
[streaks.weekly]
frequency = "weekly"
metrics = { lessons = 3 }
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
[points.xp.triggers.week]
on = "streak"
streak = "daily"
every = 7
points = 50
[points.xp.triggers.member]
on = "membership"
every = "30d"
points = 100
[achievements.half-a-month]
on = "streak"
streak = "daily"
at = 14
[leaderboards.weekly]
rank_by = { points = "xp" }
period = "week"
clock = "user"
"""
# Paraguay, Cuba, Jordan, Gaza, Iran, Greenland, ... changed their clocks around midnight.
YEAR = 2018
USERS = 300
ZONES = 40
START = datetime(YEAR, 1, 1, tzinfo=UTC)
HOURS = 368 * 24
HOURS_PER_BATCH = 4
"""What arrives comes in batches, six a day: each costs as much as some sweeps."""
ONE_HOUR = timedelta(hours=1)
RULEBOOKS = Rulebooks()
SEED = 20261124


def odd_zones() -> list[str]:
    """Return a zone of each kind that has a missing midnight in the year, or one that comes twice.

    Those whose clocks change around the same midnights are of one kind.
    """
    days = [date(YEAR, 1, 1) + timedelta(days=number) for number in range(365)]
    found: dict[tuple[date, ...], str] = {}
    for tz in sorted(available_timezones()):
        odd = tuple(day for day in days if _changes_at_midnight(day, tz))
        if odd:
            found.setdefault(odd, tz)
    return list(found.values())


def _changes_at_midnight(day: date, tz: str) -> bool:
    start = day_start(day, tz)
    if start is None:
        return True
    before, after = (start + sign * timedelta(minutes=90) for sign in (-1, 1))
    zone = ZoneInfo(tz)
    return zone.utcoffset(before.astimezone(zone)) != zone.utcoffset(after.astimezone(zone))


def a_years_events(chance: random.Random) -> Iterator[tuple[datetime, Raw]]:
    """Yield events with the instants at which they arrive; some come days late."""
    for user in range(USERS):
        keen = chance.choice((0.05, 0.2, 0.9))
        for day in range(chance.randrange(60), 365):
            if chance.random() > keen:
                continue
            at = START + timedelta(days=day, seconds=chance.randrange(86_400))
            late = timedelta(hours=chance.randrange(70)) if chance.random() < 0.03 else timedelta(0)
            event = {"user_id": f"u{user}", "metric": "lessons", "key": f"{day}"}
            yield at + late, event | {"occurred_at": at.isoformat()}


def read(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(select(tables.users.c.user_id, tables.users.c.state))
        return {row.user_id: row.state for row in rows}


def read_at(text: str, now: datetime, rules: Rules) -> UserState:
    """Return a state as it is read at an instant."""
    state = decode_state(text)
    advance(state, now, rules, Effects())
    return state


@pytest.fixture
def steady(database_url: str) -> Iterator[Engine]:
    """The database that is swept every hour."""
    with opened(database_url) as engine:
        yield engine


@pytest.fixture
def broken(second_database_url: str) -> Iterator[Engine]:
    """The database that is swept by chance."""
    with opened(second_database_url) as engine:
        yield engine


class Sweeper:
    """Sweeps a database late, twice at once, as of some time ago, or for days not at all."""

    def __init__(self, engine: Engine, chance: random.Random, threads: ThreadPoolExecutor) -> None:
        self.engine = engine
        self.chance = chance
        self.threads = threads
        self.silent_until = START

    def ring(self, now: datetime) -> None:
        if now < self.silent_until:
            return
        what = self.chance.random()
        if what < 0.005:
            self.silent_until = now + timedelta(hours=self.chance.randrange(24, 200))
        elif what < 0.1:
            self.sweep(now - timedelta(minutes=self.chance.randrange(600)))
        elif what < 0.2:
            both = [self.threads.submit(self.sweep, now) for _ in range(2)]
            for one in both:
                one.result()
        elif what < 0.6:
            self.sweep(now)

    def sweep(self, now: datetime) -> None:
        sum(sweep_streaks(self.engine, RULEBOOKS, now))


class Comparison:
    """Compares what is read of one database with what stands in the other, user by user."""

    def __init__(self, steady: Engine, broken: Engine) -> None:
        self.steady = steady
        self.broken = broken
        self.rules = read_rules(steady)
        self.equal: dict[str, tuple[str, str]] = {}

    def compare(self, now: datetime) -> None:
        expected = read(self.steady)
        for user_id, text in read(self.broken).items():
            both = (text, expected[user_id])
            # Where neither has changed, and nothing was due in the first, nothing was in the other.
            if self.equal.get(user_id) != both:
                found = read_at(text, now, self.rules)
                assert found == decode_state(expected[user_id]), (user_id, now)
                self.equal[user_id] = both


@pytest.mark.long
def test_at_every_hour_of_a_year_what_is_read_is_what_an_uninterrupted_run_has_s23_s26(
    steady: Engine, broken: Engine
) -> None:
    chance = random.Random(SEED)
    odd = odd_zones()
    ordinary = [tz for tz in sorted(available_timezones()) if "/" in tz and tz not in odd]
    zones = [*odd, *chance.sample(ordinary, max(0, ZONES - len(odd)))]
    told = [{"user_id": f"u{user}", "tz": zones[user % len(zones)]} for user in range(USERS)]
    for engine in (steady, broken):
        put_program(engine, PROGRAM, START)
        put_users(engine, told, now=START)
    events = deque(sorted(a_years_events(chance), key=lambda one: one[0]))
    comparison = Comparison(steady, broken)
    with ThreadPoolExecutor(2) as threads:
        sweeper = Sweeper(broken, chance, threads)
        for hour in range(1, HOURS):
            now = START + hour * ONE_HOUR
            arrived = []
            while hour % HOURS_PER_BATCH == 0 and events and events[0][0] <= now:
                arrived.append(events.popleft()[1])
            if arrived:
                for engine in (steady, broken):
                    put_events(engine, arrived, now=now, imported=False, rulebooks=RULEBOOKS)
            sum(sweep_streaks(steady, RULEBOOKS, now))
            sweeper.ring(now)
            comparison.compare(now)
    for engine in (steady, broken):
        sum(sweep_streaks(engine, RULEBOOKS, START + timedelta(days=400)))
    must_equal(dump_state(broken), dump_state(steady))
    assert must_verify(broken).users_checked == USERS
