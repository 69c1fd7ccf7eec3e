"""Idea 1 of the design: the same facts in any order, split and repetition give the same state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from models.tables import metadata
from tests.applying import Dump, dump_state, opened, put_events, put_program, put_users
from tests.servers import fresh_database

USERS = {"a": "Pacific/Apia", "b": "America/Havana", "Ä": "Asia/Tokyo"}
METRICS = ("runs", "pages")
START = datetime(2011, 12, 28, tzinfo=UTC)
"""Two days before the one that Apia skipped (S4), so that chains lie across it."""
DAYS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program, events of it in the order in which they occurred, and how they arrive."""

    program: str
    events: Sequence[dict[str, Any]]
    arrivals: Sequence[Sequence[dict[str, Any]]]


@st.composite
def programs(draw: st.DrawFn) -> str:
    lines = ['[app]\nname = "Any"\ntimezone = "UTC"']
    for metric in METRICS:
        lines.append(f"[metrics.{metric}]\nallow_negative = true")
    for name, mode in (("either", "any"), ("both", "all")):
        at = [draw(st.sampled_from(["0.0001", "1", "2.5"])) for _ in METRICS]
        lines.append(
            f'[streaks.{name}]\nfrequency = "daily"\nmode = "{mode}"\n'
            f"metrics = {{ runs = {at[0]}, pages = {at[1]} }}"
        )
    lines.append("[points.xp]")
    for number in range(draw(st.integers(1, 3))):
        lines.append(_trigger(draw, number))
    for name, rank_by in (("total", 'metric = "runs"'), ("xp", 'points = "xp"')):
        order = draw(st.sampled_from(["asc", "desc"]))
        lines.append(
            f'[leaderboards.{name}]\nperiod = "all"\norder = "{order}"\nrank_by = {{ {rank_by} }}'
        )
    return "\n".join(lines)


def _trigger(draw: st.DrawFn, number: int) -> str:
    metric = draw(st.sampled_from(METRICS))
    every = draw(st.sampled_from(["1", "3", "2.5"]))
    where = draw(st.sampled_from(["", 'where = { event = { kind = "x" } }']))
    return (
        f'[points.xp.triggers.t{number}]\non = "metric"\nmetric = "{metric}"\n'
        f"every = {every}\npoints = {draw(st.sampled_from(['1', '0.5']))}\n{where}"
    )


@st.composite
def events(draw: st.DrawFn) -> list[dict[str, Any]]:
    values = st.one_of(
        st.sampled_from(["1", "-1", "3", "2.5", "-2.5", "0"]),
        st.decimals(min_value=-9, max_value=9, places=4).map(str),
    )
    # A few hours of the day only, so that events often share a day and an instant.
    hours = st.integers(0, DAYS * 4 - 1).map(lambda quarter: quarter * 6)
    found = []
    for number in range(draw(st.integers(1, 24))):
        occurred_at = START + timedelta(hours=draw(hours))
        event: dict[str, Any] = {
            "user_id": draw(st.sampled_from(sorted(USERS))),
            "metric": draw(st.sampled_from(METRICS)),
            "key": f"{draw(st.sampled_from('zaé'))}{number}",
            "value": draw(values),
            "occurred_at": occurred_at.isoformat(),
        }
        if draw(st.booleans()):
            event["attributes"] = {"kind": draw(st.sampled_from(["x", "y"]))}
        found.append(event)
    return sorted(found, key=lambda event: (event["occurred_at"], event["key"]))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    facts = draw(events())
    repeated = draw(st.lists(st.sampled_from(facts), max_size=5))
    left = draw(st.permutations([*facts, *repeated]))
    arrivals = []
    while left:
        size = draw(st.integers(1, len(left)))
        arrivals.append(left[:size])
        left = left[size:]
    return Case(program=draw(programs()), events=facts, arrivals=arrivals)


@pytest.fixture(scope="module")
def engine(postgres_url: str, _embedded_template: str) -> Iterator[Engine]:
    with (
        fresh_database(postgres_url, template=_embedded_template) as url,
        opened(url) as engine,
    ):
        yield engine


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases())
def test_state_is_a_function_of_the_facts_s12_s14_s20_s30(engine: Engine, case: Case) -> None:
    at_once = _apply(engine, case.program, [case.events])
    one_by_one = _apply(engine, case.program, [[event] for event in case.events])
    as_they_came = _apply(engine, case.program, case.arrivals)
    assert one_by_one == at_once
    assert as_they_came == at_once
    _check_points(at_once, case)


def _check_points(dump: Dump, case: Case) -> None:
    """What triggers have awarded is what their entries sum to, and never less than was counted."""
    entries: dict[tuple[Any, ...], Decimal] = {}
    for *key, _cause, amount, _occurred_at in dump["point_entries"]:
        entries[tuple(key)] = entries.get(tuple(key), Decimal(0)) + amount
    for user_id, state in dump["states"]:
        for trigger, found in state.points.get("xp", {}).items():
            name, since = trigger.split("@")
            key_of_trigger = (user_id, "xp", name, int(since))
            assert entries.get(key_of_trigger, Decimal(0)) == found.awarded, json.dumps(case.events)


def _apply(engine: Engine, program: str, arrivals: Sequence[Sequence[dict[str, Any]]]) -> Dump:
    _empty(engine)
    put_program(engine, program)
    put_users(engine, [{"user_id": user, "tz": tz} for user, tz in USERS.items()], now=START)
    for batch in arrivals:
        put_events(engine, batch)
    return dump_state(engine)


def _empty(engine: Engine) -> None:
    """Deleting is quicker than truncating where tables hold a few rows."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
        connection.execute(text("alter sequence boards_board_id_seq restart"))
