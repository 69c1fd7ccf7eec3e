"""Runs become final once, with the standings that Postgres ranks, and stay what they were (S43)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from sqlalchemy import Engine

from jobs.change_users import Order, suspend_users
from jobs.finalize_runs import NotOver, finalize_due_runs, finalize_run, open_runs
from jobs.project_rankings import project_rankings
from jobs.show_leaderboard import Page, Source, Wanted, list_late, list_runs, show_leaderboard
from jobs.sweep_streaks import sweep_streaks
from jobs.verify import verify_boards
from models import tables
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.runs import Phase
from models.rules.segments import read_segment
from tests.applying import (
    Raw,
    must_verify,
    opened,
    opened_rankings,
    put_events,
    put_program,
    put_users,
    read_leaderboard,
    read_table,
)
from tests.folding import november
from tests.waiting import wait_until

PROGRAM = """
[app]
name = "App"
[metrics.lessons]
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
[points.xp.triggers.member]
on = "membership"
every = "3d"
points = 5
[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
segment_by = ["country", "plan"]
late = "6h"
[leaderboards.pros]
rank_by = { metric = "lessons" }
period = "day"
order = "asc"
where = { user = { plan = "pro" } }
[leaderboards.points]
rank_by = { points = "xp" }
period = "week"
"""
WEEK = "2026-W45"
"""From Monday, the 2nd of November, on; final on the 9th at 6."""
FINAL_AT = november(9, 6)
RULEBOOKS = Rulebooks()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, november(1))
        yield engine


@pytest.fixture
def rankings(valkey_url: str, namespace: str) -> Iterator[Rankings]:
    with opened_rankings(valkey_url, namespace) as rankings:
        yield rankings


def lesson(user_id: str, day: int, value: str = "1", *, hour: int = 12, key: str = "") -> Raw:
    at = november(day, hour).isoformat()
    event = {"user_id": user_id, "metric": "lessons", "key": key or at, "occurred_at": at}
    return event | {"value": value}


def live(engine: Engine, *events: Raw, hour: int = 13) -> None:
    put_events(engine, events, now=november(8, hour), imported=False)


def pass_time(engine: Engine, rankings: Rankings, now: object) -> int:
    sum(sweep_streaks(engine, RULEBOOKS, now))  # type: ignore[arg-type]
    project_rankings(engine, rankings, RULEBOOKS)
    return finalize_due_runs(engine, RULEBOOKS, rankings, now)  # type: ignore[arg-type]


def show(
    engine: Engine,
    rankings: Rankings,
    segment: str = "all",
    *,
    leaderboard: str = "weekly",
    run: str = WEEK,
    source: Source = Source.REDIS,
    **wanted: object,
) -> Page:
    asked = Wanted(
        leaderboard=leaderboard,
        run=run,
        segment=read_segment(segment),
        limit=int(str(wanted.pop("limit", 1000))),
        **wanted,  # type: ignore[arg-type]
    )
    return show_leaderboard(engine, rankings, asked, source, FINAL_AT)


def put_crowd(engine: Engine, count: int = 60) -> None:
    """Users in some segments, some without all attributes, with scores that often tie."""
    chance = random.Random(count)
    for number in range(count):
        attributes = {"country": chance.choice(["FR", "DE", "São Tomé"]), "plan": "pro"}
        if number % 3 == 0:
            attributes["plan"] = "free"
        if number % 7 == 0:
            del attributes["country"]
        user = {"user_id": f"ü{number}", "attributes": attributes}
        put_users(engine, [user], now=november(2))
        events = [
            lesson(f"ü{number}", chance.randrange(2, 9), str(chance.randrange(1, 4)), key=f"{key}")
            for key in range(3)
        ]
        live(engine, *events)


def test_a_record_is_what_postgres_ranks_on_every_board_s43_s44_s45_s48(
    engine: Engine, rankings: Rankings
) -> None:
    put_crowd(engine)
    order = Order(actor="me", reason="spam", given_at=november(8, 14))
    suspend_users(engine, RULEBOOKS, ["ü1", "ü2"], True, order)
    suspend_users(
        engine,
        RULEBOOKS,
        ["ü2"],
        False,
        Order(actor="me", reason="no spam", given_at=november(8, 15)),
    )
    segments = ["all", "country=FR,plan=pro", "country=DE,plan=free"]
    segments.append("country=S%C3%A3o%20Tom%C3%A9,plan=pro")
    sum(sweep_streaks(engine, RULEBOOKS, FINAL_AT))
    expected = {name: show(engine, rankings, name, source=Source.POSTGRES) for name in segments}
    day = {"leaderboard": "pros", "run": "2026-11-05"}
    of_pros = show(engine, rankings, source=Source.POSTGRES, **day)
    assert of_pros.standings
    assert pass_time(engine, rankings, FINAL_AT) == 1 + 6, "the week, and six days"
    for name in segments:
        found = show(engine, rankings, name)
        assert found.phase is Phase.FINAL
        assert found.standings == expected[name].standings, name
        assert found.participants == expected[name].participants
    assert len(expected["all"].standings) == 59, "one is suspended"
    assert show(engine, rankings, **day).standings == of_pros.standings  # type: ignore[arg-type]
    middle = expected["all"].standings[30].user_id
    around = show(engine, rankings, around=middle, limit=4).standings
    assert around == expected["all"].standings[28:33]
    assert show(engine, rankings, users=[middle, "nobody"]).standings == [
        expected["all"].standings[30]
    ]
    assert show(engine, rankings, offset=10, limit=5).standings == expected["all"].standings[10:15]


def test_a_run_is_final_at_its_close_and_what_may_come_late_s43(
    engine: Engine, rankings: Rankings
) -> None:
    live(engine, lesson("u", 5))
    just_before = FINAL_AT - timedelta(microseconds=1)
    pass_time(engine, rankings, just_before)
    runs = {run["run"]: run for run in list_runs(engine, "weekly", just_before)}
    assert runs[WEEK]["status"] == "closing"
    with pytest.raises(NotOver, match="closes at 2026-11-09 00:00:00 UTC"):
        finalize_run(engine, RULEBOOKS, rankings, ("weekly", 1, WEEK), november(8))
    assert pass_time(engine, rankings, FINAL_AT) >= 1
    runs = {run["run"]: run for run in list_runs(engine, "weekly", FINAL_AT)}
    assert (runs[WEEK]["status"], runs[WEEK]["finalized_at"]) == ("final", FINAL_AT)
    assert pass_time(engine, rankings, FINAL_AT) == 0


def test_what_comes_late_is_listed_and_a_record_is_written_anew_by_hand_alone_s43(
    engine: Engine, rankings: Rankings
) -> None:
    live(engine, lesson("a", 3, "5"), lesson("b", 4, "3"))
    pass_time(engine, rankings, FINAL_AT)
    put_events(engine, [lesson("b", 5, "9"), lesson("c", 5)], now=november(9, 7), imported=False)
    pass_time(engine, rankings, november(9, 7))
    assert [one.user_id for one in show(engine, rankings).standings] == ["a", "b"]
    late = list_late(engine, "weekly", WEEK, 10)
    found = [(one["user_id"], one["final_score"], one["score"]) for one in late]
    assert found == [("b", 3, 12), ("c", None, 1)]
    assert finalize_run(engine, RULEBOOKS, rankings, ("weekly", 1, WEEK), november(9, 8))
    assert [one.user_id for one in show(engine, rankings).standings] == ["b", "a", "c"]
    assert list_late(engine, "weekly", WEEK, 10) == []
    assert not finalize_run(engine, RULEBOOKS, rankings, ("weekly", 1, "2026-W01"), november(9))
    verified = must_verify(engine)
    verify_boards(engine, rankings, RULEBOOKS, verified)
    assert verified.board_mismatches == 0, verified.samples


def test_winners_are_told_once_and_of_what_was_imported_nobody_s43_s53(
    engine: Engine, rankings: Rankings
) -> None:
    live(engine, *(lesson(f"u{number}", 3, str(9 - number)) for number in range(5)))
    put_events(engine, [lesson("old", 3, "100")], now=november(20), imported=True)
    pass_time(engine, rankings, november(20))
    # A late event folds its user again, and the notice stays.
    put_events(engine, [lesson("u0", 2)], now=november(20), imported=False)
    finalize_run(engine, RULEBOOKS, rankings, ("weekly", 1, WEEK), november(20))
    told = [
        (row["user_id"], row["body"]["rank"], row["silent"])
        for row in read_table(engine, tables.notices)
        if row["kind"] == "leaderboard-finished" and row["cause"] == f"weekly@1:{WEEK}:all"
    ]
    assert told == [("old", 1, True), ("u0", 2, False), ("u1", 3, False)]


def test_a_run_waits_until_all_awards_that_were_due_in_it_are_paid(
    engine: Engine, rankings: Rankings
) -> None:
    live(engine, lesson("u", 3))
    noon = november(9, 12)
    assert finalize_due_runs(engine, RULEBOOKS, rankings, noon) == 1, "that of a day before"
    assert pass_time(engine, rankings, noon) == 2
    page = show(engine, rankings, leaderboard="points")
    assert [one.score for one in page.standings] == [15], "with what membership pays on the 6th"


def test_a_final_boards_keys_expire_and_nothing_brings_them_back(
    engine: Engine, rankings: Rankings
) -> None:
    live(engine, lesson("u", 3))
    project_rankings(engine, rankings, RULEBOOKS)
    board = read_leaderboard(engine, "weekly", WEEK)
    assert rankings.count(board) == 1
    pass_time(engine, rankings, FINAL_AT)
    redis, keys = rankings._redis, rankings._keys(board)
    assert all(0 < int(redis.ttl(key)) <= 86_400 for key in keys)
    redis.delete(*keys)
    put_events(engine, [lesson("u", 4)], now=november(9, 7), imported=False)
    project_rankings(engine, rankings, RULEBOOKS)
    assert rankings.count(board) == 0
    assert [one.score for one in show(engine, rankings).standings] == [1]


def test_sweeps_side_by_side_finalise_a_run_once(engine: Engine, rankings: Rankings) -> None:
    put_crowd(engine, 20)
    sum(sweep_streaks(engine, RULEBOOKS, FINAL_AT))
    with ThreadPoolExecutor(4) as threads:
        done = threads.map(
            lambda _: finalize_due_runs(engine, RULEBOOKS, rankings, FINAL_AT), range(4)
        )
        assert sum(done) == 7
    places = [row["rank"] for row in read_table(engine, tables.final_standings)]
    assert len(show(engine, rankings).standings) == 20
    assert places.count(1) >= 8


def test_the_present_run_and_the_next_are_open_before_anybody_scores_s43(engine: Engine) -> None:
    assert open_runs(engine, RULEBOOKS, november(5)) == 6
    assert open_runs(engine, RULEBOOKS, november(5)) == 6
    found = [(run["run"], run["status"]) for run in list_runs(engine, "weekly", november(5))]
    assert found == [(WEEK, "open"), ("2026-W46", "upcoming")]


def test_whoever_reads_across_a_close_sees_the_old_run_or_the_new_and_both_whole_s43(
    engine: Engine, rankings: Rankings
) -> None:
    live(engine, *(lesson(f"old{number}", 8, str(number + 1)) for number in range(50)))
    new = [lesson(f"new{number}", 9, str(number + 1), hour=0) for number in range(50)]
    project_rankings(engine, rankings, RULEBOOKS)
    old_run = show(engine, rankings).standings
    assert len(old_run) == 50
    clock = [november(8, 23)]
    ended = Event()
    seen: set[str] = set()

    def read_on() -> int:
        reads = 0
        while not ended.is_set():
            wanted = Wanted(leaderboard="weekly", limit=1000)
            page = show_leaderboard(engine, rankings, wanted, Source.REDIS, clock[0])
            if page.board.run == WEEK:
                assert page.standings == old_run
            else:
                assert [one.score for one in page.standings] == list(range(50, 0, -1))
                assert all(one.user_id.startswith("new") for one in page.standings)
            assert show(engine, rankings).standings == old_run, "the old run by its name"
            seen.add(f"{page.board.run} {show(engine, rankings).phase.value}")
            reads += 1
        return reads

    def wait_for(*what: str) -> None:
        wait_until(lambda: seen >= set(what), message=f"somebody reads {what}")

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read_on) for _ in range(3)]
        try:
            wait_for(f"{WEEK} closing")
            # The new run fills beside the old one; then the clock goes over the close.
            put_events(engine, new, now=november(9, 0), imported=False)
            project_rankings(engine, rankings, RULEBOOKS)
            clock[0] = november(9, 0)
            wait_for("2026-W46 closing")
            pass_time(engine, rankings, FINAL_AT)
            wait_for("2026-W46 final")
            finalize_run(engine, RULEBOOKS, rankings, ("weekly", 1, WEEK), november(9, 8))
        finally:
            ended.set()
        assert sum(reader.result() for reader in readers) > 3


def test_a_run_that_an_import_opens_waits_for_the_rest_of_it(
    engine: Engine, rankings: Rankings
) -> None:
    put_events(engine, [lesson("a", 3)], now=november(20), imported=True)
    assert pass_time(engine, rankings, november(20, 5)) == 0
    put_events(engine, [lesson("b", 3, "2")], now=november(20, 5), imported=True)
    assert pass_time(engine, rankings, november(20, 6)) == 1, "the week, of 6 hours"
    assert [one.user_id for one in show(engine, rankings).standings] == ["b", "a"]
