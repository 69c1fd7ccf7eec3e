"""What an event costs where there are few users and where there are a million."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from jobs.apply_events import Kind, Received, apply_events
from models.rulebooks import Rulebooks
from streakline import Event
from streakline.contract import EVENTS_PER_MESSAGE_MAX
from tests.benchmarks.batches import apply_rate
from tests.benchmarks.harness import METRIC, SEED, Figure, open_bench

MODEL = "model"
"""A user who did one thing once; everyone else is a copy."""
MODEL_AT = datetime.now(UTC) - timedelta(days=29)
"""As long ago as a program allows, nearly, so that the days after it do not run out."""
COPIES = {
    "users": "insert into users select 'user-' || n, first_seen_at, state",
    "events": "insert into events select 'user-' || n, metric, key, value, occurred_at,"
    " occurred_at_told, local_date, attributes, program_version, received_at, applied_at",
    "point_entries": "insert into point_entries select 'user-' || n, points, trigger, since, cause,"
    " amount, occurred_at",
}


def run(quick: bool) -> Iterator[Figure]:
    """Yield the rate at each number of users, and how much dearer an event became."""
    sizes, batches = ((1_000, 10_000), 10) if quick else ((1_000, 100_000, 1_000_000), 32)
    rates: list[float] = []
    with open_bench() as bench:
        _add_model(bench.engine)
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


def _add_model(engine: Engine) -> None:
    event = Event(user_id=MODEL, metric=METRIC, key="fill", occurred_at=MODEL_AT)
    received = Received(kind=Kind.EVENT, raw=event.to_json(), received_at=MODEL_AT)
    apply_events(engine, Rulebooks(), [received], MODEL_AT)


def _fill(engine: Engine, first: int, last: int) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set statement_timeout = 0"))
        for table, copy in COPIES.items():
            connection.execute(
                text(
                    f"{copy} from {table}, generate_series(cast(:first as int), :last) as n"
                    f" where user_id = '{MODEL}'"
                ),
                {"first": first, "last": last},
            )
        connection.execute(text(f"vacuum analyze {', '.join(COPIES)}"))
        connection.execute(text("checkpoint"))
        connection.invalidate()  # it has no statement timeout any more


def _events_of_distinct_users(users: int, batches: int) -> list[Event]:
    """Return events that all cause the same: each is its user's first on the next day."""
    chance = random.Random(SEED)
    days: dict[int, int] = defaultdict(int)
    events = []
    for batch in range(batches):
        for number in chance.sample(range(users), EVENTS_PER_MESSAGE_MAX):
            days[number] += 1
            events.append(
                Event(
                    user_id=f"user-{number}",
                    metric=METRIC,
                    key=f"{users}-{batch}",
                    occurred_at=MODEL_AT + timedelta(days=days[number]),
                )
            )
    return events
