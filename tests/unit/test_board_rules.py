"""Leaderboards as tables of cases: what makes a score, in which run, reached when.

S40 to S42, S44, S45, S48. The order of a board stands in `models.rules.rankings`, runs themselves
in `test_runs`, segments in `test_segments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.boards import Aggregate, BoardKind, BoardRule, add_value, score_of
from models.rules.facts import Adjustment, Fact, Reset, Suspension
from models.rules.rankings import Place, Score, place, rank
from models.rules.runs import RunPeriod, RunRule, run_at
from models.rules.state import RunScore, UserState
from models.rules.timelines import Told
from tests.folding import (
    Folded,
    build,
    event,
    fold_all,
    lives,
    noons,
    november,
    plain,
    tells,
    utc,
)

METRICS = (
    '[metrics.lessons]\n[metrics.coins]\nallow_negative = true\n[metrics.best]\naggregate = "max"\n'
)
DAILY = '[streaks.daily]\nfrequency = "daily"\nmetrics = { lessons = 1 }\n'
XP = (
    '[points.xp.triggers.lesson]\non = "metric"\nmetric = "lessons"\npoints = 10\n'
    '[points.xp.triggers.coin]\non = "metric"\nmetric = "coins"\npoints = 1\n'
)
PROGRAM = METRICS + DAILY + XP


def board(rank_by: str, period: str = "all", *, name: str = "board", **more: str | int) -> str:
    """Return a leaderboard: `metric coins`, `points xp` or `streak daily`."""
    kind, subject = rank_by.split()
    lines = [
        f"[leaderboards.{name}]",
        f'rank_by = {{ {kind} = "{subject}" }}',
        f'period = "{period}"',
        *(
            f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
            for key, value in more.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def coins(*values: str, day: int = 2) -> list[Fact]:
    """Return events an hour apart, from 9:00 on."""
    return [
        event(november(day, hour), value, "coins") for hour, value in enumerate(values, start=9)
    ]


def scores(folded: Folded) -> dict[str, tuple[str, datetime]]:
    """Return what the one leaderboard's runs have come to, by run."""
    found = folded.effects.scores
    return {key.run: (plain(one.score.score), one.score.reached_at) for key, one in found.items()}


# What makes a score, S40


def rule(
    aggregate: str, *, ascending: bool = False, kind: BoardKind = BoardKind.METRIC
) -> BoardRule:
    return BoardRule(
        name="board",
        since=1,
        kind=kind,
        subject="coins",
        aggregate=Aggregate(aggregate),
        ascending=ascending,
        runs=RunRule(period=RunPeriod.DAY, tz="UTC"),
        where_user={},
    )


@pytest.mark.parametrize(
    ("aggregate", "ascending", "values", "score", "hour"),
    [
        ("sum", False, ["5"], "5", 9),
        ("sum", False, ["5", "3"], "8", 10),
        ("sum", False, ["5", "3", "-8"], "0", 11),
        # what moves nothing was not reached then
        ("sum", False, ["5", "0"], "5", 9),
        ("sum", False, ["0"], None, 0),
        ("sum", True, ["5", "3"], "8", 10),
        ("sum", False, ["0.0001", "0.0002"], "0.0003", 10),
        ("best", False, ["5", "3"], "5", 9),
        ("best", False, ["5", "7", "7"], "7", 10),
        ("best", False, ["-5", "-3", "-4"], "-3", 10),
        ("best", False, ["0"], "0", 9),
        # least first: the best is the least
        ("best", True, ["5", "3", "4"], "3", 10),
        ("best", True, ["5", "5"], "5", 9),
        ("latest", False, ["5", "3"], "3", 10),
        ("latest", False, ["5", "3", "7"], "7", 11),
        ("latest", True, ["5", "3", "7"], "7", 11),
        # the same again has been reached since the first time
        ("latest", False, ["5", "5"], "5", 9),
        ("latest", False, ["5", "3", "5"], "5", 11),
        ("latest", False, ["0"], "0", 9),
    ],
)
def test_a_score_is_the_sum_the_best_or_the_latest_and_since_when_s40_s44(
    aggregate: str, ascending: bool, values: list[str], score: str | None, hour: int
) -> None:
    made: RunScore | None = None
    one = rule(aggregate, ascending=ascending)
    for at, value in enumerate(values, start=9):
        run = run_at(one.runs, november(2, at), november(2).date())
        made = add_value(one, made, Decimal(value), november(2, at), run) or made
    if score is None:
        assert made is None
    else:
        assert made is not None
        assert (plain(made.score), made.reached_at) == (score, november(2, hour))
        assert made.closes_at == november(3)


