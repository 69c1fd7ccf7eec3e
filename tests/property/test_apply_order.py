"""Idea 1 of the design: the same facts in any order, split and repetition give the same state.

Two users live the same life, told in one order to a first database and in another to the second:
events in batches of any size, some of them twice, operators' commands among them. Both must hold
the same, a recomputation must change nothing, and `verify` must find nothing.

What SEMANTICS.md excepts is tested as such: an event keeps the date that it got when it was applied
(S1), and which events are over a daily limit depends on their arrival (S16). So the zones of a life
are told before its events, in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from jobs import change_users
from jobs.change_users import NotPossible, Order
from jobs.close_ledgers import MARGIN, close_ledgers
from jobs.recompute_users import recompute_users
from jobs.verify import Verified, verify_users
from models import tables
from models.rulebooks import Rulebooks
from models.rules import fold
from models.rules.facts import Adjustment, Completion, Event, Fact, Grant, Reset, Suspension
from models.rules.timelines import Pause, Told
from tests.applying import (
    Dump,
    dump_state,
    opened,
    put_events,
    put_program,
    put_users,
    read_rules,
    read_table,
)
from tests.property.generating import ASSUMED, STREAKS, Life, examples, lives
from tests.servers import fresh_database

USERS = ("u", "Ä")
LONG_AFTER = datetime(2031, 1, 1, tzinfo=UTC)
BEGINNING = datetime(2011, 1, 1, tzinfo=UTC)
FACTS_PER_CHECKPOINT = 3
"""So few that a late event often finds a checkpoint before it."""
EVERY_TXID = 2**62
_ALL_LOADED = (
    insert(tables.loads)
    .values(source="events", from_txid=0, to_txid=EVERY_TXID, frozen_at=BEGINNING)
    .values(loaded_at=BEGINNING)
    .on_conflict_do_nothing()
)
"""As if the warehouse had all events, for closing them to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that a user's life tells: an event or something else, and what came with it."""

    user: str
    what: Fact | Pause | Told
    attributes: Mapping[str, str]
    imported: bool


Word = Pause | Grant | Reset | Adjustment | Completion | Suspension
Arrival = Sequence[Step]
"""Events of one batch, or one other thing."""


@pytest.fixture(scope="module")
def engines(postgres_url: str, _embedded_template: str) -> Iterator[tuple[Engine, Engine]]:
    with (
        fresh_database(postgres_url, template=_embedded_template) as one,
        fresh_database(postgres_url, template=_embedded_template) as other,
        opened(one) as first,
        opened(other) as second,
    ):
        yield first, second


checked = settings(
    max_examples=examples(30),
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@pytest.fixture(autouse=True)
def _many_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "FACTS_PER_CHECKPOINT", FACTS_PER_CHECKPOINT)


@st.composite
def steps(draw: st.DrawFn, life: Life) -> list[Step]:
    """Draw what reaches the app of a life, in order; some events tell attributes themselves."""
    found = []
    for one in (*life.told, *life.pauses, *life.facts):
        says = isinstance(one, Event) and draw(st.integers(0, 5)) == 0
        attributes = {"plan": draw(st.sampled_from(["free", "pro"]))} if says else {}
        imported = draw(st.booleans())
        found += [Step(user=u, what=one, attributes=attributes, imported=imported) for u in USERS]
    return found


@st.composite
def arrivals(draw: st.DrawFn, told: Sequence[Step]) -> Sequence[Arrival]:
    """Draw an order, with repeats of events, and batches."""
    events = [step for step in told if isinstance(step.what, Event)]
    repeated = draw(st.lists(st.sampled_from(events), max_size=4)) if events else []
    found: list[list[Step]] = []
    for step in draw(st.permutations([*told, *repeated])):
        joins = isinstance(step.what, Event) and draw(st.booleans())
        if joins and found and isinstance(found[-1][0].what, Event):
            found[-1].append(step)
        else:
            found.append([step])
    return found


def in_order(told: Sequence[Step]) -> list[Arrival]:
    """Return things one by one as they came to be true."""
    return [[step] for step in sorted(told, key=lambda step: step.what.at)]


