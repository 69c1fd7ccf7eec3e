"""Applying events in tests: short ways to call the jobs, and everything that follows as one value.

`dump_state` reads every table that is a function of the facts, without the instants at which
something reached us; two databases that were told the same facts must have equal dumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, Engine, Row, Select, Table, Text, cast, func, select, text
from sqlalchemy.dialects.postgresql import JSONB

from jobs.apply_events import Applied, Kind, Received, apply_events
from jobs.apply_program import ProgramApplied, apply_program
from jobs.show_leaderboard import find_leaderboard
from jobs.verify import Verified, verify_users
from models import tables
from models.database import open_engine
from models.program import load_program
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.effects import NoticeKind
from models.rules.rankings import ALL, Board, Standing, rank
from models.rules.rulebook import Rules
from models.rules.state import UserState
from models.scores import read_board
from models.statements import users as user_statements
from streakline.redis_connection import open_any_redis

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
Raw = Mapping[str, Any]
Dump = dict[str, list[tuple[Any, ...]]]

_STATE_TABLES = (
    tables.users,
    tables.user_facts,
    tables.user_fields,
    tables.events,
    tables.streak_chains,
    tables.point_entries,
    tables.achievements,
)
_NOT_FACTS = {
    "first_seen_at",
    "received_at",
    "applied_at",
    "recorded_at",
    "quiet_until",
    "closed_until",
    "mail_at",
    "state",
    "number",
    "txid",
}


@contextmanager
def opened(database_url: str, *, connections_max: int = 5) -> Iterator[Engine]:
    """Open an engine and dispose of it."""
    engine = open_engine(database_url, connections_max=connections_max)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def opened_rankings(redis_url: str, namespace: str) -> Iterator[Rankings]:
    """Open the rankings under a namespace of the test's own."""
    with closing(open_any_redis(redis_url)) as redis:
        yield Rankings(redis, namespace)


def put_program(engine: Engine, toml: str, now: datetime = NOW) -> ProgramApplied:
    """Put a program into force."""
    return apply_program(engine, load_program(toml, source="the test's program"), toml, now)


def put_events(
    engine: Engine,
    raw: Iterable[Raw | object],
    *,
    now: datetime = NOW,
    imported: bool = True,
    rulebooks: Rulebooks | None = None,
) -> Applied:
    """Apply events as they would stand on the wire, as one batch received at `now`."""
    received = [
        Received(kind=Kind.EVENT, raw=item, received_at=now, imported=imported) for item in raw
    ]
    return apply_events(engine, rulebooks or Rulebooks(), received, now)