def test_a_value_that_comes_late_moves_a_sum_to_no_earlier_instant_s44() -> None:
    """Awards of a streak wait for the periods before their own: they are of an earlier instant."""
    run = run_at(rule("sum").runs, november(2, 9), november(2).date())
    before = RunScore(Decimal(5), november(2, 12), run.closes_at)
    after = add_value(rule("sum"), before, Decimal(3), november(2, 9), run)
    assert after == RunScore(Decimal(8), november(2, 12), run.closes_at)
    assert add_value(rule("latest"), before, Decimal(3), november(2, 9), run) is None


@pytest.mark.parametrize("period", ["all", "month"])
@pytest.mark.parametrize(
    ("rank_by", "more", "facts", "expected"),
    [
        ("metric coins", {}, coins("5", "3"), ("8", november(2, 10))),
        ("metric coins", {"order": "asc"}, coins("5", "3"), ("8", november(2, 10))),
        ("metric coins", {"aggregate": "best"}, coins("5", "3"), ("5", november(2, 9))),
        (
            "metric coins",
            {"aggregate": "best", "order": "asc"},
            coins("5", "3"),
            ("3", november(2, 10)),
        ),
        ("metric coins", {"aggregate": "latest"}, coins("5", "3"), ("3", november(2, 10))),
        # awards of 10, one by one
        ("points xp", {}, noons("xxx"), ("30", november(4, 12))),
        ("points xp", {"aggregate": "best"}, coins("5", "7", "1"), ("7", november(2, 10))),
        ("points xp", {"aggregate": "latest"}, coins("5", "7", "1"), ("1", november(2, 11))),
        ("points xp", {}, coins("5", "-2"), ("3", november(2, 10))),
        # a streak's board keeps the best length unless told otherwise
        ("streak daily", {}, noons("xxx.x"), ("3", november(4, 12))),
        ("streak daily", {"aggregate": "latest"}, noons("xxx.x"), ("1", november(6, 12))),
        # the length of 2 was reached again on the 7th, and not better
        ("streak daily", {}, noons("xx..xx"), ("2", november(3, 12))),
        ("streak daily", {"order": "asc"}, noons("xx..xx"), ("1", november(2, 12))),
    ],
)
def test_boards_are_ranked_by_a_metric_points_or_a_streak_s40(
    period: str,
    rank_by: str,
    more: Mapping[str, str],
    facts: list[Fact],
    expected: tuple[str, datetime],
) -> None:
    folded = fold_all(build(PROGRAM + board(rank_by, period, **more)), facts)
    run = "all" if period == "all" else "2026-11"
    (found,) = folded.rules.latest.boards
    score = score_of(found, folded.state, run)
    assert score is not None
    assert (plain(score.score), score.reached_at) == expected


def test_a_length_that_waited_counts_for_the_run_of_its_event_s25_s40() -> None:
    """The 3rd closes on the 6th; then the 4th was length 1, and the 5th length 2."""
    graced = PROGRAM.replace("[streaks.daily]\n", '[streaks.daily]\ngrace = "2d"\n')
    folded = fold_all(build(graced + board("streak daily", "day")), noons("x.xx"))
    assert scores(folded) == {"2026-11-02": ("1", november(2, 12))}
    folded.more(now=november(6))
    assert scores(folded) == {
        "2026-11-02": ("1", november(2, 12)),
        "2026-11-04": ("1", november(4, 12)),
        "2026-11-05": ("2", november(5, 12)),
    }


