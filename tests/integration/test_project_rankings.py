"""From Postgres to Redis: what was committed is shown in the end, whatever happened between."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from sqlalchemy import Engine

from jobs.project_rankings import TOUCHES_PER_ROUND_MAX, project_rankings
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.rankings import Board, Score
from models.statements import boards as statements
from tests.applying import (
    NOW,
    opened,
    opened_rankings,
    put_events,
    put_program,
    read_leaderboard,
    read_standings,
)

PROGRAM = """
[app]
name = "App"
timezone = "UTC"
[metrics.runs]
allow_negative = true
[leaderboards.runs]
period = "all"
rank_by = { metric = "runs" }
"""
POINTS = """
[points.xp.triggers.runs]
on = "metric"
metric = "runs"
every = 3
points = 10
[leaderboards.xp]
period = "all"
rank_by = { points = "xp" }
"""
NOWHERE = "redis://127.0.0.1:1/0"
"""A port that nothing listens on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """A database with the program in force, its one board, and the rankings that follow it."""

    engine: Engine
    rankings: Rankings
    board: Board

    def check(self) -> None:
        """Redis shows what Postgres holds, and nothing waits."""
        standings = read_standings(self.engine, self.board)
        assert self.rankings.page(self.board, limit=len(standings) + 1) == standings
        assert self.waiting() == 0

    def waiting(self) -> int:
        """Return how many batches wait to be projected."""
        with self.engine.connect() as connection:
            return statements.count_touches(connection)


@pytest.fixture
def projected(every_rankings_url: str, database_url: str, namespace: str) -> Iterator[Projected]:
    with opened(database_url) as engine, opened_rankings(every_rankings_url, namespace) as rankings:
        put_program(engine, PROGRAM)
        yield Projected(engine=engine, rankings=rankings, board=read_leaderboard(engine, "runs"))


def put_run(engine: Engine, number: int, users: int = 7) -> None:
    """Apply one event as a batch of its own; the numbers go round the users."""
    event = {
        "user_id": f"user-{number % users}",
        "metric": "runs",
        "key": str(number),
        "value": number % 5 + 1,
        "occurred_at": (NOW - timedelta(minutes=number)).isoformat(),
    }
    put_events(engine, [event])


def test_what_was_committed_but_not_projected_is_caught_up(projected: Projected) -> None:
    """As after a kill between the commit and Redis: more batches than one round takes."""
    batches = TOUCHES_PER_ROUND_MAX + 3
    for number in range(batches):
        put_run(projected.engine, number)
    assert (projected.waiting(), projected.rankings.count(projected.board)) == (batches, 0)
    assert project_rankings(projected.engine, projected.rankings, Rulebooks()) == batches
    assert projected.rankings.count(projected.board) == 7
    projected.check()


def test_projecting_twice_is_harmless(projected: Projected) -> None:
    put_run(projected.engine, 1)
    put_run(projected.engine, 2)
    assert project_rankings(projected.engine, projected.rankings, Rulebooks()) == 2
    assert project_rankings(projected.engine, projected.rankings, Rulebooks()) == 0
    assert project_rankings(projected.engine, projected.rankings, Rulebooks()) == 0
    projected.check()


def test_two_that_project_while_events_arrive_leave_redis_as_postgres(
    projected: Projected,
) -> None:
    """Each thread applies and projects, so that an old read could overwrite a newer score."""

    def apply_and_project(start: int) -> int:
        projected_batches = 0
        for number in range(start, 60, 2):
            put_run(projected.engine, number)
            projected_batches += project_rankings(projected.engine, projected.rankings, Rulebooks())
        return projected_batches

    with ThreadPoolExecutor(max_workers=2) as threads:
        assert sum(threads.map(apply_and_project, [0, 1])) == 60
    projected.check()


def test_a_user_whose_only_award_is_taken_back_leaves_the_board_s30(projected: Projected) -> None:
    """2 runs and 1 make 3 and earn; with a late -1 between them 3 was never reached."""
    put_program(projected.engine, PROGRAM + POINTS)
    board = read_leaderboard(projected.engine, "xp")

    def run(hours_ago: int, value: int) -> dict[str, object]:
        occurred_at = (NOW - timedelta(hours=hours_ago)).isoformat()
        event = {"user_id": "a", "metric": "runs", "key": str(hours_ago), "value": value}
        return event | {"occurred_at": occurred_at}

    put_events(projected.engine, [run(2, 2), run(0, 1)])
    project_rankings(projected.engine, projected.rankings, Rulebooks())
    assert projected.rankings.count(board) == 1
    put_events(projected.engine, [run(1, -1)])
    project_rankings(projected.engine, projected.rankings, Rulebooks())
    assert projected.rankings.standing(board, "a") is None
    assert projected.rankings.count(board) == 0
    projected.check()


def test_a_board_that_is_not_in_force_any_more_stays_as_it_was_and_blocks_nothing(
    projected: Projected,
) -> None:
    put_run(projected.engine, 1)
    project_rankings(projected.engine, projected.rankings, Rulebooks())
    put_run(projected.engine, 2)
    changed = PROGRAM.replace('period = "all"', 'period = "all"\norder = "asc"')
    put_program(projected.engine, changed)
    project_rankings(projected.engine, projected.rankings, Rulebooks())
    assert projected.waiting() == 0
    assert [found.user_id for found in projected.rankings.page(projected.board, limit=9)] == [
        "user-1"
    ]
    newest = read_leaderboard(projected.engine, "runs")
    assert projected.rankings.page(newest, limit=9) == read_standings(projected.engine, newest)
    assert projected.rankings.count(newest) == 2


def test_where_redis_does_not_answer_the_batch_waits_for_the_next_run(
    projected: Projected, namespace: str
) -> None:
    put_run(projected.engine, 1)
    with Redis.from_url(NOWHERE, retry=None) as nowhere, pytest.raises(RedisConnectionError):
        project_rankings(projected.engine, Rankings(nowhere, namespace), Rulebooks())
    assert projected.waiting() == 1
    assert project_rankings(projected.engine, projected.rankings, Rulebooks()) == 1
    projected.check()


def test_a_stale_score_in_redis_gives_way_to_what_postgres_holds(
    projected: Projected,
) -> None:
    put_run(projected.engine, 1)
    stale = Score(Decimal(99), NOW + timedelta(days=1))
    projected.rankings.put(projected.board, {"user-1": stale})
    project_rankings(projected.engine, projected.rankings, Rulebooks())
    projected.check()