def put_users(
    engine: Engine, raw: Iterable[Raw], *, now: datetime = NOW, imported: bool = True
) -> Applied:
    """Apply what is told about users, as one batch received at `now`."""
    received = [
        Received(kind=Kind.USER, raw=item, received_at=now, imported=imported) for item in raw
    ]
    return apply_events(engine, Rulebooks(), received, now)


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Split into batches of one size, the last one with what is left."""
    return (items[start : start + size] for start in range(0, len(items), size))


def dump_state(engine: Engine) -> Dump:
    """Return all that follows from the facts, table by table, each in the order of its key."""
    rows = {table.name: _rows(engine, table) for table in _STATE_TABLES}
    scores = [
        (run.leaderboard, run.since, run.run, *found) for run, found in read_run_scores(engine)
    ]
    notices = [
        (row["user_id"], row["kind"], row["cause"], row["at"], sorted(row["body"].items()))
        for row in read_table(engine, tables.notices)
        # It tells that the past was changed, which is a matter of the order of arrival.
        if row["kind"] != NoticeKind.CORRECTION.value
    ]
    states = sorted(read_states(engine).items(), key=lambda item: item[0])
    return {**rows, "run_scores": sorted(scores), "notices": notices, "states": states}


def digest_state(engine: Engine) -> dict[str, tuple[int, int]]:
    """Return of each table of `dump_state` how many rows it has and what their hashes add up to.

    Postgres reads them all, of which there may be millions, and says the same for equal dumps.
    """
    with engine.begin() as connection:
        connection.execute(text("set local statement_timeout = 0"))
        return {
            name: (rows, hashes)
            for name, query in _digests().items()
            for rows, hashes in connection.execute(query)
        }


def _digests() -> dict[str, Select[int, int]]:
    queries = {table.name: select(*_columns(table)) for table in _STATE_TABLES}
    notices, scores = tables.notices.c, tables.run_scores
    columns = [column for column in _columns(tables.notices) if column.name != "written_at"]
    queries["notices"] = select(*columns).where(notices.kind != NoticeKind.CORRECTION.value)
    run = (tables.runs.c.leaderboard, tables.runs.c.since, tables.runs.c.run)
    kept = (scores.c.user_id, scores.c.score, scores.c.reached_at)
    queries["run_scores"] = select(*run, *kept).join(
        scores, scores.c.run_id == tables.runs.c.run_id
    )
    state = cast(tables.users.c.state, JSONB)
    queries["states"] = select(tables.users.c.user_id, state.label("state"))
    return {name: _digest(query) for name, query in queries.items()}


def _digest(query: Select[*tuple[Any, ...]]) -> Select[int, int]:
    rows = query.subquery("rows")
    # by its fields: a row as a whole has the type of its table, and that no text
    hashed = func.hashtextextended(cast(func.row(*rows.c), Text), 0)
    return select(func.count(), func.coalesce(func.sum(hashed), 0)).select_from(rows)


def must_equal(found: Dump, expected: Dump) -> None:
    """Compare two dumps table by table, so that a difference is shown by its table."""
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert found[name] == rows, name


def must_verify(engine: Engine) -> Verified:
    """Fold everyone from nothing: what is stored must be the same; return how many those were."""
    verified = Verified()
    verify_users(engine, Rulebooks(), verified)
    assert verified.user_mismatches == 0, verified.samples
    assert verified.users_checked > 0
    return verified


def read_run_scores(engine: Engine) -> list[tuple[Row[Any], tuple[Any, ...]]]:
    """Return every score of a run that closes, with its run."""
    found = tables.run_scores
    query = select(tables.runs, found.c.user_id, found.c.score, found.c.reached_at).join(
        found, found.c.run_id == tables.runs.c.run_id
    )
    with engine.connect() as connection:
        return [
            (row, (row.user_id, row.score, row.reached_at)) for row in connection.execute(query)
        ]


def read_table(engine: Engine, table: Table) -> list[dict[str, Any]]:
    """Return a table's rows in the order of its key."""
    with engine.connect() as connection:
        rows = connection.execute(select(table).order_by(*table.primary_key)).mappings()
        return [dict(row) for row in rows]


def read_rules(engine: Engine) -> Rules:
    """Return the rules in force."""
    with engine.connect() as connection:
        return Rulebooks().current(connection)


def read_leaderboard(engine: Engine, name: str, run: str = ALL, segment: str = ALL) -> Board:
    """Return a board of the program in force."""
    return find_leaderboard(read_rules(engine), name).board(run, segment)


def read_states(engine: Engine) -> dict[str, UserState]:
    """Return everyone's state."""
    with engine.connect() as connection:
        stamp = Rulebooks().current(connection).stamp
        ids = user_statements.read_next_ids(connection, "", 1_000_000)
        users = user_statements.read_users(connection, ids, stamp)
    return {one: state for one, state in users.states.items() if one not in users.stale}


def read_standings(engine: Engine, board: Board) -> list[Standing]:
    """Return a board as what Postgres holds ranks it."""
    with engine.connect() as connection:
        rules = Rulebooks().current(connection)
        rule = find_leaderboard(rules, board.leaderboard)
        scores = dict(read_board(connection, rules, rule, board))
    return rank(scores, ascending=board.ascending)


def _rows(engine: Engine, table: Table) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(select(*_columns(table)).order_by(*table.primary_key))
        return [_comparable(row) for row in rows]


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if column.name not in _NOT_FACTS]


def _comparable(row: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(v.items()) if isinstance(v, dict) else v for v in row)
