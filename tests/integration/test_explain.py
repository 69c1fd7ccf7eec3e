"""What operators did stands among the steps of a derivation, and a rank is derived, too (S37)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from jobs.change_users import (
    Order,
    adjust_points,
    complete_achievement,
    grant_freezes,
    pause_streaks,
    reset_streak,
    restore_streak,
    set_fields,
    suspend_users,
)
from jobs.explain import explain
from jobs.finalize_runs import finalize_due_runs
from jobs.sweep_streaks import sweep_streaks
from models.rulebooks import Rulebooks
from streakline.contract import UserFields
from tests.applying import opened, opened_rankings, put_events, put_program

PROGRAM = """
[app]
name = "School"
timezone = "UTC"
[metrics.lessons]
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[streaks.daily.freezes]
max = 2
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
points = 10
[achievements.helper]
on = "manual"
[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
segment_by = ["country"]
[leaderboards.xp]
rank_by = { points = "xp" }
period = "all"
[leaderboards.fewest]
rank_by = { points = "xp" }
period = "all"
order = "asc"
"""
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
NOON = timedelta(hours=12)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM, MONDAY - timedelta(days=30))
        yield engine


def lesson(user_id: str, at: datetime, value: int = 1, country: str = "FR") -> dict[str, Any]:
    return {
        "user_id": user_id,
        "metric": "lessons",
        "key": f"{at:%d %H:%M:%S}",
        "value": value,
        "occurred_at": at.isoformat(),
        "user": {"attributes": {"country": country}},
    }


def order(given_at: datetime, reason: str) -> Order:
    return Order(actor="ops", reason=reason, given_at=given_at)


def orders_of(steps: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["order"], one["actor"], one["reason"]) for one in steps if "order" in one]


def test_what_operators_did_to_a_streak_stands_before_the_period_it_concerns_s27_s37(
    engine: Engine,
) -> None:
    rulebooks = Rulebooks()
    days = [MONDAY + timedelta(days=day) + NOON for day in range(6)]
    # Monday and Tuesday, a grant on Tuesday, an outage on Wednesday, a reset on Friday, taken back
    put_events(engine, [lesson("ann", day) for day in (*days[:2], *days[3:5])], now=days[5])
    grant_freezes(engine, rulebooks, ["ann"], "daily", 1, order(days[5], "sorry"))
    outage = (date(2026, 11, 25), date(2026, 11, 25))
    pause_streaks(engine, rulebooks, ["ann"], *outage, order(days[5], "outage"))
    reset_streak(engine, rulebooks, ["ann"], "daily", order(days[5] + MINUTE, "a bot"))
    restore_streak(engine, rulebooks, ["ann"], "daily", order(days[5] + NOON, "no bot"))
    tokyo = UserFields(tz="Asia/Tokyo")
    set_fields(engine, rulebooks, ["ann"], tokyo, order(days[5] + 2 * NOON, "moved"))

    found = explain(engine, "ann", "streak.daily", days[5] + 2 * NOON)

    assert found is not None
    shown = [
        (str(one["period"]), one["state"], one["length"])
        if "period" in one
        else (one["order"], one["actor"], one["reason"])
        for one in found["steps"]
    ]
    assert shown == [
        ("2026-11-23", "active", 1),
        ("2026-11-24", "active", 2),
        ("pause", "ops", "outage"),
        ("2026-11-25", "paused", 2),
        ("2026-11-26", "active", 3),
        ("2026-11-27", "active", 4),
        ("grant", "ops", "sorry"),
        ("reset", "ops", "a bot"),
        ("pause", "ops", "no bot"),
        ("2026-11-28", "paused", 4),
        ("told", "ops", "moved"),
    ]
    assert found["value"] == 4
    before = explain(engine, "ann", "streak.daily", days[5] + 2 * NOON, as_of=days[5] + MINUTE)
    assert before is not None
    assert orders_of(before["steps"]) == [
        ("pause", "ops", "outage"),
        ("grant", "ops", "sorry"),
        ("reset", "ops", "a bot"),
    ]


def test_points_and_achievements_name_the_operator_s37(engine: Engine) -> None:
    rulebooks = Rulebooks()
    put_events(engine, [lesson("ann", MONDAY)], now=MONDAY + NOON)
    adjust_points(engine, rulebooks, ["ann"], "xp", Decimal(-3), order(MONDAY + NOON, "twice"))
    complete_achievement(engine, rulebooks, ["ann"], "helper", order(MONDAY + NOON, "kind"))

    points = explain(engine, "ann", "points.xp", MONDAY + NOON)
    helper = explain(engine, "ann", "achievement.helper", MONDAY + NOON)

    assert points is not None
    assert [(one["amount"], one.get("actor"), one.get("reason")) for one in points["steps"]] == [
        (10, None, None),
        (-3, "ops", "twice"),
    ]
    assert helper is not None
    assert helper["value"]
    assert orders_of(helper["steps"]) == [("completion", "ops", "kind")]


def test_a_rank_is_who_is_better_and_who_was_earlier_s44_s45_s37(engine: Engine) -> None:
    rulebooks = Rulebooks()
    at = MONDAY + NOON
    events = [
        lesson("ann", at + timedelta(seconds=2), 3),
        lesson("bob", at, 5, "US"),
        lesson("cat", at + timedelta(seconds=1), 3),
        lesson("dan", at + timedelta(seconds=2), 3),  # of the same second, and a later id
        lesson("eve", at, 4),
        lesson("fay", at, 9),
        lesson("gus", at, 8, "US"),
        lesson("ida", at, 1),
    ]
    now = at + NOON
    put_events(engine, events, now=now)
    suspend_users(engine, rulebooks, ["fay"], True, order(now, "cheating"))

    found = explain(engine, "ann", "leaderboard.weekly", now)

    assert found is not None
    assert (found["run"], found["final"], found["value"]) == ("2026-W48", False, 3)
    everyone, french = found["standings"]
    # gus 8, bob 5 and eve 4 are better, cat was a second earlier; dan and ida come after
    assert (everyone["segment"], everyone["rank"], everyone["participants"]) == ({}, 5, 7)
    assert (everyone["better"], everyone["earlier"]) == (3, 1)
    assert [(one["rank"], one["user_id"]) for one in everyone["ahead"]] == [
        (2, "bob"),
        (3, "eve"),
        (4, "cat"),
    ]
    assert (french["segment"], french["rank"], french["participants"]) == ({"country": "FR"}, 3, 5)
    assert (french["better"], french["earlier"]) == (1, 1)

    least = explain(engine, "ann", "leaderboard.fewest", now)
    assert least is not None
    assert [one["user_id"] for one in least["standings"][0]["ahead"]] == ["ida", "cat"]

    suspended = explain(engine, "fay", "leaderboard.xp", now)
    assert suspended is not None
    assert (suspended["value"], suspended["standings"]) == (90, [])
    assert orders_of(suspended["steps"]) == [("suspension", "ops", "cheating")]
    in_the_past = explain(engine, "ann", "leaderboard.weekly", now, as_of=now)
    assert in_the_past is not None
    assert "standings" not in in_the_past


def test_a_rank_in_a_final_run_is_that_of_its_record_s43_s37(
    engine: Engine, valkey_url: str, namespace: str
) -> None:
    rulebooks = Rulebooks()
    at = MONDAY + NOON
    events = [lesson("ann", at + NOON, 3), lesson("bob", at, 5), lesson("cat", at, 3, "US")]
    put_events(engine, events, now=at + NOON)
    over = MONDAY + timedelta(days=14)
    for _ in sweep_streaks(engine, rulebooks, over):
        pass
    with opened_rankings(valkey_url, namespace) as rankings:
        assert finalize_due_runs(engine, rulebooks, rankings, over) >= 1
        # too late for the record
        put_events(engine, [lesson("ann", at + timedelta(hours=1), 9)], now=over)

    found = explain(engine, "ann", "leaderboard.weekly/2026-W48", over)

    assert found is not None
    assert (found["final"], found["value"]) == (True, 12)
    everyone, french = found["standings"]
    assert (everyone["rank"], everyone["score"], everyone["participants"]) == (3, 3, 3)
    assert (everyone["better"], everyone["earlier"]) == (1, 1)
    assert [one["user_id"] for one in everyone["ahead"]] == ["bob", "cat"]
    assert (french["segment"], french["rank"], french["better"]) == ({"country": "FR"}, 2, 1)
