"""See once a day where everyone stands, for the history of ranks: the live rankings, as they are.

A board is read whole under the lock of those who bring it up to date, so that nobody is on it twice
or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine

from models.rankings import Rankings
from models.rulebooks import Rulebooks
from models.rules.rankings import ALL, Board
from models.rules.rulebook import Rules
from models.statements import boards as statements
from models.warehouse import snapshots
from models.warehouse.engine import Warehouse

STANDINGS_AT_ONCE = 20_000


def snapshot_ranks(
    engine: Engine, rulebooks: Rulebooks, rankings: Rankings, warehouse: Warehouse, now: datetime
) -> int:
    """See the UTC day that ended last, unless it was; return how many standings that were.

    A day on which nobody called is missed. Raises NoProgram, WarehouseUnavailable, and what
    SQLAlchemy and redis-py raise.
    """
    day = now.astimezone(UTC).date() - timedelta(days=1)
    last = snapshots.read_last_day(warehouse)
    if last is not None and last >= day:
        return 0
    seen = 0
    with engine.connect() as connection:
        boards = list(_boards(connection, rulebooks.current(connection), rankings))
    for board in boards:
        with engine.connect() as connection, connection.begin():
            statements.lock_projecting(connection)
            participants = rankings.count(board)
            for offset in range(0, participants, STANDINGS_AT_ONCE):
                part = rankings.page(board, offset=offset, limit=STANDINGS_AT_ONCE)
                snapshots.put_standings(warehouse, day, now, board, participants, part)
                seen += len(part)
    snapshots.finish(warehouse, day, now)
    return seen


def _boards(connection: Connection, rules: Rules, rankings: Rankings) -> Iterator[Board]:
    """Yield the boards that are in force and not final."""
    ascending = {(rule.name, rule.since): rule.ascending for rule in rules.latest.boards}
    final = {
        run.name
        for name, since in ascending
        for run in statements.list_runs(connection, name, since)
        if run.finalized_at is not None
    }
    for leaderboard, run, segment, since in rankings.list_boards():
        key = (leaderboard, since)
        if key in ascending and (run == ALL or (leaderboard, since, run) not in final):
            yield Board(leaderboard, run, segment, since, ascending[key])
