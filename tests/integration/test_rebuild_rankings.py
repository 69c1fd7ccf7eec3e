"""Boards made anew while events flow and readers read: whole at every moment, right at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine

from jobs.backfills import Context, NotPossible, cancel_backfill
from jobs.backfills.kinds.rebuild_rankings import RebuildRankings
from jobs.finalize_runs import finalize_run
from jobs.project_rankings import project_rankings
from jobs.verify import Verified, verify_boards
from jobs.watch_rankings import watch_rankings
from models import tables
from models.rules.rankings import Board, Score
from models.statements.backfills import State
from streakline.redis_connection import AnyRedis, open_any_redis
from tests.applying import (
    NOW,
    opened,
    put_events,
    put_program,
    put_users,
    read_leaderboard,
    read_standings,
    read_table,
)
from tests.backfilling import OPS, chunks, opened_context, run, start

KIND = "rebuild-rankings"
PROGRAM = """
[app]
name = "Boards"
timezone = "UTC"
[metrics.runs]
allow_negative = true
[leaderboards.runs]
period = "all"
rank_by = { metric = "runs" }
segment_by = ["country"]
[leaderboards.weekly]
period = "week"
rank_by = { metric = "runs" }
"""
USERS = 60
ROWS = 7
WEEK = "2026-W48"


@dataclass(slots=True, kw_only=True)
class Live:
    """A database with everyone on boards, Redis with all of them, and events to come."""

    context: Context
    redis: AnyRedis
    namespace: str
    sent: int = 0

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.context.engine

    def boards(self) -> list[Board]:
        """Return the boards that there are."""
        return [
            read_leaderboard(self.engine, "runs"),
            read_leaderboard(self.engine, "runs", segment="country=FR"),
            read_leaderboard(self.engine, "weekly", WEEK),
        ]

    def put_run(self, number: int, value: int = 1) -> None:
        """Apply an event of one of the users, and project it."""
        self.sent += 1
        event = {
            "user_id": user(number % USERS),
            "metric": "runs",
            "key": f"{self.sent}",
            "value": value,
            "occurred_at": (NOW - timedelta(seconds=self.sent)).isoformat(),
        }
        put_events(self.engine, [event], rulebooks=self.context.rulebooks)
        self.project()

    def project(self) -> None:
        """Bring Redis up to date."""
        project_rankings(self.engine, self.context.rankings, self.context.rulebooks)

    def empty(self, pattern: str = "*") -> None:
        """Let Redis lose all that it holds of us, in one moment."""
        keys: Any = list(self.redis.scan_iter(match=f"{self.namespace}:{pattern}", count=10_000))
        assert keys
        self.redis.delete(*keys)

    def check(self) -> None:
        """Redis shows what Postgres holds, board by board."""
        verified = Verified()
        verify_boards(self.engine, self.context.rankings, self.context.rulebooks, verified)
        assert (verified.board_mismatches, verified.boards_checked) == (0, 4), verified.samples
        for board in self.boards():
            wanted = read_standings(self.engine, board)
            assert self.context.rankings.page(board, limit=USERS + 2) == wanted
            assert wanted


def user(number: int) -> str:
    return f"u{number:03d}"


@pytest.fixture
def live(
    database_url: str, every_rankings_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Live]:
    monkeypatch.setattr(RebuildRankings, "rows_max", ROWS)
    with (
        opened(database_url, connections_max=8) as engine,
        opened_context(engine, every_rankings_url, namespace) as context,
        closing(open_any_redis(every_rankings_url)) as redis,
    ):
        put_program(engine, PROGRAM)
        attributes = [{"country": "FR"}, {"country": "JP"}]
        put_users(
            engine,
            [{"user_id": user(one), "attributes": attributes[one % 2]} for one in range(USERS)],
        )
        put_events(
            engine,
            [
                {"user_id": user(one), "metric": "runs", "key": "first", "value": one % 9 + 1}
                | {"occurred_at": NOW.isoformat()}
                for one in range(USERS)
            ],
        )
        found = Live(context=context, redis=redis, namespace=namespace)
        found.project()
        found.check()
        yield found


def test_emptied_while_events_flow_and_readers_read_no_board_is_ever_half_s74(
    live: Live,
) -> None:
    ending = Event()
    boards = live.boards()
    whole = {board: live.context.rankings.count(board) for board in boards}
    assert list(whole.values()) == [USERS, USERS // 2, USERS]

    def read(board: Board) -> set[int]:
        seen = set()
        while not ending.is_set():
            seen.add(len(live.context.rankings.page(board, limit=USERS + 1)))
        return seen

    def flow() -> int:
        while not ending.is_set():
            live.put_run(live.sent)
        return live.sent

    with ThreadPoolExecutor(len(boards) + 1) as threads:
        reading = [threads.submit(read, board) for board in boards]
        flowing = threads.submit(flow)
        try:
            live.empty()
            done = run(live.context, KIND, {})
        finally:
            ending.set()
        seen = [one.result() for one in reading]
        assert flowing.result() > 0
    assert done.done == USERS
    for board, found in zip(boards, seen, strict=True):
        assert found <= {0, whole[board]}, f"half a board was seen: {sorted(found)}"
    live.project()
    live.check()
    assert watch_rankings(live.engine, live.context.rankings) == 0


def test_what_changes_between_chunks_is_in_the_new_board_s74(live: Live) -> None:
    live.empty()
    running = chunks(live.context, start(live.context, KIND, {}))
    next(running)
    live.put_run(0)  # one whom the first chunk has written
    live.put_run(USERS - 1)  # and one whom a later chunk will
    move_to_france(live, 1)
    newcomer = {"user_id": "a-newcomer", "metric": "runs", "key": "1"}
    put_events(live.engine, [newcomer | {"occurred_at": NOW.isoformat()}])
    live.project()
    assert [live.context.rankings.count(board) for board in live.boards()] == [0, 0, 0]
    *_, last = running
    assert last.state is State.DONE
    everyone, french, _ = live.boards()
    assert live.context.rankings.count(everyone) == USERS + 1
    assert live.context.rankings.count(french) == USERS // 2 + 1
    live.check()


def test_a_board_that_was_lost_is_not_begun_by_the_few_who_change_s74(live: Live) -> None:
    live.empty()
    live.put_run(3)
    assert [live.context.rankings.count(board) for board in live.boards()] == [0, 0, 0]
    lost = [row for row in read_table(live.engine, tables.projected_boards) if row["lost_at"]]
    assert {row["leaderboard"] for row in lost} == {"runs", "weekly"}


def test_lost_boards_are_found_without_anything_changing(live: Live) -> None:
    assert watch_rankings(live.engine, live.context.rankings) == 0
    live.empty()
    assert watch_rankings(live.engine, live.context.rankings) == 4
    run(live.context, KIND, {})
    assert watch_rankings(live.engine, live.context.rankings) == 0


def test_boards_older_than_postgres_are_not_missed_but_found_by_verify_and_mended(
    live: Live,
) -> None:
    """As after a replica took over, or a Redis came back with an older file: the mark is there."""
    keys: Any = list(live.redis.scan_iter(match=f"{live.namespace}:ranking:*", count=10_000))
    older: dict[bytes, Any] = {key: live.redis.dump(key) for key in keys}
    live.put_run(3, value=50)
    for key, value in older.items():
        live.redis.restore(key, 0, value, replace=True)
    assert watch_rankings(live.engine, live.context.rankings) == 0
    verified = Verified()
    verify_boards(live.engine, live.context.rankings, live.context.rulebooks, verified)
    assert verified.board_mismatches > 0
    run(live.context, KIND, {})
    live.check()


def test_a_board_that_nobody_is_on_any_more_is_not_taken_for_lost(live: Live) -> None:
    for one in range(1, USERS, 2):
        move_to_france(live, one)
    live.project()
    left = read_leaderboard(live.engine, "runs", segment="country=JP")
    assert live.context.rankings.count(left) == 0
    assert watch_rankings(live.engine, live.context.rankings) == 0


@pytest.mark.parametrize("after", [1, 4, USERS // ROWS + 1])
def test_a_build_that_redis_loses_is_begun_again_s74(after: int, live: Live) -> None:
    running = chunks(live.context, start(live.context, KIND, {}))
    for _ in range(after):
        next(running)
    live.empty()
    live.put_run(5)
    *_, last = running
    assert last.state is State.DONE
    assert last.done == USERS, "what was done before counts no more"
    live.check()


def test_a_swap_that_was_not_committed_is_done_again_s71(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between Redis and the commit."""
    swap: Callable[..., Any] = live.context.rankings.swap
    swaps: list[int] = []

    def swap_and_die(boards: Any, build: str) -> Any:
        swaps.append(len(boards))
        lost = swap(boards, build)
        if len(swaps) == 1:
            raise RuntimeError("killed")
        return lost

    monkeypatch.setattr(live.context.rankings, "swap", swap_and_die)
    running = chunks(live.context, start(live.context, KIND, {}))
    for found in running:
        if found.error is not None:
            live.put_run(7)
    assert swaps == [4, 4], "it is not begun again"
    live.check()


