"""A real history, 28,482 commits of 1,723 authors in 100 zones, against a plain computation of it.

The expectation uses nothing of `models.rules`: loops, `zoneinfo`, dates.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from jobs.project_rankings import project_rankings
from models import tables
from models.rulebooks import Rulebooks
from models.rules.streaks import Chain
from models.rules.totals import Total
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
    read_board,
    read_standings,
    read_states,
    read_table,
)
from tests.servers import fresh_database

SHARED = Path(__file__).parents[3] / "shared"
DATA = SHARED / "data"
PROGRAM = Path(__file__).parents[2] / "programs" / "open-source.toml"
COMMITS = 28_482
ONE_DAY = timedelta(days=1)

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the history of commits, ../shared/data, is not here"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    commits: list[dict[str, Any]]
    users: list[dict[str, Any]]


@pytest.fixture(scope="module")
def history() -> History:
    commits = _read("open-source-commits.jsonl.gz")
    assert len(commits) == COMMITS
    return History(commits=commits, users=_read("open-source-users.jsonl.gz"))


@pytest.fixture(scope="module")
def engine(postgres_url: str, _embedded_template: str, history: History) -> Iterator[Engine]:
    """The whole history in order, in batches of 500; the tests that share it change nothing."""
    with (
        fresh_database(postgres_url, template=_embedded_template) as url,
        opened(url) as engine,
    ):
        put_program(engine, _program())
        put_users(engine, history.users)
        _import(engine, history.commits, size=500)
        yield engine


@pytest.fixture(scope="module")
def dump(engine: Engine) -> Dump:
    return dump_state(engine)


def test_every_total_is_the_number_of_commits(engine: Engine, history: History) -> None:
    expected: dict[str, list[datetime]] = defaultdict(list)
    for commit in history.commits:
        expected[commit["user_id"]].append(_instant(commit))
    assert {user_id: state.totals["commits"] for user_id, state in read_states(engine).items()} == {
        user: Total(Decimal(len(found)), len(found), max(found)) for user, found in expected.items()
    }


def test_every_day_and_chain_is_that_of_the_authors_own_calendar(
    engine: Engine, history: History
) -> None:
    days = _days(history)
    found_days: dict[str, dict[date, int]] = defaultdict(dict)
    for row in read_table(engine, tables.metric_days):
        found_days[row["user_id"]][row["local_date"]] = int(row["value"])
    for user_id, state in read_states(engine).items():
        assert state.day is not None
        found_days[user_id][state.day.date] = int(state.day.totals["commits"].value)
    assert found_days == days
    latest = {
        user_id: state.streaks["daily"].chain for user_id, state in read_states(engine).items()
    }
    earlier: dict[str, list[Chain]] = defaultdict(list)
    for row in read_table(engine, tables.streak_chains):
        chain = Chain(row["started_on"], row["ended_on"], row["length"])
        earlier[row["user_id"]].append(chain)
    chains = {user: _chains(found) for user, found in days.items()}
    assert {user: [*earlier[user], latest[user]] for user in latest} == chains


def test_every_commit_earned_its_points(engine: Engine, history: History) -> None:
    assert {
        (row["user_id"], row["cause"], row["amount"], row["occurred_at"])
        for row in read_table(engine, tables.point_entries)
    } == {(commit["user_id"], commit["key"], 10, _instant(commit)) for commit in history.commits}


def test_the_board_ranks_every_author_and_redis_agrees_place_by_place(
    engine: Engine, history: History, valkey_url: str, namespace: str
) -> None:
    board = read_board(engine, "all-time")
    with opened_rankings(valkey_url, namespace) as rankings:
        project_rankings(engine, rankings, Rulebooks())
        live = rankings.page(board, limit=1_000_000)
        assert rankings.count(board) == len(live)
    assert [(item.user_id, item.score) for item in live] == _ranked(history)
    assert live == read_standings(engine, board)
    assert [item.rank for item in live] == list(range(1, len(live) + 1))


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
        put_program(engine, _program())
        put_users(engine, history.users)
        _import(engine, shuffled, size=3_777)
        found = dump_state(engine)
    for name, rows in dump.items():
        assert found[name] == rows, name


def _import(engine: Engine, commits: list[dict[str, Any]], size: int) -> None:
    rulebooks = Rulebooks()
    for batch in batches(commits, size):
        put_events(engine, batch, rulebooks=rulebooks)


def _program() -> str:
    path = PROGRAM if PROGRAM.exists() else SHARED / "programs" / PROGRAM.name
    return path.read_text()


def _read(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt") as lines:
        return [json.loads(line) for line in lines]


def _instant(commit: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(commit["occurred_at"]).astimezone(UTC)


def _days(history: History) -> dict[str, dict[date, int]]:
    zones = {user["user_id"]: ZoneInfo(user["tz"]) for user in history.users}
    days: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for commit in history.commits:
        day = _instant(commit).astimezone(zones[commit["user_id"]]).date()
        days[commit["user_id"]][day] += 1
    return days


def _chains(days: dict[date, int]) -> list[tuple[date, date, int]]:
    chains: list[tuple[date, date, int]] = []
    for day in sorted(days):
        if chains and chains[-1][1] + ONE_DAY == day:
            start, _, length = chains.pop()
            chains.append((start, day, length + 1))
        else:
            chains.append((day, day, 1))
    return chains


def _ranked(history: History) -> list[tuple[str, Decimal]]:
    count: dict[str, int] = defaultdict(int)
    reached: dict[str, datetime] = {}
    for commit in history.commits:
        user, at = commit["user_id"], _instant(commit)
        count[user] += 1
        reached[user] = max(reached.get(user, at), at)
    order = sorted(count, key=lambda user: (-count[user], reached[user], user.encode()))
    return [(user, Decimal(count[user])) for user in order]