@checked
@given(data=st.data())
def test_state_is_a_function_of_the_facts_s12_s14_s27_s34(
    engines: tuple[Engine, Engine], data: st.DataObject
) -> None:
    life = data.draw(lives(judged_by_latest=True))
    told = data.draw(steps(life))
    zones = [step for step in told if isinstance(step.what, Told) and step.what.tz is not None]
    rest = [step for step in told if step not in zones]
    first, second = engines
    _live(first, life, [*in_order(zones), *in_order(rest)])
    shuffled = [[step] for step in data.draw(st.permutations(zones))]
    _live(second, life, [*shuffled, *data.draw(arrivals(rest))])
    expected = dump_state(first)
    _must_equal(dump_state(second), expected)
    for engine in engines:
        _must_be_proven(engine)
        _must_equal(dump_state(engine), expected)


@checked
@given(data=st.data())
def test_a_ledger_goes_on_from_its_opening_as_from_all_its_events_s14(
    engines: tuple[Engine, Engine], data: st.DataObject
) -> None:
    """What is closed at any time, once or twice, changes nothing but which events are there."""
    life = data.draw(lives(judged_by_latest=True))
    told = data.draw(steps(life))
    zones = [step for step in told if isinstance(step.what, Told) and step.what.tz is not None]
    rest = [step for step in told if step not in zones]
    instants = st.sampled_from([one.what.at for one in rest])
    cuts = sorted(data.draw(st.lists(instants, min_size=1, max_size=2)))
    first, second = engines
    _live(first, life, [*in_order(zones), *in_order(rest)])
    _live(second, life, in_order(zones))
    left = 0
    for cut in cuts:
        early = [step for step in rest if step.what.at <= cut + MARGIN]
        rest = [step for step in rest if step.what.at > cut + MARGIN]
        if early:
            _tell_all(second, data.draw(arrivals(early)))
        kept = timedelta(days=365)
        with second.begin() as connection:
            connection.execute(_ALL_LOADED)
        left += sum(
            events
            for _, events in close_ledgers(
                second, Rulebooks(), cut + kept, kept=kept, loaded=EVERY_TXID, together=timedelta()
            )
        )
    if rest:
        _tell_all(second, data.draw(arrivals(rest)))
    expected, found = dump_state(first), dump_state(second)
    assert len(expected.pop("events")) == len(found.pop("events")) + left
    _must_equal(found, expected)
    _must_be_proven(second)


@checked
@given(data=st.data())
def test_a_restored_chain_is_the_same_whatever_came_before_s27(
    engines: tuple[Engine, Engine], data: st.DataObject
) -> None:
    """What an operator restores is what can be seen to be broken: the order comes last."""
    life = data.draw(lives(judged_by_latest=True, versions_max=1))
    told = data.draw(steps(life))
    zones = [step for step in told if isinstance(step.what, Told) and step.what.tz is not None]
    rest = [step for step in told if step not in zones]
    streak = data.draw(st.sampled_from(STREAKS))
    restored = []
    for engine, came in zip(engines, [in_order(rest), data.draw(arrivals(rest))], strict=True):
        _live(engine, life, [*in_order(zones), *came])
        restored.append([_restored(engine, user, streak, life.until) for user in USERS])
    assert restored[0] == restored[1]
    expected = dump_state(engines[0])
    _must_equal(dump_state(engines[1]), expected)
    _must_be_proven(engines[1])
    _must_equal(dump_state(engines[1]), expected)


def _restored(engine: Engine, user: str, streak: str, at: datetime) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(change_users, "_new_id", lambda: "restored")
        order = Order(actor="eve", reason="an outage", given_at=at)
        try:
            change_users.restore_streak(engine, Rulebooks(), [user], streak, order)
        except NotPossible:
            return False
    return True


LIMITED = """
[app]
name = "Limits"
[metrics.runs]
max_events_per_day = 2
[streaks.s0]
frequency = "daily"
metrics = { runs = 2 }
[points.xp.triggers.t0]
on = "metric"
metric = "runs"
points = 1
"""