def test_a_dry_run_tells_what_the_run_does_and_writes_nothing_s72(live: Live) -> None:
    board = live.boards()[0]
    [first, second, *_] = live.context.rankings.page(board, limit=2)
    wrong = {second.user_id: None, "nobody": read_score(live, board, first.user_id)}
    live.context.rankings.put(board, wrong)
    live.context.rankings.put(board, {first.user_id: read_score(live, board, "u001")})
    before = live.context.rankings.page(board, limit=USERS + 1)
    keys = set(live.redis.scan_iter(match=f"{live.namespace}:*", count=10_000))
    predicted = run(live.context, KIND, {}, dry_run=True).changes
    assert live.context.rankings.page(board, limit=USERS + 1) == before
    assert set(live.redis.scan_iter(match=f"{live.namespace}:*", count=10_000)) == keys
    counts = {how: predicted["standings"].get(how) for how in ("added", "changed", "removed")}
    assert counts == {"added": 1, "changed": 1, "removed": 1}
    assert run(live.context, KIND, {}).changes == predicted
    live.check()
    assert run(live.context, KIND, {}).changes == {}, "again: no change"


def move_to_france(live: Live, number: int) -> None:
    told = {"user_id": user(number), "attributes": {"country": "FR"}}
    put_users(live.engine, [told], now=NOW + timedelta(seconds=1))


