"""What is told about a user in any order, before and after the first event, comes to the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine

from models.rules.state import UserState
from models.rules.timelines import AttributeChange
from tests.applying import (
    NOW,
    must_verify,
    opened,
    put_events,
    put_program,
    put_users,
    read_leaderboard,
    read_standings,
    read_states,
)

PROGRAM = """
[app]
name = "App"
timezone = "UTC"
[metrics.runs]
[points.xp.triggers.welcome]
on = "signup"
points = 5
[points.xp.triggers.french]
on = "metric"
metric = "runs"
points = 1
where = { user = { country = "FR" } }
[leaderboards.runs]
period = "all"
rank_by = { metric = "runs" }
segment_by = ["country"]
"""
TOKYO, NEW_YORK = "Asia/Tokyo", "America/New_York"
imported_or_not = pytest.mark.parametrize("imported", [True, False], ids=["imported", "live"])


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        yield engine


def tell(engine: Engine, days_ago: int, fields: Mapping[str, Any], *, imported: bool) -> None:
    """Tell something about the user, as of some days ago."""
    told = {"user_id": "a", **fields}
    put_users(engine, [told], now=NOW - timedelta(days=days_ago), imported=imported)


def run(engine: Engine, days_ago: int, **fields: Any) -> None:
    """Let the user do something."""
    at = NOW - timedelta(days=days_ago)
    event = {"user_id": "a", "metric": "runs", "key": "run"}
    put_events(engine, [{**event, "occurred_at": f"{at}", **fields}])


def state_as_recomputed(engine: Engine) -> UserState:
    """Return the user's state, which must be what the facts come to from nothing."""
    assert must_verify(engine).users_checked == 1
    return read_states(engine)["a"]


@imported_or_not
def test_of_two_zones_told_in_any_order_the_later_one_holds_last_s1_s12(
    engine: Engine, imported: bool
) -> None:
    tell(engine, 2, {"tz": TOKYO}, imported=imported)
    tell(engine, 5, {"tz": NEW_YORK}, imported=imported)
    run(engine, 1)
    zones = state_as_recomputed(engine).told.zones
    assert [(NOW - zone.since, zone.tz) for zone in zones] == [
        (timedelta(days=5), NEW_YORK),
        (timedelta(days=2), TOKYO),
    ]


@imported_or_not
def test_of_two_attributes_told_in_any_order_the_later_one_places_the_user_s45(
    engine: Engine, imported: bool
) -> None:
    tell(engine, 2, {"attributes": {"country": "FR"}}, imported=imported)
    tell(engine, 5, {"attributes": {"country": "DE"}}, imported=imported)
    run(engine, 1)
    assert state_as_recomputed(engine).told.now() == {"country": "FR"}
    placed = {
        country: len(read_standings(engine, read_leaderboard(engine, "runs", segment=country)))
        for country in ("country=FR", "country=DE")
    }
    assert placed == {"country=FR": 1, "country=DE": 0}


@imported_or_not
@pytest.mark.parametrize("run_days_ago", [1, 3, 9])
def test_a_zone_told_again_for_a_time_before_holds_since_then_s1(
    engine: Engine, imported: bool, run_days_ago: int
) -> None:
    tell(engine, 2, {"tz": TOKYO}, imported=imported)
    run(engine, run_days_ago)
    tell(engine, 5, {"tz": TOKYO}, imported=imported)
    [zone] = state_as_recomputed(engine).told.zones
    assert zone.since == NOW - timedelta(days=5)


@imported_or_not
@pytest.mark.parametrize("run_days_ago", [2, 3])
@pytest.mark.parametrize("order", list(permutations(["DE", "FR"])), ids="-".join)
def test_told_at_one_instant_what_is_new_holds_whichever_came_first_s12(
    engine: Engine, imported: bool, run_days_ago: int, order: Sequence[str]
) -> None:
    """FR held before, so it says nothing new."""
    tell(engine, 5, {"attributes": {"country": "FR"}}, imported=imported)
    run(engine, run_days_ago)
    for country in order:
        tell(engine, 2, {"attributes": {"country": country}}, imported=imported)
    assert state_as_recomputed(engine).told.attributes == {
        "country": [
            AttributeChange(NOW - timedelta(days=5), "FR"),
            AttributeChange(NOW - timedelta(days=2), "DE"),
        ]
    }


def test_who_was_told_of_before_what_is_known_signed_up_then_s31(engine: Engine) -> None:
    tell(engine, 2, {"tz": TOKYO}, imported=False)
    run(engine, 1)
    tell(engine, 5, {"name": "A"}, imported=False)
    state = state_as_recomputed(engine)
    assert state.signed_up_at == NOW - timedelta(days=5)
    assert state.points["xp"].balance == 5


@pytest.mark.parametrize("key", ["a", "z"], ids=["before it", "after it"])
def test_what_an_event_tells_holds_for_another_of_the_same_instant_s12_s30(
    engine: Engine, key: str
) -> None:
    run(engine, 2, key="m")
    run(engine, 2, key=key, user={"attributes": {"country": "FR"}})
    assert state_as_recomputed(engine).points["xp"].balance == 5 + 2
