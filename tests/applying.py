"""Applying events in tests: short ways to call the jobs, and everything that follows as one value.

`dump_state` reads every table that is a function of the facts, without the instants at which
something reached us; two databases that were told the same facts must have equal dumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from sqlalchemy import Engine, Table, select

from jobs.apply_events import Applied, Kind, Received, apply_events
from jobs.apply_program import ProgramApplied, apply_program
from models import tables
from models.database import open_engine
from models.program import load_program
from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.rankings import Board, Standing, rank
from models.rules.scores import score_of
from models.rules.state import UserState
from models.statements import boards as board_statements
from models.statements import users as user_statements

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
Raw = Mapping[str, Any]
Dump = dict[str, list[tuple[Any, ...]]]

_STATE_TABLES = (
    tables.users,
    tables.user_zones,
    tables.user_fields,
    tables.events,
    tables.metric_days,
    tables.streak_chains,
    tables.point_entries,
)
_NOT_FACTS = {"first_seen_at", "received_at", "applied_at", "state"}


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
    with Redis.from_url(redis_url) as redis:
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


def put_users(engine: Engine, raw: Iterable[Raw], *, now: datetime = NOW) -> Applied:
    """Apply what is told about users, as one batch received at `now`."""
    received = [Received(kind=Kind.USER, raw=item, received_at=now) for item in raw]
    return apply_events(engine, Rulebooks(), received, now)


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Split into batches of one size, the last one with what is left."""
    return (items[start : start + size] for start in range(0, len(items), size))


def dump_state(engine: Engine) -> Dump:
    """Return all that follows from the facts, table by table, each in the order of its key."""
    rows = {table.name: _rows(engine, table) for table in _STATE_TABLES}
    return {**rows, "states": sorted(read_states(engine).items(), key=lambda item: item[0])}


def read_table(engine: Engine, table: Table) -> list[dict[str, Any]]:
    """Return a table's rows in the order of its key."""
    with engine.connect() as connection:
        rows = connection.execute(select(table).order_by(*table.primary_key)).mappings()
        return [dict(row) for row in rows]


def read_board(engine: Engine, leaderboard: str) -> Board:
    """Return the newest board of a leaderboard."""
    with engine.connect() as connection:
        found = [
            board
            for board in board_statements.read_boards(connection)
            if board.leaderboard == leaderboard
        ]
    return max(found, key=lambda board: board.since)


def read_states(engine: Engine) -> dict[str, UserState]:
    """Return everyone's state."""
    with engine.connect() as connection:
        return dict(user_statements.stream_states(connection))


def read_standings(engine: Engine, board: Board) -> list[Standing]:
    """Return a board in force as the states that Postgres holds rank it."""
    with engine.connect() as connection:
        rules = Rulebooks().current(connection).boards
    rule = next(rule for rule in rules if rule.board == board)
    scores = {user_id: score_of(rule, state) for user_id, state in read_states(engine).items()}
    return rank(scores, ascending=board.ascending)


def _rows(engine: Engine, table: Table) -> list[tuple[Any, ...]]:
    columns = [column for column in table.columns if column.name not in _NOT_FACTS]
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).order_by(*table.primary_key))
        return [_comparable(row) for row in rows]


def _comparable(row: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(v.items()) if isinstance(v, dict) else v for v in row)
