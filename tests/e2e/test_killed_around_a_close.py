"""Processes killed at random around the close of runs: one record, and every place in it right."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, select

from models import tables
from models.rules.effects import NoticeKind
from tests.applying import opened, read_table
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

PROGRAM = """
[app]
name = "Minutes"

[metrics.lessons]

[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }

[achievements.ten]
on = "metric"
metric = "lessons"
at = 10

[leaderboards.minute]
rank_by = { metric = "lessons" }
period = "cron"
cron = "* * * * *"
segment_by = ["country"]
late = "1m"
"""
SCHEDULERS, WORKERS = 2, 3
CLOSES = 2
KILL_SECONDS = (2.0, 5.0)
EVENT_SECONDS = 0.02
COUNTRIES = {f"user-{number}": "FR" if number % 3 else "JP" for number in range(12)}
SETTLED_SECONDS_MAX = 180
"""A dead worker's messages come back after 40 s, and it may die again with them."""
MINUTE = timedelta(minutes=1)


class Sent(NamedTuple):
    """An event whose call returned."""

    user_id: str
    at: datetime
    value: int


class Place(NamedTuple):
    """A user's place on a board of a run."""

    run: str
    segment: str
    rank: int
    user_id: str
    score: Decimal


def run_name(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:00Z")


@contextmanager
def feeding(stack: Stack) -> Iterator[list[Sent]]:
    """Send events one by one, all the time, and yield what has been sent."""
    sent: list[Sent] = []
    stopping = Flag()

    def feed() -> None:
        chance = random.Random(1)
        with stack.client() as client:
            while not stopping.wait(EVENT_SECONDS):
                user_id = chance.choice(sorted(COUNTRIES))
                one = Sent(user_id, datetime.now(UTC), chance.randrange(1, 4))
                client.track(
                    user_id,
                    "lessons",
                    value=one.value,
                    key=str(len(sent)),
                    occurred_at=one.at,
                    user={"attributes": {"country": COUNTRIES[user_id]}},
                )
                sent.append(one)

    thread = Thread(target=feed)
    thread.start()
    try:
        yield sent
    finally:
        stopping.set()
        thread.join()


def kill_at_random(stack: Stack, commands: Sequence[Sequence[str]], until: datetime) -> int:
    """Kill one process after another and start it again; return how many that were."""
    chance = random.Random(2)
    running = [stack.start(*command) for command in commands]
    pause, killed = Flag(), 0
    while datetime.now(UTC) < until:
        pause.wait(chance.uniform(*KILL_SECONDS))
        victim = chance.randrange(len(commands))
        running[victim].send_signal(signal.SIGKILL)
        assert running[victim].wait(timeout=30) == -signal.SIGKILL
        running[victim] = stack.start(*commands[victim])
        killed += 1
    return killed


def expected_places(sent: list[Sent]) -> set[Place]:
    """Rank every run by plain loops: better score, then earlier to the second, then user id."""
    scores: dict[tuple[str, str], dict[str, tuple[int, datetime]]] = {}
    for one in sent:
        for segment in ("all", f"country={COUNTRIES[one.user_id]}"):
            board = scores.setdefault((run_name(one.at), segment), {})
            before = board.get(one.user_id, (0, one.at))[0]
            board[one.user_id] = (before + one.value, one.at.replace(microsecond=0))
    places = set()
    for (run, segment), board in scores.items():
        order = sorted(board, key=lambda user: (-board[user][0], board[user][1], user))
        for rank, user_id in enumerate(order, start=1):
            places.add(Place(run, segment, rank, user_id, Decimal(board[user_id][0])))
    return places


def read_places(engine: Engine) -> list[Place]:
    """Return every place of every record."""
    found = tables.final_standings
    query = select(tables.runs.c.run, found).join(found, found.c.run_id == tables.runs.c.run_id)
    with engine.connect() as connection:
        return [
            Place(row.run, row.segment, row.rank, row.user_id, row.score)
            for row in connection.execute(query)
        ]


def read_final(engine: Engine) -> set[str]:
    """Return the runs that are final."""
    return {row["run"] for row in read_table(engine, tables.runs) if row["finalized_at"]}


def told(engine: Engine, kind: NoticeKind) -> list[dict[str, Any]]:
    return [row for row in read_table(engine, tables.notices) if row["kind"] == kind.value]


@pytest.mark.long
def test_runs_have_one_record_with_every_place_right_whoever_was_killed_s43(
    database_url: str, valkey_url: str, namespace: str, tmp_path: Path
) -> None:
    queues = ["events,sweeps"] * (WORKERS - 1) + ["events,sweeps,analytics"]
    commands = [
        *[("scheduler",)] * SCHEDULERS,
        *[("worker", "--queues", each, "--threads", "8") for each in queues],
    ]
    with (
        running_stack(
            database_url=database_url,
            broker_url=valkey_url,
            namespace=namespace,
            home=tmp_path,
            program=PROGRAM,
        ) as stack,
        opened(database_url) as engine,
    ):
        # Given events all the time, and processes that are killed before, at and after each close
        began = datetime.now(UTC)
        last_close = began.replace(second=0, microsecond=0) + CLOSES * MINUTE
        with feeding(stack) as sent:
            killed = kill_at_random(stack, commands, until=last_close + timedelta(seconds=20))

        # When all run on
        closed = {run_name(last_close - number * MINUTE) for number in range(1, CLOSES + 1)}
        wait_until(
            lambda: stack.run("drain", "--timeout", "10").returncode == 0,
            deadline_seconds=SETTLED_SECONDS_MAX,
            message="what killed workers held runs again",
        )
        wait_until(
            lambda: closed <= read_final(engine),
            deadline_seconds=SETTLED_SECONDS_MAX,
            message=f"{closed} are final",
        )

        # Then each run has one record, and it is what plain loops over what was sent come to
        places = read_places(engine)
        assert killed >= 10
        assert len(places) == len(set(places))
        final = read_final(engine)
        expected = {one for one in expected_places(sent) if one.run in final}
        assert set(places) == expected
        assert closed <= {one.run for one in expected}
        for run in closed:
            assert stack.ask("leaderboard", "late", "minute", run)["late"] == []

        # And the first three of each board are told so, once, as whoever has ten lessons is
        winners = [
            (row["body"]["run"], row["body"]["segment"], row["body"]["rank"], row["user_id"])
            for row in told(engine, NoticeKind.LEADERBOARD_FINISHED)
        ]
        assert sorted(winners) == sorted(one[:4] for one in expected if one.rank <= 3)
        done = [row["user_id"] for row in told(engine, NoticeKind.ACHIEVEMENT)]
        assert sorted(done) == sorted(COUNTRIES)
        status = stack.ask("status")
        assert status["applied_events"] == len(sent)
        assert status["dead_messages"] == 0
        verified = stack.ask("verify")
        assert (verified["user_mismatches"], verified["board_mismatches"]) == (0, 0)
        assert verified["warehouse_compared"] > 0
        assert (verified["warehouse_mismatches"], verified["warehouse_unfinished"]) == (0, [])