def read_score(live: Live, board: Board, user_id: str) -> Score:
    standing = live.context.rankings.standing(board, user_id)
    assert standing is not None
    return Score(standing.score, standing.reached_at)


def test_some_leaderboards_alone(live: Live) -> None:
    live.empty()
    run(live.context, KIND, {"leaderboards": ["weekly"]})
    runs, _, weekly = live.boards()
    assert (live.context.rankings.count(runs), live.context.rankings.count(weekly)) == (0, USERS)
    with pytest.raises(NotPossible, match="'daily'; there are runs, weekly"):
        start(live.context, KIND, {"leaderboards": ["daily"]})


def test_one_at_a_time_and_a_cancelled_one_leaves_the_boards_as_they_were(live: Live) -> None:
    number = start(live.context, KIND, {})
    next(chunks(live.context, number))
    with pytest.raises(NotPossible, match="has not ended"):
        start(live.context, KIND, {})
    cancel_backfill(live.context, number, OPS, NOW)
    live.put_run(2)
    live.check()
    run(live.context, KIND, {})
    live.check()


def test_a_run_that_becomes_final_meanwhile_keeps_its_record(live: Live) -> None:
    running = chunks(live.context, start(live.context, KIND, {}))
    next(running)
    over = datetime.fromisoformat("2026-12-05T00:00:00Z")
    since = live.boards()[2].since
    rankings, rulebooks = live.context.rankings, live.context.rulebooks
    assert finalize_run(live.engine, rulebooks, rankings, ("weekly", since, WEEK), over)
    *_, last = running
    assert last.state is State.DONE
    kept = {row["leaderboard"] for row in read_table(live.engine, tables.projected_boards)}
    assert kept == {"runs"}
    assert watch_rankings(live.engine, live.context.rankings) == 0
