"""What an event costs a user who has few events, and one who has a million.

All users are in one database and take turns, so that what slows the machine down slows them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from sqlalchemy import Engine

from jobs.apply_events import Kind, Received, apply_events
from jobs.show_user import show_user
from models.rulebooks import Rulebooks
from models.statements.events import Outcome
from tests.benchmarks.harness import METRIC, Bench, Figure, open_bench, resident_megabytes, tidy
from worker.serving import collect_rarely

EVENTS_PER_BATCH = 1_000
LATE_BY_EVENTS = 1_000
"""How many events of the user come after the late one."""
STEP = timedelta(seconds=30)
"""From one event of the user to the next: a million take a year."""


def run(quick: bool) -> Iterator[Figure]:
    """Yield what an event, a late one and a look cost at each number of events of one user."""
    collect_rarely()  # as the workers do
    sizes, turns = ((1_000, 5_000), 3) if quick else ((1_000, 10_000, 100_000, 1_000_000), 12)
    few, many = sizes[0], sizes[-1]
    with open_bench() as bench:
        users = {size: _User(engine=bench.engine, user_id=f"of-{size}") for size in sizes}
        for size, user in users.items():
            for _ in range(size // EVENTS_PER_BATCH):
                user.apply_next()
        tidy(bench.engine)
        for what, seconds in _take_turns(bench, users, turns):
            for size in sizes:
                yield Figure(
                    name=f"{what}, user of {size:,} events",
                    value=1_000 * seconds[size] / turns,
                    unit="ms",
                )
            yield Figure(
                name=f"{what}, at {many:,} against {few:,}",
                value=seconds[many] / seconds[few],
                unit="times",
                note="same run, in turns",
                goal="about 1",
            )
        began = time.perf_counter()
        users[many].apply_late(users[many].events)
        yield Figure(
            name=f"one event before all {many:,}",
            value=time.perf_counter() - began,
            unit="s",
            note="all of the user's are folded anew, in one transaction",
        )
    yield Figure(
        name="the process that did it",
        value=resident_megabytes([psutil.Process()]),
        unit="MB",
    )


def _take_turns(
    bench: Bench, users: Mapping[int, _User], turns: int
) -> Iterator[tuple[str, dict[int, float]]]:
    """Do each thing to each user so many times; yield the seconds that it took by size."""
    things: dict[str, Callable[[_User], object]] = {
        f"a batch of {EVENTS_PER_BATCH:,} new events": _User.apply_next,
        f"the same {EVENTS_PER_BATCH:,} again": _User.apply_again,
        f"one event, {LATE_BY_EVENTS:,} events late": _User.apply_late,
        "user show": lambda user: user.show(bench),
    }
    for what, do in things.items():
        seconds = dict.fromkeys(users, 0.0)
        for user in users.values():
            do(user)  # not timed: what is read for the first time
        for _ in range(turns):
            for size, user in users.items():
                began = time.perf_counter()
                do(user)
                seconds[size] += time.perf_counter() - began
        yield what, seconds


@dataclass(slots=True, kw_only=True)
class _User:
    """A user whose events come every 30 seconds, and how many have come."""

    engine: Engine
    user_id: str
    events: int = 0
    late: int = 0
    rulebooks: Rulebooks = field(default_factory=Rulebooks)
    began: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(days=400))

    def apply_next(self) -> None:
        first = self.events
        self.events += EVENTS_PER_BATCH
        self._apply(Outcome.APPLIED, *map(self._event, range(first, self.events)))

    def apply_again(self) -> None:
        last = range(self.events - EVENTS_PER_BATCH, self.events)
        self._apply(Outcome.DUPLICATE, *map(self._event, last))

    def apply_late(self, by: int = LATE_BY_EVENTS) -> None:
        """Apply an event that comes before so many of the user's own."""
        self.late += 1
        at = self.began + (self.events - by) * STEP - timedelta(seconds=1 + self.late % 28)
        self._apply(Outcome.APPLIED, self._event(self.events, key=f"late-{self.late}", at=at))

    def show(self, bench: Bench) -> None:
        if show_user(bench.engine, bench.rankings, self.user_id, datetime.now(UTC)) is None:
            raise RuntimeError(f"there is no {self.user_id}")

    def _event(self, number: int, *, key: str | None = None, at: datetime | None = None) -> Any:
        return {
            "user_id": self.user_id,
            "metric": METRIC,
            "key": key or str(number),
            "occurred_at": (at or self.began + number * STEP).isoformat(),
        }

    def _apply(self, outcome: Outcome, *raw: Any) -> None:
        now = datetime.now(UTC)
        received = [
            Received(kind=Kind.EVENT, raw=one, received_at=now, imported=True) for one in raw
        ]
        found = apply_events(self.engine, self.rulebooks, received, now).outcomes
        if found[outcome] != len(received):
            raise RuntimeError(f"of {len(received)} events: {found}")
