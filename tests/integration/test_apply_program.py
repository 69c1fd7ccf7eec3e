"""Putting programs into force: versions, triggers that change, leaderboards that come later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from sqlalchemy import Engine

from jobs.apply_program import ProgramApplied
from jobs.project_rankings import project_rankings
from jobs.recompute_users import recompute_stale, recompute_users
from models import tables
from models.rulebooks import Rulebooks
from models.statements.boards import USERS_PER_TOUCH
from models.statements.events import Outcome
from tests.applying import (
    NOW,
    dump_state,
    must_equal,
    must_verify,
    opened,
    opened_rankings,
    put_events,
    put_program,
    put_users,
    read_leaderboard,
    read_standings,
    read_states,
    read_table,
)

Amount = Decimal | int  # mypy holds a Decimal and an int for never equal
PROGRAM = """
[app]
name = "App"
timezone = "UTC"
[metrics.runs]
[points.xp.triggers.run]
on = "metric"
metric = "runs"
every = 2
points = 10
"""
MEANS_THE_SAME = """
# What is left to default is told here, in another order.
[points.xp.triggers.run]
points = 10.0
every = 2.00
metric = "runs"
on = "metric"
[metrics.runs]
aggregate = "sum"
allow_negative = false
[app]
timezone = "UTC"
name = "App"
max_event_age = "30d"
"""
BOARDS = """
[leaderboards.runs]
period = "all"
rank_by = { metric = "runs" }
[leaderboards.xp]
period = "all"
rank_by = { points = "xp" }
"""


def put_runs(engine: Engine, key: str, values: dict[str, object]) -> None:
    """Apply one event of each user, a minute after one another."""
    events = [
        {
            "user_id": user_id,
            "metric": "runs",
            "key": key,
            "value": value,
            "occurred_at": (NOW - timedelta(minutes=minute)).isoformat(),
        }
        for minute, (user_id, value) in enumerate(values.items())
    ]
    assert put_events(engine, events).outcomes[Outcome.APPLIED] == len(events)


def standings(engine: Engine, leaderboard: str) -> list[tuple[str, Amount]]:
    """Return users and scores of a leaderboard's newest board, best first."""
    board = read_leaderboard(engine, leaderboard)
    return [(found.user_id, found.score) for found in read_standings(engine, board)]


def entries(engine: Engine) -> list[tuple[int, str, Amount]]:
    """Return the ledger of points: since which version the trigger is, cause, amount."""
    rows = read_table(engine, tables.point_entries)
    return [(row["since"], row["cause"], row["amount"]) for row in rows]


def test_a_program_that_means_the_same_is_no_new_version_s36(database_url: str) -> None:
    with opened(database_url) as engine:
        first = put_program(engine, PROGRAM)
        again = put_program(engine, PROGRAM, NOW + timedelta(days=1))
        same = put_program(engine, MEANS_THE_SAME, NOW + timedelta(days=2))
        stored = read_table(engine, tables.programs)
    assert first == ProgramApplied(version=1, is_new=True)
    assert again == same == ProgramApplied(version=1, is_new=False)
    assert [(row["version"], row["toml"], row["applied_at"]) for row in stored] == [
        (1, PROGRAM, NOW)
    ]


def test_a_program_that_comes_back_is_a_new_version_s36(database_url: str) -> None:
    with opened(database_url) as engine:
        versions = [put_program(engine, toml) for toml in (PROGRAM, PROGRAM + BOARDS, PROGRAM)]
    assert versions == [ProgramApplied(version=number, is_new=True) for number in (1, 2, 3)]


@pytest.mark.parametrize("clock", [timedelta(0), timedelta(minutes=-1)])
def test_a_version_begins_after_the_one_before_it_whatever_the_clock_says_s36(
    database_url: str, clock: timedelta
) -> None:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_program(engine, PROGRAM.replace("points = 10", "points = 20"), NOW + clock)
        first, second = read_table(engine, tables.programs)
        assert first["applied_at"] < second["applied_at"]
        put_runs(engine, "a", {"ann": 2})
        must_verify(engine)


def test_events_remember_the_version_that_judged_them_s36(database_url: str) -> None:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", {"a": 1})
        put_program(engine, PROGRAM + BOARDS)
        put_runs(engine, "two", {"a": 1})
        kept = read_table(engine, tables.events)
    assert {row["key"]: row["program_version"] for row in kept} == {"one": 1, "two": 2}


