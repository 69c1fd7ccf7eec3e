"""One user with very many events: what an event costs does not follow how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, event, text
from sqlalchemy.exc import OperationalError

from models import tables
from models.database import IDLE_IN_TRANSACTION_MILLISECONDS_MAX
from models.rulebooks import Rulebooks
from models.statements.events import Outcome
from models.statements.ledger import MILLISECONDS_PER_EVENT
from tests.applying import NOW, batches, must_verify, opened, put_events, put_program
from tests.stack import PROGRAM
from worker.outages import is_outage

BEGAN = NOW - timedelta(days=30)
STEP = timedelta(minutes=1)
FACTS_PER_CHECKPOINT = 100
IDLE_LIMIT = """
select setting from pg_settings where name = 'idle_in_transaction_session_timeout'
"""
ROWS_READ = """
select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables
"""
FLUSH = "select pg_stat_force_next_flush()"
"""Without it a connection hands its counts in once a second, and those of before count as well."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        yield engine


def lesson(number: int, *, key: str | None = None, later: timedelta = timedelta()) -> Any:
    return {
        "user_id": "busy",
        "metric": "lessons",
        "key": key or str(number),
        "occurred_at": (BEGAN + number * STEP + later).isoformat(),
    }


def fill(engine: Engine, first: int, count: int) -> None:
    rulebooks = Rulebooks()
    for batch in batches([lesson(first + number) for number in range(count)], 1_000):
        put_events(engine, batch, rulebooks=rulebooks)


def put_others(engine: Engine) -> None:
    """Copy what the user has to others: whole tables are then not what is the user's."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in (tables.events, tables.point_entries, tables.checkpoints):
            columns = ", ".join(one.name for one in table.columns if one.name != "user_id")
            connection.execute(
                text(
                    f"insert into {table.name} (user_id, {columns})"
                    f" select 'other-' || n, {columns} from {table.name}, generate_series(1, 100) n"
                    " where user_id = 'busy'"
                )
            )
        connection.execute(text("vacuum analyze"))


def rows_read(engine: Engine, *raw: Any) -> tuple[int, int]:
    """Apply events; return how many statements that took and how many rows they read."""
    statements = read = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    def look(connection: Any) -> None:
        nonlocal read
        found: Row[Any] = connection.exec_driver_sql(ROWS_READ).one()
        read += int(found[0] or 0)
        connection.exec_driver_sql(FLUSH)

    with engine.begin() as connection:
        connection.exec_driver_sql(FLUSH)
    event.listen(engine, "commit", look)
    event.listen(engine, "before_cursor_execute", count)
    try:
        put_events(engine, raw, rulebooks=Rulebooks())
    finally:
        event.remove(engine, "commit", look)
        event.remove(engine, "before_cursor_execute", count)
    return statements, read


@pytest.mark.parametrize("late_by", [0, 250])
def test_an_event_reads_as_much_of_a_user_of_500_events_as_of_one_of_5000(
    engine: Engine, late_by: int
) -> None:
    cost = {}
    have = 0
    for size in (500, 5_000):
        fill(engine, have, size - have)
        if not have:
            put_others(engine)
        have = size
        at = lesson(size - late_by - 1, key=f"one of {size}", later=STEP / 2)
        cost[size] = rows_read(engine, at)
    (few_statements, few_rows), (many_statements, many_rows) = cost.values()
    assert many_statements <= few_statements
    # what comes after the late one, what it has decided, and up to a checkpoint before it
    assert many_rows <= few_rows + 2 * FACTS_PER_CHECKPOINT
    must_verify(engine)


def test_a_thousand_events_of_one_user_at_once_with_late_ones_and_repeats(engine: Engine) -> None:
    fill(engine, 0, 1_000)
    late = [lesson(number, key=f"late {number}", later=STEP / 2) for number in range(0, 1_000, 10)]
    again = [lesson(number) for number in range(0, 1_000, 5)]
    new = [lesson(number) for number in range(1_000, 1_700)]
    one, _ = rows_read(engine, lesson(1, key="first", later=STEP / 3))
    statements, _ = rows_read(engine, *again, *new, *late)
    assert statements <= one + 2  # that of a later checkpoint, and what a batch of one has not
    assert must_verify(engine).users_checked == 1
    outcomes = put_events(engine, [*late, *again, *new]).outcomes
    assert outcomes[Outcome.DUPLICATE] == 1_000


def test_folding_a_great_many_events_is_given_the_time_that_it_takes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres ends a transaction that asks nothing for a minute: a million events take longer."""
    monkeypatch.setattr("models.statements.ledger.EVENTS_QUICK", 1_000)
    fill(engine, 0, 1_500)
    limits: list[int] = []

    def look(connection: Any) -> None:
        limits.append(int(connection.exec_driver_sql(IDLE_LIMIT).scalar_one()))

    event.listen(engine, "commit", look)
    put_events(engine, [lesson(1_400, key="late", later=STEP / 2)])
    put_events(engine, [lesson(0, key="very late", later=STEP / 2)])
    put_events(engine, [lesson(1_500)])
    usual = IDLE_IN_TRANSACTION_MILLISECONDS_MAX
    assert limits == [usual, usual + 1_502 * MILLISECONDS_PER_EVENT, usual]


def test_a_batch_that_waits_for_a_user_who_is_folded_for_long_is_not_given_up(
    engine: Engine,
) -> None:
    fill(engine, 0, 1)
    with engine.begin() as folding:
        folding.execute(text("select from users for update"))
        with opened(engine.url.render_as_string(hide_password=False)) as other:

            def hurry(connection: Any, _: Any) -> None:
                connection.execute("set lock_timeout = 10")
                connection.commit()

            event.listen(other, "connect", hurry)
            with pytest.raises(OperationalError, match="lock timeout") as waited:
                put_events(other, [lesson(2)])
    assert is_outage(waited.value)
