"""What an event costs where there are few users and where there are a million."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine, text

from streakline import Event
from streakline.contract import EVENTS_PER_MESSAGE_MAX
from tests.benchmarks.batches import apply_rate
from tests.benchmarks.harness import METRIC, SEED, Figure, open_bench

TABLES = (
    "users",
    "events",
    "metric_totals",
    "metric_days",
    "streaks",
    "point_triggers",
    "point_entries",
    "scores",
)
FILL = (
    "insert into users select 'user-' || n, now() - interval '1 day' from {numbers}",
    "insert into events select 'user-' || n, :metric, 'fill', 1, now() - interval '1 day', true,"
    " current_date - 1, null, 1, now(), now() from {numbers}",
    "insert into metric_totals"
    " select 'user-' || n, :metric, 1, 1, now() - interval '1 day' from {numbers}",
    "insert into metric_days select 'user-' || n, current_date - 1, :metric, 1, 1 from {numbers}",
    "insert into streaks select 'user-' || n, 'daily', current_date - 1, current_date - 1, 1,"
    " current_date + 1 from {numbers}",
    "insert into point_triggers select 'user-' || n, 'xp', 'lesson', 1, 1, 10,"
    " now() - interval '1 day', 'fill', now() - interval '1 day' from {numbers}",
    "insert into point_entries"
    " select 'user-' || n, 'xp', 'lesson', 1, 'fill', 10, now() - interval '1 day' from {numbers}",
    "insert into scores select board_id, 'user-' || n,"
    " case leaderboard when 'xp' then 10 else 1 end, now() - interval '1 day'"
    " from boards, {numbers}",
)
NUMBERS = "generate_series(cast(:first as int), cast(:last as int)) as n"


def run(quick: bool) -> Iterator[Figure]:
    """Yield the rate at each number of users, and how much dearer an event became."""
    sizes, batches = ((1_000, 10_000), 10) if quick else ((1_000, 100_000, 1_000_000), 40)
    rates: list[float] = []
    with open_bench() as bench:
        there = 0
        for users in sizes:
            _fill(bench.engine, there, users - 1)
            there = users
            events = _events_of_distinct_users(users, batches)
            rates.append(apply_rate(bench.addresses.database_url, events))
            yield Figure(
                name=f"batches of 500 users out of {users:,}",
                value=rates[-1],
                unit="events/s",
                note="Postgres alone, one process",
            )
    yield Figure(
        name=f"cost of an event at {sizes[-1]:,} users against {sizes[0]:,}",
        value=rates[0] / rates[-1],
        unit="times",
        note="every batch has 500 users, picked from anywhere",
        goal="about 1",
    )


def _fill(engine: Engine, first: int, last: int) -> None:
    values = {"metric": METRIC, "first": first, "last": last}
    for statement in FILL:
        with engine.begin() as connection:
            connection.execute(text("set local statement_timeout = 0"))
            filled = text(statement.format(numbers=NUMBERS))
            connection.execute(
                filled, {name: values[name] for name in values if f":{name}" in filled.text}
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set statement_timeout = 0"))
        connection.execute(text(f"vacuum analyze {', '.join(TABLES)}"))
        connection.execute(text("checkpoint"))
        connection.invalidate()  # it has no statement timeout any more


def _events_of_distinct_users(users: int, batches: int) -> list[Event]:
    chance = random.Random(SEED)
    now = datetime.now(UTC)
    return [
        Event(user_id=f"user-{number}", metric=METRIC, key=f"{users}-{batch}", occurred_at=now)
        for batch in range(batches)
        for number in chance.sample(range(users), EVENTS_PER_MESSAGE_MAX)
    ]
