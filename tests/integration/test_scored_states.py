"""Who looks at everyone reads of each state the part that boards look at, and reads it right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import Engine, update

from jobs.change_users import Order, suspend_users
from models.rulebooks import Rulebooks
from models.rules.state import ScoredState
from models.statements.users import (
    decode_scored,
    read_next_scored,
    read_scored,
    stream_scored,
)
from models.tables import users
from tests.applying import (
    NOW,
    opened,
    put_events,
    put_program,
    put_users,
    read_rules,
    read_states,
)

# Names and values that are written in a state as its own fields are.
PROGRAM = """
[app]
name = "Awkward"

[metrics.as_of]
[metrics.suspended]

[points.as_of.triggers.suspended]
on = "metric"
metric = "suspended"
points = 3

[leaderboards.as_of]
rank_by = { metric = "as_of" }
period = "all"
segment_by = ["suspended", "as_of"]

[leaderboards.suspended]
rank_by = { metric = "suspended" }
aggregate = "best"
period = "all"
"""
VALUE = '"suspended":false,"as_of":'


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        for user_id in ("awkward", "banned", "older"):
            told = {"user_id": user_id, "attributes": {"suspended": VALUE, "as_of": VALUE}}
            put_users(engine, [told])
            put_events(
                engine, [{"user_id": user_id, "metric": one} for one in ("as_of", "suspended")]
            )
        order = Order(actor="me", reason="spam", given_at=NOW)
        suspend_users(engine, Rulebooks(), ["banned"], True, order)
        yield engine


def read_texts(engine: Engine) -> dict[str, str | None]:
    with engine.connect() as connection:
        return read_next_scored(connection, "", 10, read_rules(engine).stamp)


def rewrite(engine: Engine, user_id: str, state: dict[str, Any]) -> None:
    with engine.begin() as connection:
        written = json.dumps(state, separators=(",", ":"))
        connection.execute(update(users).values(state=written).where(users.c.user_id == user_id))


def scored(state: Any) -> dict[str, Any]:
    """Return what boards look at, by name."""
    found = {one.name: getattr(state, one.name) for one in fields(ScoredState)}
    points = {name: (one.balance, one.reached_at) for name, one in state.points.items()}
    return found | {"told": state.told.now(), "points": points}


def test_a_state_is_cut_where_the_part_of_boards_ends_and_nowhere_else(engine: Engine) -> None:
    [whole] = [text for text in read_texts(engine).values() if text and "signed_up_at" in text]
    older = json.loads(whole)
    # as releases before this one wrote it
    rewrite(
        engine, "older", {"told": older["told"], "suspended": False} | older | {"suspended": False}
    )
    texts = read_texts(engine)
    assert {one for one, text in texts.items() if text and "signed_up_at" in text} == {
        "banned",
        "older",
    }
    expected = {user_id: scored(state) for user_id, state in read_states(engine).items()}
    assert {one["suspended"] for one in expected.values()} == {True, False}
    assert {one: scored(decode_scored(text)) for one, text in texts.items() if text} == expected
    stamp = read_rules(engine).stamp
    with engine.connect() as connection:
        streamed = dict(stream_scored(connection, stamp))
        some = dict(read_scored(connection, ["banned", "nobody", "older"], stamp))
    assert {one: scored(state) for one, state in streamed.items()} == expected
    assert {one: scored(state) for one, state in some.items()} == {
        one: expected[one] for one in ("banned", "older")
    }


def test_who_is_to_be_folded_anew_is_read_as_none_and_not_streamed(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(stamp="another").where(users.c.user_id == "older"))
    assert read_texts(engine)["older"] is None
    stamp = read_rules(engine).stamp
    with engine.connect() as connection:
        streamed = dict(stream_scored(connection, stamp))
        some = dict(read_scored(connection, ["banned", "older"], stamp))
    assert streamed.keys() == {"awkward", "banned"}
    assert some.keys() == {"banned"}