def test_points_of_operators_and_of_time_are_scored_too_s40() -> None:
    toml = (
        PROGRAM
        + '[points.xp.triggers.loyal]\non = "membership"\nevery = "7d"\npoints = 30\n'
        + board("points xp", "day")
    )
    given_points = Adjustment(november(5, 8), "a", 1, "xp", Decimal("-2.5"))
    folded = fold_all(build(toml), [*coins("4"), given_points], now=november(10))
    assert scores(folded) == {
        "2026-11-02": ("4", november(2, 9)),
        "2026-11-05": ("-2.5", november(5, 8)),
        "2026-11-09": ("30", november(9)),
    }


def test_a_reset_of_a_streak_takes_no_length_off_a_board_s27_s40() -> None:
    folded = fold_all(
        build(PROGRAM + board("streak daily")),
        [*noons("xxx"), Reset(november(5, 9), "r", 1, "daily")],
    )
    assert folded.score("board") == ("3", november(4, 12))


# Which run, S41 and S42


@pytest.mark.parametrize(
    ("period", "more", "at", "run"),
    [
        ("day", {}, "2026-11-23 00:00", "2026-11-23"),
        ("day", {}, "2026-11-22 23:59", "2026-11-22"),
        ("week", {}, "2026-11-23 00:00", "2026-W48"),
        ("week", {}, "2026-11-22 23:59", "2026-W47"),
        ("month", {}, "2026-11-30 23:59", "2026-11"),
        ("month", {}, "2026-12-01 00:00", "2026-12"),
        # 1970-01-01 and every second day from then on: 20,780 days to 23 November 2026, even
        ("day", {"every": 2}, "2026-11-24 12:00", "2026-11-23T00:00:00Z"),
        ("cron", {"cron": "0 18 * * fri"}, "2026-11-27 17:59", "2026-11-20T18:00:00Z"),
        ("cron", {"cron": "0 18 * * fri"}, "2026-11-27 18:00", "2026-11-27T18:00:00Z"),
        # one zone for all: Monday begins in Tokyo on Sunday at 15:00 UTC
        ("week", {"clock": "Asia/Tokyo"}, "2026-11-22 15:00", "2026-W48"),
        ("week", {"clock": "Asia/Tokyo"}, "2026-11-22 14:59", "2026-W47"),
        ("day", {"clock": "Asia/Tokyo"}, "2026-11-22 15:00", "2026-11-23"),
    ],
)
def test_a_value_counts_in_the_run_of_its_instant_s41_s42(
    period: str, more: Mapping[str, str | int], at: str, run: str
) -> None:
    others: dict[str, Any] = dict(more)
    rules = build(PROGRAM + board("metric coins", period, **others))
    folded = fold_all(rules, [event(utc(at), 3, "coins")])
    assert scores(folded) == {run: ("3", utc(at))}


@pytest.mark.parametrize(
    ("tz", "at", "run"),
    [
        # Sunday, 22 November: 15:00 UTC is Monday in Tokyo and Sunday morning in New York
        ("Asia/Tokyo", november(22, 15), "2026-W48"),
        ("Asia/Tokyo", november(22, 14, 59), "2026-W47"),
        ("America/New_York", november(22, 15), "2026-W47"),
        ("America/New_York", november(23, 4, 59), "2026-W47"),
        ("America/New_York", november(23, 5), "2026-W48"),
    ],
)
def test_by_users_own_clock_a_value_counts_in_the_run_of_its_local_date_s42(
    tz: str, at: datetime, run: str
) -> None:
    rules = build(PROGRAM + board("metric coins", "week", clock="user"))
    folded = fold_all(rules, [event(at, 3, "coins", tz=tz)], told=[lives(november(1), tz)])
    assert scores(folded) == {run: ("3", at)}


