"""What the benchmarks share: servers of their own, the program, events, processes, figures.

Each benchmark runs on embedded servers in a fresh home, with the settings that `streakline up`
gives them (so with full durability), and leaves neither servers nor processes behind.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import psutil
from redis import Redis
from sqlalchemy import Engine, text

from jobs.apply_events import Kind, Received, apply_events
from jobs.apply_program import apply_program
from jobs.follow_calendar import follow_calendar
from models.database import open_engine
from models.migrations import upgrade
from models.program import load_program
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.statements import boards
from streakline import Event
from streakline.contract import NAMESPACE, UserFields
from streakline.redis_connection import open_redis
from tests.servers import temporary_home
from tests.stack import PROGRAM
from worker.settings import Addresses, Settings, open_servers
from worker.zones import tzdata_version

METRIC = "lessons"
DAYS = 3
"""Events are spread over so many days, ascending, so that streaks begin and grow."""
PROCESSES = 2
POLL_SECONDS = 0.05
RUN_SECONDS_MAX = 600.0
STOP_SECONDS_MAX = 20.0
SEED = 20261123
Answer = TypeVar("Answer")
_COPY_TEMPLATE = text(
    "insert into users (user_id, first_seen_at, stamp, state, due_at, mail_at)"
    " select 'user-' || copy, first_seen_at, stamp, state, due_at, mail_at"
    " from users, generate_series(1, :count) copy where user_id = 'template'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value; `goal` says what it should be, in the unit, where there is a goal."""

    name: str
    value: float
    unit: str
    note: str = ""
    goal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Running servers with a migrated database in which the program is applied."""

    addresses: Addresses
    engine: Engine
    redis: Redis
    broker_redis: Redis
    rankings: Rankings

    def unfinished(self) -> tuple[int, int]:
        """Return how many messages wait or run, and how many batches wait to be projected."""
        messages = int(self.broker_redis.hlen(f"{NAMESPACE}:events.msgs"))
        with self.engine.connect() as connection:
            return messages, boards.count_touches(connection)


@contextmanager
def open_bench(program: str = PROGRAM) -> Iterator[Bench]:
    """Start servers in a fresh home with a program in force; all of it is gone afterwards."""
    with ExitStack() as stack:
        home = stack.enter_context(temporary_home())
        addresses = stack.enter_context(open_servers(Settings(home=home)))
        engine = open_engine(addresses.database_url)
        stack.callback(engine.dispose)
        redis, broker_redis = open_redis(addresses.redis_url), open_redis(addresses.broker_url)
        stack.callback(redis.close)
        stack.callback(broker_redis.close)
        upgrade(engine)
        apply_program(engine, load_program(program, source="benchmark"), program, datetime.now(UTC))
        yield Bench(
            addresses=addresses,
            engine=engine,
            redis=redis,
            broker_redis=broker_redis,
            rankings=Rankings(redis, NAMESPACE),
        )


def put_template(engine: Engine, at: datetime) -> None:
    """Put a user there, called template, with one event: many are made of it by copying rows.

    A state does not name its user, so that of one who did the same is everybody's. Time zones are
    new to nobody then, as on any day but that of a release of tzdata.
    """
    event = {
        "user_id": "template",
        "metric": METRIC,
        "key": "one",
        "occurred_at": at.isoformat(),
    }
    received = Received(kind=Kind.EVENT, raw=event, received_at=at)
    apply_events(engine, Rulebooks(), [received], at)
    sum(follow_calendar(engine, Rulebooks(), tzdata_version(), at))


def copy_template(engine: Engine, count: int) -> None:
    """Put so many users there who have what the template has: user-1, user-2, ..."""
    with engine.begin() as connection:
        connection.execute(_COPY_TEMPLATE, {"count": count})


def tidy(engine: Engine) -> None:
    """Let Postgres do what it would do by and by after many rows were written."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
        connection.execute(text("checkpoint"))


