"""What an event costs where there are few users and where there are a million."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from jobs.apply_events import Kind, Received, apply_events
from jobs.apply_program import apply_program
from models import tables
from models.database import open_engine
from models.program import load_program
from models.rulebooks import Rulebooks
from streakline import Event
from streakline.contract import EVENTS_PER_MESSAGE_MAX
from tests.benchmarks.harness import METRIC, SEED, Figure, open_bench
from tests.servers import fresh_database, migrated_database
from tests.stack import PROGRAM

MODEL = "model"
"""A user who did one thing once; everyone else is a copy."""
MODEL_AT = datetime.now(UTC) - timedelta(days=300)
"""So long ago that the days after it do not run out; events of any age are taken as imported."""
COPIED = (tables.users, tables.events, tables.point_entries)
"""What a user who did one thing has rows in."""


def run(quick: bool) -> Iterator[Figure]:
    """Yield the rate at each number of users, and how much dearer an event became.

    There is a database for each number, and they take turns batch by batch: what else slows the
    machine down for a while slows all of them. First between checkpoints, which is nearly always;
    then right after one, when the first change of a page writes all of it to the log, and among
    many users nearly every change is a page's first.
    """
    sizes, batches = ((1_000, 10_000), 10) if quick else ((1_000, 100_000, 1_000_000), 32)
    with open_bench() as bench, ExitStack() as stack:
        template = stack.enter_context(migrated_database(bench.addresses.database_url))
        turns = {}
        for users in sizes:
            url = stack.enter_context(
                fresh_database(bench.addresses.database_url, template=template)
            )
            engine = open_engine(url)
            stack.callback(engine.dispose)
            _fill(engine, users)
            turns[users] = _Turns(engine=engine, batches=_batches(users, 2 * batches + 1))
            turns[users].take()  # connects, and compiles the statements
        between = _take_turns(turns, batches)
        _checkpoint(turns[sizes[-1]].engine)
        after = _take_turns(turns, batches)
    for users in sizes:
        yield Figure(
            name=f"batches of 500 users out of {users:,}",
            value=batches * EVENTS_PER_MESSAGE_MAX / between[users],
            unit="events/s",
            note="Postgres alone, one process",
        )
    many, few = sizes[-1], sizes[0]
    yield Figure(
        name=f"cost of an event at {many:,} users against {few:,}",
        value=between[many] / between[few],
        unit="times",
        note="between checkpoints; every batch has 500 users, picked from anywhere",
        goal="about 1",
    )
    yield Figure(
        name="the same right after a checkpoint",
        value=after[many] / after[few],
        unit="times",
        note=f"{batches} batches",
    )


def _take_turns(turns: Mapping[int, _Turns], batches: int) -> dict[int, float]:
    """Let each database apply so many batches; return the seconds that each took."""
    seconds = dict.fromkeys(turns, 0.0)
    for _ in range(batches):
        for users, one in turns.items():
            seconds[users] += one.take()
    return seconds


def _checkpoint(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("checkpoint"))


@dataclass(slots=True, kw_only=True)
class _Turns:
    """One database and the batches that it has yet to apply."""

    engine: Engine
    batches: Iterator[list[Received]]
    rulebooks: Rulebooks = field(default_factory=Rulebooks)

    def take(self) -> float:
        """Apply the next batch; return the seconds that it took."""
        batch = next(self.batches)
        began = time.perf_counter()
        apply_events(self.engine, self.rulebooks, batch, datetime.now(UTC))
        return time.perf_counter() - began


def _fill(engine: Engine, users: int) -> None:
    """Put the program into force, let the model have its event, and copy it."""
    apply_program(engine, load_program(PROGRAM, source="benchmark"), PROGRAM, MODEL_AT)
    event = Event(user_id=MODEL, metric=METRIC, key="fill", occurred_at=MODEL_AT)
    apply_events(engine, Rulebooks(), [_received(event)], MODEL_AT)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set statement_timeout = 0"))
        for table in COPIED:
            copied = [one for one in table.columns if one.name != "user_id" and not one.identity]
            columns = ", ".join(one.name for one in copied)
            connection.execute(
                text(
                    f"insert into {table.name} (user_id, {columns})"
                    f" select 'user-' || n, {columns}"
                    f" from {table.name}, generate_series(0, cast(:last as int)) as n"
                    f" where user_id = '{MODEL}'"
                ),
                {"last": users - 1},
            )
        connection.execute(text(f"vacuum analyze {', '.join(map(str, COPIED))}"))
        connection.invalidate()  # it has no statement timeout any more


def _batches(users: int, batches: int) -> Iterator[list[Received]]:
    """Yield batches whose events all cause the same: each is its user's first on the next day."""
    chance = random.Random(SEED)
    days: dict[int, int] = defaultdict(int)
    for batch in range(batches):
        received = []
        for number in chance.sample(range(users), EVENTS_PER_MESSAGE_MAX):
            days[number] += 1
            event = Event(
                user_id=f"user-{number}",
                metric=METRIC,
                key=str(batch),
                occurred_at=MODEL_AT + timedelta(days=days[number]),
            )
            received.append(_received(event))
        yield received


def _received(event: Event) -> Received:
    return Received(
        kind=Kind.EVENT, raw=event.to_json(), received_at=datetime.now(UTC), imported=True
    )