@pytest.mark.parametrize("change", ["every = 3", "points = 7"])
def test_a_changed_trigger_counts_anew_and_keeps_what_it_paid_s36(
    database_url: str, change: str
) -> None:
    """5 runs paid 20 and left 1 over; the new trigger starts at 0, so 2 more earn by it alone."""
    old = "every = 2" if "every" in change else "points = 10"
    changed = PROGRAM.replace(old, change) + BOARDS
    earned = Decimal(0) if "every" in change else Decimal(7)
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", {"a": 5})
        put_program(engine, changed)
        assert entries(engine) == [(1, "one", 20)]
        assert standings(engine, "xp") == [("a", 20)]
        put_runs(engine, "two", {"a": 2})
        new = [(2, "two", earned)] if earned else []
        assert entries(engine) == [(1, "one", 20), *new]
        assert standings(engine, "xp") == [("a", 20 + earned)]
        counted = read_states(engine)["a"].points["xp"].counted
    assert counted == {"run@1": 5, "run@2": 2}


def test_a_late_event_does_not_count_what_an_older_trigger_counted_s14_s36(
    database_url: str,
) -> None:
    """A late event makes the new trigger look at the ledger again, where older events stand too."""
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", {"a": 5})
        put_program(engine, PROGRAM.replace("every = 2", "every = 3"))
        put_runs(engine, "two", {"a": 4})
        late = {"user_id": "a", "metric": "runs", "key": "late", "value": 2}
        put_events(engine, [late | {"occurred_at": (NOW - timedelta(hours=1)).isoformat()}])
        assert entries(engine) == [(1, "one", 20), (2, "two", 20)]


def test_a_trigger_that_did_not_change_counts_on_s30(database_url: str) -> None:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", {"a": 3})
        put_program(engine, PROGRAM.replace('name = "App"', 'name = "Renamed"'))
        put_runs(engine, "two", {"a": 1})
        assert entries(engine) == [(1, "one", 10), (1, "two", 10)]


def test_a_leaderboard_added_later_is_filled_from_totals_s40(
    database_url: str, every_redis_url: str, namespace: str
) -> None:
    """The one by runs and the one by points, and Redis follows; 0 runs are no score."""
    runs: dict[str, object] = {"a": 1, "b": "2.5", "c": 9, "d": 0}
    with opened(database_url) as engine, opened_rankings(every_redis_url, namespace) as rankings:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", runs)
        put_program(engine, PROGRAM + BOARDS)
        assert standings(engine, "runs") == [("c", 9), ("b", Decimal("2.5")), ("a", 1)]
        assert standings(engine, "xp") == [("c", 40), ("b", 10)]
        project_rankings(engine, rankings, Rulebooks())
        for leaderboard in ("runs", "xp"):
            board = read_leaderboard(engine, leaderboard)
            assert rankings.page(board, limit=9) == read_standings(engine, board)
        put_runs(engine, "two", {"a": 9, "d": 1})
        assert standings(engine, "runs")[0] == ("a", 10)
        assert standings(engine, "xp") == [("a", 50), ("c", 40), ("b", 10)]


def test_a_leaderboard_added_later_has_everyone_of_more_users_than_one_touch_takes_s46(
    database_url: str, valkey_url: str, namespace: str
) -> None:
    users: dict[str, object] = {f"user-{number}": 2 for number in range(2 * USERS_PER_TOUCH + 1)}
    with opened(database_url) as engine, opened_rankings(valkey_url, namespace) as rankings:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", users)
        put_program(engine, PROGRAM + BOARDS)
        project_rankings(engine, rankings, Rulebooks())
        live = rankings.page(read_leaderboard(engine, "runs"), limit=9_999)
        assert {found.user_id for found in live} == set(users)
        assert standings(engine, "xp") == [(user, 10) for user in reversed(users)]


def test_a_changed_leaderboard_is_a_new_board_s40(
    database_url: str,
) -> None:
    ascending = BOARDS.replace('period = "all"', 'period = "all"\norder = "asc"', 1)
    with opened(database_url) as engine:
        put_program(engine, PROGRAM + BOARDS)
        put_runs(engine, "one", {"a": 4, "b": 2})
        first = read_leaderboard(engine, "runs")
        put_program(engine, PROGRAM + ascending)
        put_runs(engine, "two", {"b": 1})
        second = read_leaderboard(engine, "runs")
        assert (first.since, second.since, second.ascending) == (1, 2, True)
        assert standings(engine, "runs") == [("b", 3), ("a", 4)]
        assert read_leaderboard(engine, "xp").since == 1