def test_a_run_on_users_own_clock_opens_14_hours_before_and_closes_12_after_s42() -> None:
    rules = build(PROGRAM + board("metric coins", "week", clock="user"))
    folded = fold_all(rules, coins("3", day=23))
    (decided,) = folded.effects.scores.values()
    assert decided.run.opens_at == november(22, 10)
    assert decided.run.closes_at == november(30, 12)


@pytest.mark.parametrize(
    ("first_day", "second_day", "runs"),
    [
        (2, 3, {"2026-W45": ("8", november(3, 9))}),
        (8, 9, {"2026-W45": ("5", november(8, 9)), "2026-W46": ("3", november(9, 9))}),
    ],
)
def test_each_run_begins_with_nothing_s41_s43(
    first_day: int, second_day: int, runs: dict[str, tuple[str, datetime]]
) -> None:
    rules = build(PROGRAM + board("metric coins", "week"))
    facts = [*coins("5", day=first_day), *coins("3", day=second_day)]
    assert scores(fold_all(rules, facts)) == runs


def test_runs_that_can_change_no_more_leave_the_state_but_not_the_record_s43() -> None:
    """A state does not grow with the runs that there were."""
    rules = build(PROGRAM + board("metric coins", "day"))
    facts = [fact for day in range(2, 42) for fact in coins("1", day=day)]
    folded = fold_all(rules, facts)
    assert len(scores(folded)) == 40
    assert len(folded.state.runs["board@1"]) <= 5


# What is kept, and what a user has


def test_a_sum_of_all_time_is_the_total_itself_s40_s44() -> None:
    """Nothing more is kept of it, and it goes back to before the leaderboard was there."""
    rules = build(
        PROGRAM, (november(5), PROGRAM + board("metric coins") + board("points xp", name="xp"))
    )
    folded = fold_all(rules, coins("5", "3"), now=november(9))
    assert folded.state.runs == {}
    by_coins, by_points = folded.rules.latest.boards
    assert by_coins.follows_totals
    assert by_points.follows_totals
    assert score_of(by_coins, folded.state, "all") == Score(Decimal(8), november(2, 10))
    assert score_of(by_points, folded.state, "all") == Score(Decimal(8), november(2, 10))


@pytest.mark.parametrize(
    ("rank_by", "facts", "expected"),
    [
        ("metric coins", [], None),
        ("metric coins", noons("x"), None),
        # an event of nothing has reached nothing
        ("metric coins", coins("0"), None),
        ("metric coins", coins("5", "-5"), ("0", november(2, 10))),
        ("metric coins", coins("5", "0"), ("5", november(2, 9))),
        ("points xp", coins("0.5"), None),
        ("points xp", coins("0.5", "0.5", "0.5"), ("1", november(2, 10))),
        ("points xp", coins("1", "-1"), ("0", november(2, 10))),
        ("streak daily", coins("1"), None),
        ("streak daily", noons("xx"), ("2", november(3, 12))),
    ],
)
def test_a_user_has_a_score_once_something_moved_it_s44(
    rank_by: str, facts: list[Fact], expected: tuple[str, datetime] | None
) -> None:
    folded = fold_all(build(PROGRAM + board(rank_by)), facts)
    (found,) = folded.rules.latest.boards
    score = score_of(found, folded.state, "all")
    assert (score and (plain(score.score), score.reached_at)) == expected


def test_a_run_without_anything_of_a_user_has_no_score_s44() -> None:
    (found,) = build(PROGRAM + board("metric coins", "day")).latest.boards
    assert score_of(found, UserState(), "2026-11-02") is None


