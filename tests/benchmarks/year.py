"""A large app's year, made in ClickHouse by its own functions: always the same one.

It goes through the tables that loads go through, in the order of time, so that the same views fill
the same rollups. Users join at a steady rate. Half of them stay for 15 days or more, a third for
30, one in 25 for a year; until then each is there on one day in five, or daily, or in between, and
does five things on most.
"""

from __future__ import annotations

import time
from datetime import date

from models.warehouse.engine import Warehouse

FIRST_DAY = date(2025, 1, 1)
DAYS = 365
USERS = 1_000_000
EVENTS = 100_000_000
"""About so many: they are drawn."""
CHAINS = 30_000_000
ENTRIES = 20_000_000
NOTICES = 5_000_000
ACHIEVEMENTS = 2_000_000
ROWS_PER_PART = 2_000_000
"""Rows, or users' days on which there may be events, that one insert is made of."""
SETTLE_SECONDS_MAX = 600.0
POLL_SECONDS = 0.5
_SETTINGS = {"max_threads": 2, "max_memory_usage": 6_000_000_000, "max_execution_time": 0}

# Drawn from a hash: `luck` is a number of 64 bits, and `lucky(luck)` lies between 0 and 1.
_FUNCTIONS = (
    "create or replace function lucky as luck -> (luck + 1) / 18446744073709551616",
    "create or replace function id_of as user -> concat('user-', leftPad(toString(user), 7, '0'))",
    f"create or replace function day_of as day -> toDate32('{FIRST_DAY}') + day",
    f"create or replace function instant_of as (day, luck) -> toDateTime64('{FIRST_DAY}', 6, 'UTC')"
    " + toIntervalDay(day) + toIntervalMicrosecond(luck % 86400000000)",
)
# Numbers of users follow the day on which they joined, as in production.
_USERS = """
insert into users
select id_of(number), number, intHash32(number) % 10000,
    instant_of(intDiv(number * {days}, {users}), intHash64(number))
from numbers_mt({start}, {rows})
"""
_EVENTS = """
insert into events
select id_of(user), user, ['lessons', 'words', 'minutes'][luck % 3 + 1],
    lower(hex(intHash64(luck))), 1 + luck % 20, instant_of(day, luck), day_of(day),
    ['', '{{"language": "fr"}}', '{{"language": "de"}}'][intDiv(luck, 3) % 3 + 1], 1,
    instant_of(day, luck) + toIntervalMicrosecond(luck % 3000000),
    instant_of(day, luck) + toIntervalMicrosecond(luck % 9000000)
from (
    select user, day, intHash64(luck + nth) as luck
    from (
        select
            number % {users} as user,
            intDiv(number, {users}) as day,
            intHash64(number) as luck,
            day - intDiv(user * {days}, {users}) as age,
            15 / lucky(intHash64(user + 1)) - 15 as stays,
            0.2 + 0.8 * lucky(intHash64(user + 2)) as chance,
            toUInt32(1 + least(24, -log(lucky(intHash64(luck))) * 4.1)) as times
        from numbers_mt({start}, {rows})
        where age = 0 or (age between 1 and stays and lucky(luck) < chance)
    )
    array join range(times) as nth
)
"""
_ANYONE = """
from (
    select
        number as i,
        intDiv(number * {days}, {total}) as day,
        intHash64(number + {total}) as luck,
        intHash64(luck) % greatest(1, intDiv((day + 1) * {users}, {days})) as user,
        instant_of(day, luck) as at
    from numbers_mt({start}, {rows})
)
"""
"""Of anyone who has joined by then, so many in all."""
_CHAINS = """
insert into streak_chains
select id_of(user), if(i % 4 = 0, 'weekly', 'daily') as streak,
    day_of(day) - length * if(streak = 'daily', 1, 7), day_of(day),
    toUInt32(1 - log(lucky(intHash64(luck + 1))) * if(luck % 50 = 0, 60, 4)) as length, at, 1, i
"""
_ENTRIES = """
insert into point_entries
select id_of(user), 'xp', ['lesson', 'words', 'streak'][luck % 3 + 1], 1,
    lower(hex(intHash64(luck + 1))), 10, 10, '', 0, at, at + toIntervalMillisecond(luck % 9000),
    0, 1, i
"""
_ACHIEVEMENTS = """
insert into achievements
select id_of(user), concat('achievement-', toString(luck % 20)), 1, at, false, at, 1, i
"""
_NOTICES = """
insert into notices
select id_of(user), ['freeze-used', 'streak-lost', 'milestone'][luck % 3 + 1],
    toString(day_of(day)), at,
    if(i % 4 = 0, '{{"streak": "weekly"}}', '{{"streak": "daily"}}'), false, 1, i
"""


def make_year(warehouse: Warehouse, share: int = 1) -> None:
    """Fill the tables with one part in `share` of a year; wait until ClickHouse has merged it."""
    for function in _FUNCTIONS:
        warehouse.command(function)
    users = USERS // share
    _insert(warehouse, _USERS, users, share)
    _insert(warehouse, _EVENTS, users * DAYS, share)
    for statement, rows in (
        (_CHAINS, CHAINS),
        (_ENTRIES, ENTRIES),
        (_ACHIEVEMENTS, ACHIEVEMENTS),
        (_NOTICES, NOTICES),
    ):
        _insert(warehouse, statement + _ANYONE, rows // share, share)
    _settle(warehouse)


def _insert(warehouse: Warehouse, statement: str, total: int, share: int) -> None:
    for start in range(0, total, ROWS_PER_PART):
        rows = min(ROWS_PER_PART, total - start)
        words = {"days": DAYS, "users": USERS // share, "total": total, "start": start}
        warehouse.command(statement.format(**words, rows=rows), _SETTINGS)


def _settle(warehouse: Warehouse) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while time.monotonic() < deadline:
        [found] = warehouse.ask("select count() as n from system.merges")
        if not found["n"]:
            return
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"ClickHouse still merges after {SETTLE_SECONDS_MAX:g} s")