def test_a_program_applied_while_events_arrive_misses_no_score(database_url: str) -> None:
    """What is committed before the new boards is in the totals, what comes after is scored."""
    together = Barrier(2, timeout=60)

    def put_all(engine: Engine) -> None:
        together.wait()
        for number in range(30):
            put_runs(engine, f"{number}", {"a": 1, f"user-{number}": 2})

    with opened(database_url) as engine, ThreadPoolExecutor(max_workers=1) as thread:
        put_program(engine, PROGRAM)
        running = thread.submit(put_all, engine)
        together.wait()
        put_program(engine, PROGRAM + BOARDS)
        running.result()
        assert standings(engine, "runs") == [
            ("a", 30),
            *((f"user-{n}", 2) for n in sorted(range(30), key=str)),
        ]
        assert dict(standings(engine, "xp"))["a"] == 150


NEW_YORK = PROGRAM.replace('timezone = "UTC"', 'timezone = "America/New_York"')
RUNNER = """
[achievements.runner]
on = "metric"
metric = "runs"
at = 3
"""


def test_a_new_achievement_is_backdated_silently_for_those_who_meet_it_s36(
    database_url: str,
) -> None:
    """Everyone is folded anew; who meets it later has it from then on and is told so."""
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", {"a": 3, "b": 2})
        put_program(engine, PROGRAM + RUNNER, NOW + timedelta(hours=1))
        assert recompute_stale(engine, Rulebooks(), NOW) == 2
        assert completed(engine) == [("a", NOW, True)]
        assert read_table(engine, tables.notices) == []
        later = {"user_id": "b", "metric": "runs", "key": "two"}
        put_events(engine, [later], now=NOW + timedelta(hours=2), imported=False)
        assert completed(engine) == [("a", NOW, True), ("b", NOW + timedelta(hours=2), False)]
        notices = [(row["user_id"], row["kind"]) for row in read_table(engine, tables.notices)]
        assert notices == [("b", "achievement")]


def test_who_does_something_before_being_folded_anew_is_judged_by_all_that_is_known_s1_s36(
    database_url: str,
) -> None:
    """The zone dates the event, the total bounds it, and the achievement is the backdated one."""
    most = "900719925474.0992"
    with opened(database_url) as engine:
        put_program(engine, NEW_YORK.replace("every = 2", "every = 10"))
        put_users(engine, [{"user_id": "a", "tz": "Asia/Tokyo"}], now=NOW - timedelta(days=2))
        put_runs(engine, "one", {"a": most})
        put_program(engine, NEW_YORK.replace("every = 2", "every = 10") + RUNNER)
        event = {"user_id": "a", "metric": "runs", "occurred_at": "2026-11-22T20:00:00Z"}
        applied = put_events(engine, [event | {"key": "two", "value": 0}, event | {"key": "three"}])
        assert (applied.outcomes[Outcome.APPLIED], applied.outcomes[Outcome.REJECTED]) == (1, 1)
        assert [row["reason"] for row in read_table(engine, tables.rejected_events)] == [
            "out-of-range"
        ]
        dates = {row["key"]: row["local_date"] for row in read_table(engine, tables.events)}
        assert dates == {"one": date(2026, 11, 23), "two": date(2026, 11, 23)}
        assert completed(engine) == [("a", NOW, True)]
        state = dump_state(engine)
        assert recompute_stale(engine, Rulebooks(), NOW) == 0
        recompute_users(engine, Rulebooks(), ["a"], NOW)
        must_equal(dump_state(engine), state)


def test_who_is_folded_anew_by_a_repeated_event_is_projected_at_once(
    database_url: str, valkey_url: str, namespace: str
) -> None:
    with opened(database_url) as engine, opened_rankings(valkey_url, namespace) as rankings:
        put_program(engine, PROGRAM)
        put_runs(engine, "one", {"a": 3})
        put_program(engine, PROGRAM + RUNNER + BOARDS)
        project_rankings(engine, rankings, Rulebooks())
        board = read_leaderboard(engine, "runs")
        assert rankings.count(board) == 0, "what is to be folded anew tells nothing yet"
        again = {"user_id": "a", "metric": "runs", "key": "one", "value": 3}
        applied = put_events(engine, [again])
        assert applied.outcomes[Outcome.DUPLICATE] == 1
        assert applied.touched
        project_rankings(engine, rankings, Rulebooks())
        assert rankings.page(board, limit=9) == read_standings(engine, board)
        assert rankings.count(board) == 1


def completed(engine: Engine) -> list[tuple[str, datetime, bool]]:
    """Return who completed an achievement, when, and whether that was before it was there."""
    rows = read_table(engine, tables.achievements)
    return [(row["user_id"], row["completed_at"], row["backdated"]) for row in rows]