@checked
@given(order=st.permutations([1, 2, 3, 4]), split=st.integers(1, 4))
def test_the_order_of_arrival_decides_only_what_is_over_a_daily_limit_s16(
    engines: tuple[Engine, Engine], order: list[int], split: int
) -> None:
    """The first two to arrive count, whichever they are; what counts makes the state."""
    first, second = engines
    at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    events = [
        {
            "user_id": "u",
            "metric": "runs",
            "key": f"{number}",
            "value": number,
            "occurred_at": (at + timedelta(hours=number)).isoformat(),
        }
        for number in order
    ]
    _begin(first, [(BEGINNING, LIMITED)])
    for batch in (events[:split], events[split:]):
        put_events(first, batch, now=LONG_AFTER)
    counted = [row["key"] for row in read_table(first, tables.events)]
    assert sorted(counted) == sorted(str(number) for number in order[:2])
    _must_be_proven(first)
    _begin(second, [(BEGINNING, LIMITED)])
    put_events(second, [event for event in events if event["key"] in counted], now=LONG_AFTER)
    _must_equal(dump_state(first), dump_state(second))


@checked
@given(hour=st.integers(0, 23), move=st.integers(-24, 24), tz=st.sampled_from(["Asia/Tokyo"]))
def test_an_event_keeps_the_date_it_got_when_it_was_applied_s1(
    engines: tuple[Engine, Engine], hour: int, move: int, tz: str
) -> None:
    """A zone told afterwards dates no event anew; what follows from the dates is proven."""
    engine, other = engines
    at = datetime(2026, 3, 4, hour, tzinfo=UTC)
    event = {"user_id": "u", "metric": "runs", "key": "1", "occurred_at": at.isoformat()}
    zone = [{"user_id": "u", "tz": tz}]
    tell = partial(put_users, raw=zone, now=at + timedelta(hours=move))
    for database in engines:
        _begin(database, [(BEGINNING, LIMITED)])
    put_events(engine, [event], now=LONG_AFTER)
    tell(engine)
    tell(other)
    put_events(other, [event], now=LONG_AFTER)
    assert read_table(engine, tables.events)[0]["local_date"] == at.date()
    # Before the first zone that is known of a user that one held.
    told_first = (at + timedelta(hours=9)).date()
    assert read_table(other, tables.events)[0]["local_date"] == told_first
    for database in engines:
        _must_be_proven(database)


def _live(engine: Engine, life: Life, told: Sequence[Arrival]) -> None:
    _begin(engine, life.versions)
    put_users(engine, [{"user_id": user, "tz": ASSUMED} for user in USERS], now=BEGINNING)
    _tell_all(engine, told)