def make_events(count: int, users: int, prefix: str) -> list[Event]:
    """Return events of random users, oldest first, with keys of their own."""
    chance = random.Random(SEED)
    start = datetime.now(UTC) - timedelta(days=DAYS)
    step = timedelta(days=DAYS) / count
    return [
        Event(
            user_id=f"user-{chance.randrange(users)}",
            metric=METRIC,
            key=f"{prefix}-{number}",
            occurred_at=start + number * step,
        )
        for number in range(count)
    ]


def make_app_events(count: int, users: int, prefix: str) -> list[Event]:
    """Return events of the language app: mostly lessons, with minutes and quizzes among them.

    Each user has a zone, a country and a plan, which the first event tells.
    """
    chance = random.Random(SEED)
    told: set[str] = set()
    events = []
    for event in make_events(count, users, prefix):
        metric, value = chance.choice(
            [("lessons", 1), ("lessons", 1), ("minutes", 12), ("best-score", chance.randrange(100))]
        )
        number = int(event.user_id.rpartition("-")[2])
        first = event.user_id not in told
        told.add(event.user_id)
        events.append(
            replace(
                event,
                metric=metric,
                value=Decimal(value),
                attributes={"language": chance.choice(["fr", "de"])},
                user=_fields(number) if first else None,
            )
        )
    return events


def _fields(number: int) -> UserFields:
    place = number % 3
    return UserFields(
        tz=("Europe/Paris", "Asia/Tokyo", "America/New_York")[place],
        attributes={
            "country": ("FR", "JP", "US")[place],
            "plan": ("free", "pro")[number % 2],
        },
    )


def script(name: str) -> str:
    """Return the path of a command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


SCHEDULER = (script("streakline"), "scheduler")


def environment(bench: Bench) -> dict[str, str]:
    """Return the environment of a process that is to use these servers."""
    return {**os.environ, **bench.addresses.environment()}


@contextmanager
def running(
    bench: Bench, command: Sequence[str], processes: int, *, killed: bool = False, **more: str
) -> Iterator[list[psutil.Process]]:
    """Run a command some times over with the servers' addresses, and end it, whatever happens.

    `more` are variables of its environment. One that has ended by itself is an error, unless it is
    to be `killed`.
    """
    with tempfile.TemporaryFile() as log:
        started: list[psutil.Popen] = []
        try:
            for _ in range(processes):
                started.append(
                    psutil.Popen(command, env=environment(bench) | more, stdout=log, stderr=log)
                )
            yield [psutil.Process(each.pid) for each in started]
            if not killed and any(each.poll() is not None for each in started):
                log.seek(0)
                raise RuntimeError(f"{command} ended: {log.read().decode()[-4000:]}")
        finally:
            _end(started)


def _end(started: Sequence[psutil.Popen]) -> None:
    for each in started:
        if each.poll() is None:
            each.terminate()
    for each in started:
        try:
            each.wait(STOP_SECONDS_MAX)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            each.kill()
            each.wait(STOP_SECONDS_MAX)


def measure_rate(
    count: Callable[[], int], target: int, is_finished: Callable[[], bool] = lambda: True
) -> float:
    """Return things per second from the first that are counted until all are, and finished.

    What was there at the first look counts neither as time nor as work, so that the start of
    processes is left out. Raises TimeoutError.
    """
    first = wait_for(count)
    began = time.perf_counter()
    wait_for(lambda: count() >= target and is_finished())
    return (target - first) / (time.perf_counter() - began)


def wait_for(
    condition: Callable[[], Answer | None], seconds_max: float = RUN_SECONDS_MAX
) -> Answer:
    """Look until the condition's answer is true, and return it. Raises TimeoutError."""
    deadline = time.monotonic() + seconds_max
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not finished within {seconds_max} s")
        time.sleep(POLL_SECONDS)
    return answer


def resident_megabytes(processes: Sequence[psutil.Process]) -> float:
    """Return the resident memory of the largest of these processes and what they started."""
    return max(
        each.memory_info().rss / 1e6
        for process in processes
        for each in (process, *process.children(recursive=True))
    )
