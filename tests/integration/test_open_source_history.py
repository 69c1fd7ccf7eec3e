"""A real history, 28,482 commits of 1,723 authors in 28 zones, against a plain computation of it.

The expectation is `plain_history`: loops, `zoneinfo`, dates, and nothing of `models`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from jobs.project_rankings import project_rankings
from jobs.show_user import show_user
from models import tables
from models.rulebooks import Rulebooks
from models.statements.events import Outcome
from tests.applying import (
    Dump,
    batches,
    dump_state,
    opened,
    opened_rankings,
    put_events,
    put_program,
    put_users,
    read_leaderboard,
    read_run_scores,
    read_standings,
    read_states,
    read_table,
)
from tests.integration.plain_history import Expected, compute, read_lines
from tests.servers import fresh_database

SHARED = Path(__file__).parents[3] / "shared"
DATA = SHARED / "data"
PROGRAM = SHARED / "programs" / "open-source.toml"
COMMITS = 28_482
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
LIVELY = (datetime(2022, 3, 2, 12, tzinfo=UTC), datetime(2021, 10, 6, 12, tzinfo=UTC))
"""Instants at which chains hold, some of them by a freeze."""

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the history of commits, ../shared/data, is not here"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    commits: Sequence[Mapping[str, Any]]
    users: Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def history() -> History:
    commits = list(read_lines(DATA / "open-source-commits.jsonl.gz"))
    assert len(commits) == COMMITS
    return History(commits=commits, users=list(read_lines(DATA / "open-source-users.jsonl.gz")))


@pytest.fixture(scope="module")
def expected(history: History) -> Expected:
    return compute(history.commits, history.users, NOW)


@pytest.fixture(scope="module")
def engine(postgres_url: str, _embedded_template: str, history: History) -> Iterator[Engine]:
    """The whole history in order, in batches of 500; the tests that share it change nothing."""
    with (
        fresh_database(postgres_url, template=_embedded_template) as url,
        opened(url) as engine,
    ):
        put_program(engine, PROGRAM.read_text())
        put_users(engine, history.users)
        _import(engine, history.commits, size=500)
        yield engine


@pytest.fixture(scope="module")
def dump(engine: Engine) -> Dump:
    return dump_state(engine)


def test_every_total_balance_and_achievement_s30_s33_s34(
    engine: Engine, expected: Expected
) -> None:
    states = read_states(engine)
    assert {user: state.totals["commits"].value for user, state in states.items()} == {
        user: author.total for user, author in expected.authors.items()
    }
    assert {user: state.points["xp"].balance for user, state in states.items()} == {
        user: author.balance for user, author in expected.authors.items()
    }
    completed: dict[str, dict[str, datetime]] = defaultdict(dict)
    for row in read_table(engine, tables.achievements):
        completed[row["user_id"]][row["key"]] = row["completed_at"]
        assert not row["backdated"]
    assert completed == {user: author.achievements for user, author in expected.authors.items()}


def test_every_entry_of_the_ledger_s30_s31(engine: Engine, expected: Expected) -> None:
    found: dict[str, list[tuple[str, Decimal, datetime]]] = defaultdict(list)
    for row in read_table(engine, tables.point_entries):
        found[row["user_id"]].append((row["trigger"], row["amount"], row["occurred_at"]))
    assert {user: sorted(entries) for user, entries in found.items()} == {
        user: sorted((one.trigger, Decimal(one.amount), one.occurred_at) for one in author.entries)
        for user, author in expected.authors.items()
    }


@pytest.mark.parametrize("as_of", [None, *LIVELY], ids=str)
def test_every_streak_freeze_and_level_as_of_then_and_now_s21_s24_s26_s29(
    engine: Engine,
    history: History,
    valkey_url: str,
    namespace: str,
    as_of: datetime | None,
) -> None:
    expected = compute(history.commits, history.users, as_of or NOW)
    with opened_rankings(valkey_url, namespace) as rankings:
        for user, author in expected.authors.items():
            found = show_user(engine, rankings, user, NOW, as_of)
            assert found is not None
            for name, streak in (("daily", author.daily), ("weekly", author.weekly)):
                shown = found["streaks"][name]
                assert (shown["length"], shown["longest"]) == (streak.length, streak.longest), user
                chains = [(one["start"], one["end"], one["length"]) for one in shown["history"]]
                assert chains == [tuple(chain) for chain in streak.chains], user
            assert found["streaks"]["daily"]["freezes"] == author.daily.freezes, user
            assert found["points"]["xp"]["level"]["key"] == author.level
            assert found["points"]["xp"]["total"] == author.balance


def test_every_board_and_redis_agrees_place_by_place_s40_s41_s42_s44(
    engine: Engine, expected: Expected, valkey_url: str, namespace: str
) -> None:
    runs = {(run.leaderboard, run.run) for run, _ in read_run_scores(engine)}
    all_time = {("all-time", "all"), ("longest-streak", "all")}
    assert runs | all_time == expected.boards.keys()
    with opened_rankings(valkey_url, namespace) as rankings:
        project_rankings(engine, rankings, Rulebooks())
        for (name, run), standings in expected.boards.items():
            board = read_leaderboard(engine, name, run)
            live = rankings.page(board, limit=1_000_000)
            assert [(one.user_id, one.score, one.reached_at) for one in live] == [
                (user, Decimal(score), reached_at.replace(microsecond=0))
                for user, score, reached_at in standings
            ], (name, run)
            assert [one.rank for one in live] == list(range(1, len(live) + 1))
        for name, run in [*all_time, ("weekly", "2021-W40"), ("monthly-xp", "2021-10")]:
            board = read_leaderboard(engine, name, run)
            assert rankings.page(board, limit=1_000_000) == read_standings(engine, board)


def test_importing_again_changes_nothing_s75(engine: Engine, history: History, dump: Dump) -> None:
    applied = put_events(engine, history.commits)
    assert applied.outcomes == {
        Outcome.APPLIED: 0,
        Outcome.DUPLICATE: COMMITS,
        Outcome.CONFLICT: 0,
        Outcome.REJECTED: 0,
    }
    assert dump_state(engine) == dump


def test_any_order_and_split_and_repetition_gives_the_same_state(
    database_url: str, history: History, dump: Dump
) -> None:
    chance = random.Random(20261123)
    shuffled = [*history.commits, *chance.sample(history.commits, 4_000)]
    chance.shuffle(shuffled)
    with opened(database_url) as engine:
        put_program(engine, PROGRAM.read_text())
        put_users(engine, history.users)
        _import(engine, shuffled, size=3_777)
        found = dump_state(engine)
    for name, rows in dump.items():
        assert found[name] == rows, name


def _import(engine: Engine, commits: Sequence[Mapping[str, Any]], size: int) -> None:
    rulebooks = Rulebooks()
    for batch in batches(commits, size):
        put_events(engine, batch, rulebooks=rulebooks)