def _tell_all(engine: Engine, told: Sequence[Arrival]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for arrival in told:
            if isinstance(arrival[0].what, Event):
                put_events(engine, [_raw(step) for step in arrival], now=LONG_AFTER)
            else:
                _say(engine, arrival[0], patch)


def _raw(step: Step) -> Mapping[str, Any]:
    event = step.what
    assert isinstance(event, Event)
    raw: dict[str, Any] = {
        "user_id": step.user,
        "metric": event.metric,
        "key": event.key,
        "value": f"{event.value:f}",
        "occurred_at": event.at.isoformat(),
        "attributes": dict(event.attributes),
    }
    if step.attributes:
        raw["user"] = {"attributes": dict(step.attributes)}
    return raw


def _say(engine: Engine, step: Step, patch: pytest.MonkeyPatch) -> None:
    """Tell something about a user, or give an operator's command with the fact's own id."""
    what = step.what
    if isinstance(what, Told):
        told: dict[str, Any] = {"user_id": step.user, "attributes": dict(what.attributes)}
        if what.tz is not None:
            told["tz"] = what.tz
        put_users(engine, [told], now=what.at, imported=step.imported)
        return
    assert not isinstance(what, Event)
    patch.setattr(change_users, "_new_id", lambda: what.fact_id)
    order = Order(actor="eve", reason="a test", given_at=what.at)
    _command(engine, what, [step.user], order)


def _command(engine: Engine, what: Word, users: Sequence[str], order: Order) -> None:
    books, streaks = Rulebooks(), read_rules(engine).latest.streaks
    match what:
        case Grant(streak=streak, freezes=freezes) if streaks[streak].freezes is not None:
            change_users.grant_freezes(engine, books, users, streak, freezes, order)
        case Reset(streak=streak):
            change_users.reset_streak(engine, books, users, streak, order)
        case Adjustment(points=points, amount=amount):
            change_users.adjust_points(engine, books, users, points, amount, order)
        case Completion(achievement=key):
            change_users.complete_achievement(engine, books, users, key, order)
        case Suspension(suspended=suspended):
            change_users.suspend_users(engine, books, users, suspended, order)
        case Pause(first=first, last=last, streak=name) if name is None or name in streaks:
            change_users.pause_streaks(engine, books, users, first, last, order, name)


def _must_be_proven(engine: Engine) -> None:
    """Compute everyone from nothing: nothing differs from what is stored, or changes."""
    verified = Verified()
    verify_users(engine, Rulebooks(), verified)
    assert verified.users_waiting == 0
    assert verified.samples == []
    before = dump_state(engine)
    ids = [row["user_id"] for row in read_table(engine, tables.users)]
    recompute_users(engine, Rulebooks(), ids, LONG_AFTER)
    _must_equal(dump_state(engine), before)


def _must_equal(found: Dump, expected: Dump) -> None:
    for name, rows in expected.items():
        assert found[name] == rows, name


def _begin(engine: Engine, versions: Sequence[tuple[datetime, str]]) -> None:
    """Empty the database, and apply programs; deleting is quicker than truncating a few rows."""
    with engine.begin() as connection:
        for table in tables.metadata.sorted_tables:
            connection.execute(table.delete())
    for applied_at, toml in versions:
        put_program(engine, toml, now=applied_at)


TOLD = """
[app]
name = "Told"
timezone = "UTC"
[metrics.runs]
[streaks.s1]
frequency = "weekly"
metrics = { runs = 1 }
[points.xp.triggers.german]
on = "metric"
metric = "runs"
points = 1
where = { user = { country = "DE" } }
"""
MARCH = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _march(day: int) -> datetime:
    return MARCH + timedelta(days=day - 2)


def _run(engine: Engine, day: int) -> None:
    event = {"user_id": "u", "metric": "runs", "key": f"{day}", "occurred_at": f"{_march(day)}"}
    put_events(engine, [event], now=LONG_AFTER)


def _tell(engine: Engine, day: int, **fields: Any) -> None:
    put_users(engine, [{"user_id": "u", **fields}], now=_march(day))


def test_what_was_told_again_is_not_forgotten_where_something_is_told_before_it_s12(
    engines: tuple[Engine, Engine],
) -> None:
    french, german = {"attributes": {"country": "FR"}}, {"attributes": {"country": "DE"}}
    engine, _ = engines
    _begin(engine, [(BEGINNING, TOLD)])
    _tell(engine, 3, **french)
    _run(engine, 4)
    _tell(engine, 7, **french)
    _tell(engine, 5, **german)
    _run(engine, 9)
    _must_be_proven(engine)


def test_a_zone_told_after_the_latest_fact_leaves_the_state_as_a_recomputation_does_s7(
    engines: tuple[Engine, Engine],
) -> None:
    engine, _ = engines
    _begin(engine, [(BEGINNING, TOLD)])
    _tell(engine, 2, tz="Asia/Tokyo")
    _run(engine, 3)
    _tell(engine, 5, tz="America/New_York")
    _must_be_proven(engine)


def test_who_is_told_of_at_the_instant_of_the_first_event_signs_up_by_its_version_s36(
    engines: tuple[Engine, Engine],
) -> None:
    engine, _ = engines
    _begin(engine, [(BEGINNING, TOLD), (_march(20), TOLD.replace("DE", "FR"))])
    put_users(engine, [{"user_id": "u", "tz": "UTC"}], now=_march(4), imported=False)
    _run(engine, 4)
    _must_be_proven(engine)


def test_chains_of_two_frequencies_may_start_on_one_date_s29_s36(
    engines: tuple[Engine, Engine],
) -> None:
    """Monday 2 March is a day and begins a week."""
    engine, _ = engines
    daily = TOLD.replace("weekly", "daily")
    _begin(engine, [(BEGINNING, daily)])
    _run(engine, 2)
    put_program(engine, TOLD, now=_march(3))
    _run(engine, 4)
    _run(engine, 30)
    _must_be_proven(engine)