def test_a_changed_leaderboard_begins_anew_and_a_renamed_one_goes_on_s36_s41() -> None:
    first = PROGRAM + board("metric coins", "month")
    renamed = first + 'name = "Coins"\nsize = 10\n'
    changed = PROGRAM + board("metric coins", "month", order="asc")
    rules = build(first, (november(5), renamed), (november(9), changed))
    facts = [
        event(november(day, 9), value, "coins", version=version)
        for day, value, version in ((2, 1, 1), (6, 2, 2), (10, 4, 3))
    ]
    folded = fold_all(rules, facts)
    assert folded.score("board", "2026-11", since=1) == ("3", november(6, 9))
    assert folded.score("board", "2026-11", since=3) == ("4", november(10, 9))


# Who stands on a board, S44, S45, S48


def test_ties_go_to_who_reached_it_earlier_to_the_second_then_to_the_user_id_s44() -> None:
    second = november(2, 9)
    kept = {
        "late": Score(Decimal(5), second.replace(second=1)),
        "b": Score(Decimal(5), second.replace(microsecond=1)),
        "a": Score(Decimal(5), second.replace(microsecond=999_999)),
        "B": Score(Decimal(5), second),
        "more": Score(Decimal("5.0001"), november(3)),
        "less": Score(Decimal("4.9999"), november(1)),
        "gone": None,
    }
    assert [one.user_id for one in rank(kept, ascending=False)] == [
        "more",
        "B",
        "a",
        "b",
        "late",
        "less",
    ]
    assert [one.user_id for one in rank(kept, ascending=True)][:2] == ["less", "B"]


@pytest.mark.parametrize(
    ("told", "suspended", "segments"),
    [
        ([], None, []),
        ([tells(november(1), plan="pro")], None, ["all"]),
        ([tells(november(1), plan="pro", country="FR")], None, ["all", "country=FR"]),
        ([tells(november(1), plan="free", country="FR")], None, []),
        ([tells(november(1), plan="pro", country="FR")], True, []),
        ([tells(november(1), plan="pro", country="FR")], False, ["all", "country=FR"]),
        (
            [tells(november(1), plan="pro", country="FR"), tells(november(3), country="DE")],
            None,
            ["all", "country=DE"],
        ),
    ],
)
def test_where_a_user_stands_follows_from_attributes_and_suspension_s45_s48(
    told: list[Told], suspended: bool | None, segments: list[str]
) -> None:
    toml = (
        PROGRAM
        + board("metric coins")
        + ('segment_by = ["country"]\nwhere = { user = { plan = "pro" } }\n')
    )
    facts: list[Fact] = coins("5")
    if suspended is not None:
        facts.append(Suspension(november(3), "s1", 1, True))
        facts.append(Suspension(november(4), "s2", 1, suspended))
    folded = fold_all(build(toml), facts, told=told)
    (found,) = folded.rules.latest.boards
    assert list(found.segments(folded.state.told.now(), folded.state.suspended)) == segments
    # the score is kept all the while
    score = score_of(found, folded.state, "all")
    assert score is not None
    assert plain(score.score) == "5"


_NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
_users = st.text(alphabet="abc", min_size=1, max_size=3)
_scores = st.builds(
    Score,
    st.integers(0, 3).map(Decimal),
    st.integers(0, 3_000).map(lambda ms: _NOON + timedelta(milliseconds=ms)),
)


@given(scores=st.dictionaries(_users, _scores, min_size=1), ascending=st.booleans())
def test_a_place_is_derived_as_the_whole_board_has_it_s44(
    scores: dict[str, Score], ascending: bool
) -> None:
    standings = rank(scores, ascending=ascending)
    for own in standings:
        before = standings[: own.rank - 1]
        better = [one for one in before if one.score != own.score]
        found = place(
            own.user_id,
            scores[own.user_id],
            scores.items(),
            ascending=ascending,
            neighbours=2,
        )
        assert found == Place(
            own=own,
            participants=len(standings),
            better=len(better),
            earlier=len(before) - len(better),
            ahead=before[-2:],
        )
