"""Bad events beside good ones: set aside with a reason, and the good ones apply."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy import event as sql_event

from jobs.apply_events import Kind, Received, apply_all, apply_free, decode
from jobs.project_rankings import project_rankings
from models import tables
from models.rulebooks import Rulebooks
from models.rules.state import Total
from models.statements import users as user_statements
from models.statements.boards import count_touches
from models.statements.events import Outcome
from tests.applying import (
    NOW,
    batches,
    dump_state,
    must_equal,
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

Raw = dict[str, Any]

PROGRAM = """
[app]
name = "App"
timezone = "America/New_York"
[metrics.runs]
[metrics.pages]
max_value = 10
[streaks.daily]
frequency = "daily"
metrics = { runs = 1 }
[points.xp.triggers.run]
on = "metric"
metric = "runs"
every = 2.5
points = 10
[leaderboards.runs]
period = "all"
rank_by = { metric = "runs" }
"""
LANGUAGE_APP = Path(__file__).parents[3] / "shared" / "programs" / "language-app.toml"
needs_language_app = pytest.mark.skipif(
    not LANGUAGE_APP.is_file(), reason="../shared/programs/language-app.toml is not here"
)


def test_an_import_from_before_the_calendar_does_not_fail_the_batch_s17(database_url: str) -> None:
    """1 January of year 1 has no local date west of UTC; it is refused, and the other applies."""
    event = {"user_id": "a", "metric": "runs"}
    early = event | {"key": "early", "occurred_at": "0001-01-01T00:00:00Z"}
    good = event | {"key": "good", "occurred_at": "2026-11-23T08:00:00Z"}
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        applied = put_events(engine, [early, good])
        rejected = read_table(engine, tables.rejected_events)
    assert (applied.outcomes[Outcome.APPLIED], applied.outcomes[Outcome.REJECTED]) == (1, 1)
    assert [row["reason"] for row in rejected] == ["too-old"]


@pytest.mark.parametrize(
    "bad",
    [
        {"user_id": "a\x00b", "metric": "runs", "key": "k"},
        {"user_id": "a\ud800", "metric": "runs", "key": "k"},
        {"user_id": "a", "metric": "\ud800", "key": "k"},
        {"user_id": "a", "metric": "runs", "key": "k", "value": 2**70},
        {"user_id": "a", "metric": "runs", "key": "k", "value": float("nan")},
        {"user_id": "a", "metric": "runs", "key": "k", "note\x00": 1},
        None,
    ],
    ids=["nul", "surrogate", "metric", "huge", "nan", "field", "nothing"],
)
def test_what_no_column_can_hold_is_set_aside_and_the_good_applies_s17(
    database_url: str, bad: object
) -> None:
    good = {"user_id": "a", "metric": "runs", "key": "good"}
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        applied = put_events(engine, [bad, good])
        rejected = read_table(engine, tables.rejected_events)
    assert applied.outcomes[Outcome.APPLIED] == 1
    assert [row["reason"] for row in rejected] == ["invalid"]


def test_same_content_is_a_duplicate_and_other_content_a_conflict_s11(database_url: str) -> None:
    event = {"user_id": "a", "metric": "runs", "key": "k", "value": "2.5", "attributes": {"x": "1"}}
    at = {"occurred_at": "2026-11-23T08:00:00Z"}
    same = [
        event | at,
        event,  # occurred_at left to default is not content
        event | {"value": 2.50, "occurred_at": "2026-11-23T10:00:00+02:00"},
        event | at | {"user": {"name": "A"}},
    ]
    other = {
        "value": event | at | {"value": "2.5001"},
        "attributes": event | at | {"attributes": {"x": "2"}},
        "occurred_at": event | {"occurred_at": "2026-11-23T08:00:01Z"},
        "value and attributes": event | {"value": 1, "attributes": {}},
    }
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_events(engine, [event | at])
        before = dump_state(engine)
        applied = put_events(engine, [*same, *other.values()])
        rejected = read_table(engine, tables.rejected_events)
        assert dump_state(engine) == before
    assert applied.outcomes == {
        Outcome.APPLIED: 0,
        Outcome.DUPLICATE: len(same),
        Outcome.CONFLICT: len(other),
        Outcome.REJECTED: 0,
    }
    assert {row["reason"] for row in rejected} == {"conflict"}
    assert {row["detail"] for row in rejected} == {
        f"{what} differ from the event accepted under this key; "
        "give a corrected event a key of its own"
        for what in other
    }


def test_an_instant_left_to_default_first_does_not_conflict_with_one_told_later_s11(
    database_url: str,
) -> None:
    event = {"user_id": "a", "metric": "runs", "key": "k"}
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_events(engine, [event])
        put_events(engine, [event], now=NOW + timedelta(hours=1))
        applied = put_events(engine, [event | {"occurred_at": "2026-11-20T08:00:00Z"}])
        kept = read_table(engine, tables.events)
    assert applied.outcomes[Outcome.DUPLICATE] == 1
    assert [(row["occurred_at"], row["occurred_at_told"]) for row in kept] == [(NOW, False)]


def test_duplicates_and_conflicts_within_one_batch_s11(database_url: str) -> None:
    event = {"user_id": "a", "metric": "runs", "key": "k", "value": 2}
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        applied = put_events(engine, [event, event, event | {"value": 3}])
        totals = read_states(engine)["a"].totals
    assert applied.outcomes == {
        Outcome.APPLIED: 1,
        Outcome.DUPLICATE: 1,
        Outcome.CONFLICT: 1,
        Outcome.REJECTED: 0,
    }
    assert totals == {"runs": Total(Decimal(2), 1, NOW)}


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"metric": None}, "invalid", "metric: is missing"),
        ({"key": None}, "invalid", "key: is missing; a client gives every event one"),
        ({"value": "much"}, "invalid", "value: 'much' is not a number such as 1 or '2.5'"),
        ({"valeu": 2}, "invalid", "event: unknown field 'valeu'; did you mean 'value'?"),
        (
            {"metric": "run"},
            "unknown-metric",
            "the program declares no metric 'run'; did you mean 'runs'?",
        ),
        ({"value": -1}, "negative", "-1 is negative, and runs does not allow_negative"),
        (
            {"metric": "pages", "value": "10.5"},
            "too-large",
            "10.5 is over the max_value of pages, 10",
        ),
        (
            {"value": "900719925474.0992"},
            "out-of-range",
            "the total of runs, or points for it, would leave the exact range; "
            "the total may reach 225179981368.5248 either way",
        ),
        (
            {"occurred_at": "2026-11-23T09:05:01Z"},
            "ahead",
            "occurred_at: 2026-11-23T09:05:01Z is more than 5 minutes ahead of "
            "2026-11-23T09:00:00Z; check the clock that made it",
        ),
        (
            {"occurred_at": "2026-10-24T08:59:59Z"},
            "too-old",
            "occurred_at 2026-10-24T08:59:59Z is older than max_event_age, 30 days; "
            "import such events instead",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_each_refusal_says_what_is_wrong_and_the_good_beside_it_applies_s13_s15_s17(
    database_url: str, change: dict[str, object], reason: str, detail: str
) -> None:
    good = {"user_id": "a", "metric": "runs", "key": "good"}
    bad = {"user_id": "a", "metric": "runs", "key": "bad"} | change
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        applied = put_events(engine, [good, bad, good | {"key": "good 2"}], imported=False)
        rejected = read_table(engine, tables.rejected_events)
    assert (applied.outcomes[Outcome.APPLIED], applied.outcomes[Outcome.REJECTED]) == (2, 1)
    assert [(row["reason"], row["detail"]) for row in rejected] == [(reason, detail)]
    assert [row["user_id"] for row in rejected] == ["a"]


@pytest.mark.parametrize(
    "occurred_at", ["2026-11-23T09:05:00Z", "2026-10-24T09:00:00Z"], ids=["ahead", "old"]
)
def test_an_event_on_the_edge_of_the_times_allowed_applies_s13(
    database_url: str, occurred_at: str
) -> None:
    event = {"user_id": "a", "metric": "runs", "key": "k", "occurred_at": occurred_at}
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        applied = put_events(engine, [event], imported=False)
    assert applied.outcomes[Outcome.APPLIED] == 1


def test_the_same_message_twice_adds_nothing_to_the_events_set_aside(database_url: str) -> None:
    event = {"user_id": "a", "metric": "runs", "key": "k"}
    message = [event, event | {"value": 2}, event | {"metric": "none"}, {"user_id": "a"}]
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_events(engine, message)
        first, state = read_table(engine, tables.rejected_events), dump_state(engine)
        put_events(engine, message, now=NOW + timedelta(hours=1))
        assert (read_table(engine, tables.rejected_events), dump_state(engine)) == (first, state)
    assert sorted(row["reason"] for row in first) == ["conflict", "invalid", "unknown-metric"]


def test_overlapping_batches_side_by_side_neither_deadlock_nor_count_double_s12(
    database_url: str,
) -> None:
    """Both threads apply a batch at once, with some events in common and some of their own.

    Half of the users are new to the first batch of each range, none to the second; one thread goes
    through the users forwards, the other backwards.
    """
    ranges = [(first, turn) for first in range(0, 200, 10) for turn in ("1", "2")]
    together = Barrier(2, timeout=60)

    def put_all(engine: Engine, own: str, step: int) -> int:
        applied = 0
        for first, turn in ranges:
            events = [
                {"user_id": f"u{user}", "metric": "runs", "key": f"{first} {turn} {key}"}
                for user in range(first, first + 20)[::step]
                for key in ("common", own)
            ]
            together.wait()
            applied += put_events(engine, events).outcomes[Outcome.APPLIED]
        return applied

    with opened(database_url) as engine, ThreadPoolExecutor(max_workers=2) as threads:
        put_program(engine, PROGRAM)
        found = [threads.submit(put_all, engine, own, step) for own, step in (("a", 1), ("b", -1))]
        assert sum(future.result() for future in found) == 3 * 20 * len(ranges)
        states = read_states(engine)
        standings = read_standings(engine, read_leaderboard(engine, "runs"))
    batches = Counter(f"u{user}" for first, _ in ranges for user in range(first, first + 20))
    expected = {user: 3 * count for user, count in batches.items()}
    assert {user: state.totals["runs"].value for user, state in states.items()} == expected
    today = {user: state.periods["daily"][NOW.date()]["runs"] for user, state in states.items()}
    assert {user: total.value for user, total in today.items()} == expected
    assert {user: total.events for user, total in today.items()} == expected
    assert {standing.user_id: standing.score for standing in standings} == expected


def test_users_whom_another_batch_holds_are_left_and_all_others_apply_s12(
    database_url: str,
) -> None:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        run = {"metric": "runs", "key": "first"}
        put_events(engine, [run | {"user_id": user_id} for user_id in ("held", "free")])
        second = [run | {"user_id": user_id, "key": "k"} for user_id in ("held", "free", "new")]
        items = decode(Received(kind=Kind.EVENT, raw=raw, received_at=NOW) for raw in [*second, {}])
        rulebooks = Rulebooks()
        with engine.begin() as other:
            stamp = rulebooks.current(other).stamp
            assert user_statements.lock_users(other, ["held"], stamp).states
            applied, left = apply_free(engine, rulebooks, items, NOW)
            assert left == [items[0], items[2]]
            assert applied.outcomes[Outcome.APPLIED] == 1
            assert applied.outcomes[Outcome.REJECTED] == 1
        applied, rest = apply_free(engine, rulebooks, left, NOW)
        assert (applied.outcomes[Outcome.APPLIED], rest) == (2, [])
        again = apply_all(engine, rulebooks, items, NOW)
        assert again.outcomes[Outcome.DUPLICATE] == 3


@pytest.mark.parametrize("commit", [1, 2, 3], ids=["known users", "adding new users", "new users"])
def test_an_error_before_a_commit_leaves_nothing_of_it_and_the_next_try_applies(
    database_url: str, commit: int
) -> None:
    """What users known before and what new ones did are transactions of their own."""
    known = {"user_id": "a", "metric": "runs", "key": "first", "value": 3}
    message = [known | {"key": "k"}, known | {"user_id": "b", "key": "k"}, {"user_id": "a"}]
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        put_events(engine, [known])
        before = _all_rows(engine)
        with _failing_at_commit(engine, commit), pytest.raises(ConnectionAbortedError):
            put_events(engine, message)
        if commit == 1:
            assert _all_rows(engine) == before
        else:
            assert {row["user_id"] for row in read_table(engine, tables.events)} == {"a"}
            assert {row["user_id"] for row in read_table(engine, tables.point_entries)} == {"a"}
            assert [row["points"] for row in read_table(engine, tables.point_entries)] == ["xp"] * 2
        applied = put_events(engine, message)
        totals = {user: state.totals["runs"] for user, state in read_states(engine).items()}
        rejected = read_table(engine, tables.rejected_events)
        entries = read_table(engine, tables.point_entries)
    new = 2 if commit == 1 else 1
    assert (applied.outcomes[Outcome.APPLIED], applied.outcomes[Outcome.DUPLICATE]) == (
        new,
        2 - new,
    )
    assert totals == {"a": Total(Decimal(6), 2, NOW), "b": Total(Decimal(3), 1, NOW)}
    assert [(row["user_id"], row["amount"]) for row in entries] == [("a", 10), ("a", 10), ("b", 10)]
    assert len(rejected) == 1


@contextmanager
def _failing_at_commit(engine: Engine, number: int) -> Iterator[None]:
    """Let the connection be lost just before the commit of that number."""
    commits = 0

    def fail(connection: Connection) -> None:
        nonlocal commits
        commits += 1
        if commits == number:
            raise ConnectionAbortedError("lost just before the commit")

    sql_event.listen(engine, "commit", fail)
    yield
    sql_event.remove(engine, "commit", fail)


def test_the_number_of_statements_is_the_same_for_10_and_for_1000_events(
    database_url: str,
) -> None:
    """Of new users and of known ones, with duplicates, conflicts, late events and zones told."""
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        rulebooks = Rulebooks()
        put_events(engine, [], rulebooks=rulebooks)  # so that the rulebook is read before
        counted = {
            size: [_count_statements(engine, rulebooks, batch) for batch in _messages(size)]
            for size in (10, 1000)
        }
    assert counted[10] == counted[1000]


def _messages(size: int) -> list[list[dict[str, object]]]:
    """Return messages with as many events, each of a user of its own."""
    first: list[dict[str, object]] = [
        {
            "user_id": f"{size}-{number}",
            "metric": "runs",
            "key": "first",
            "value": 3,
            "occurred_at": "2026-11-20T08:00:00Z",
            "user": {"tz": "Asia/Tokyo", "name": "N"},
        }
        for number in range(size)
    ]
    late = [
        item | {"key": "late", "value": 2, "occurred_at": "2026-11-18T08:00:00Z"} for item in first
    ]
    return [first, late, [*first[::2], *(item | {"value": 9} for item in first[1::2])]]


@needs_language_app
def test_so_it_is_with_all_the_rules_of_the_language_app(
    database_url: str, second_database_url: str
) -> None:
    """With zones and attributes told in events, late events, duplicates, and every kind of row.

    Each size has a database of its own: only the first event of a run adds the run.
    """
    counted = []
    kinds = []
    for url, size in ((database_url, 10), (second_database_url, 1000)):
        with opened(url) as engine:
            put_program(engine, LANGUAGE_APP.read_text(), now=NOW - timedelta(days=60))
            rulebooks = Rulebooks()
            put_events(engine, [], rulebooks=rulebooks)
            counted.append(
                [_count_statements(engine, rulebooks, batch) for batch in _lessons(size)]
            )
            kinds.append({name for name, rows in _all_rows(engine).items() if rows})
    assert counted[0] == counted[1]
    assert kinds[0] == kinds[1]
    assert kinds[0] >= {"achievements", "notices", "point_entries", "run_scores", "streak_chains"}


def _lessons(size: int) -> Iterator[list[Raw]]:
    """Yield batches of so many events, ten for each user: a week, what is late, what is known."""
    users = [f"user-{number}" for number in range(size // 10)]
    start = datetime(2026, 10, 5, 12, tzinfo=UTC)
    pro = {"plan": "pro", "country": "JP"}
    week = [
        _lesson(user, start + timedelta(days=day))
        | {"user": {"tz": "Asia/Tokyo", "attributes": pro}}
        for day in range(10)
        for user in users
    ]
    yield week
    yield [  # the week after next: the chain has ended
        _lesson(user, start + timedelta(days=24, hours=hour), metric, hour + 1)
        for hour in range(5)
        for metric in ("minutes", "coins")
        for user in users
    ]
    yield [  # elsewhere from the middle of what is known on, and with another plan
        _lesson(user, start + timedelta(days=11, hours=hour), "best-score", hour)
        | {"user": {"tz": "America/New_York", "attributes": {"plan": "free", "country": "US"}}}
        for hour in range(10)
        for user in users
    ]
    yield [*week[: size // 2], *(item | {"value": 9} for item in week[size // 2 :])]


def _lesson(user_id: str, at: datetime, metric: str = "lessons", value: int = 1) -> Raw:
    return {
        "user_id": user_id,
        "metric": metric,
        "key": f"{at:%m-%dT%H:%M}",
        "value": value,
        "occurred_at": at.isoformat(),
        "attributes": {"language": "fr"},
    }


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(lambda: PROGRAM, id="few rules"),
        pytest.param(lambda: LANGUAGE_APP.read_text(), id="language app", marks=needs_language_app),
    ],
)
def test_two_that_apply_in_any_order_side_by_side_come_to_what_one_comes_to_s12_s14(
    program: Callable[[], str], database_url: str, second_database_url: str
) -> None:
    """Both apply everything, one of them backwards; most of what either applies is late.

    There are so many events of a user that a late one begins at a checkpoint.
    """
    chance = random.Random(20261123)
    users = [f"u{number}" for number in range(6)]
    metrics = [
        name for name in ("lessons", "minutes", "coins", "runs", "pages") if name in program()
    ]
    zones = [
        {"user_id": user, "tz": chance.choice(["Asia/Tokyo", "America/New_York"])} for user in users
    ]
    events: list[Raw] = [
        _lesson(
            chance.choice(users),
            NOW - timedelta(minutes=chance.randrange(40 * 24 * 60)),
            chance.choice(metrics),
            chance.randint(1, 9),
        )
        | {"key": str(number), "user": {"attributes": {"plan": chance.choice(["pro", "free"])}}}
        for number in range(900)
    ]
    arriving: list[Sequence[Raw]] = list(batches(events, 45))
    in_time = sorted(events, key=_occurred_at)
    together = Barrier(2, timeout=60)
    with (
        opened(database_url) as one,
        opened(second_database_url) as two,
        ThreadPoolExecutor(max_workers=2) as threads,
    ):

        def put_all(in_order: Sequence[Sequence[Raw]]) -> int:
            applied = 0
            for batch in in_order:
                together.wait()
                applied += put_events(two, batch).outcomes[Outcome.APPLIED]
            return applied

        for engine in (one, two):
            put_program(engine, program(), now=NOW - timedelta(days=60))
            put_users(engine, zones, now=NOW - timedelta(days=50))
        put_events(one, in_time)
        running = [threads.submit(put_all, order) for order in (arriving, arriving[::-1])]
        assert sum(future.result() for future in running) == len(events)
        assert read_table(two, tables.checkpoints)
        must_equal(dump_state(two), dump_state(one))


def _occurred_at(event: Raw) -> str:
    return str(event["occurred_at"])


def _count_statements(engine: Engine, rulebooks: Rulebooks, batch: Sequence[Raw]) -> int:
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    sql_event.listen(engine, "before_cursor_execute", count)
    put_events(engine, batch, rulebooks=rulebooks)
    sql_event.remove(engine, "before_cursor_execute", count)
    return statements


def _all_rows(engine: Engine) -> dict[str, list[dict[str, object]]]:
    return {table.name: read_table(engine, table) for table in tables.metadata.sorted_tables}


@pytest.mark.parametrize(("every", "points"), [("1", "2"), ("0.0001", "1000")])
def test_points_beyond_the_exact_range_are_refused_and_no_board_is_stuck_s44(
    every: str, points: str, database_url: str, valkey_url: str, namespace: str
) -> None:
    program = (
        PROGRAM.replace("every = 2.5", f"every = {every}").replace(
            "points = 10", f"points = {points}"
        )
        + '[leaderboards.xp]\nperiod = "all"\nrank_by = { points = "xp" }\n'
    )
    large = {"user_id": "a", "metric": "runs", "key": "large", "value": 900_719_925_474}
    with opened(database_url) as engine, opened_rankings(valkey_url, namespace) as rankings:
        put_program(engine, program)
        applied = put_events(engine, [large, {"user_id": "b", "metric": "runs", "key": "small"}])
        project_rankings(engine, rankings, Rulebooks())
        rejected = read_table(engine, tables.rejected_events)
        with engine.connect() as connection:
            assert count_touches(connection) == 0
    assert (applied.outcomes[Outcome.APPLIED], applied.outcomes[Outcome.REJECTED]) == (1, 1)
    assert [row["reason"] for row in rejected] == ["out-of-range"]
