"""Rows are read on from the last one that was read, while transactions come to their ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, insert, text

from models.statements.notices import take_told
from models.tables import notices
from tests.applying import NOW, opened

OUTBOX = """
create table outbox (
    id bigint generated always as identity primary key,
    txid xid8 not null default pg_current_xact_id(),
    what text not null
)
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        with engine.begin() as connection:
            connection.execute(text(OUTBOX))
        yield engine


def put(connection: Connection, what: str) -> None:
    """Write a row into the outbox, and a notice."""
    connection.execute(text("insert into outbox (what) values (:what)"), {"what": what})
    told = {"cause": what, "at": NOW, "body": {}, "silent": False, "decided_at": NOW}
    connection.execute(insert(notices).values(user_id="ann", kind="level", **told))


def read_on(engine: Engine, last: int) -> tuple[int, list[str]]:
    """Read what comes after an id, the plain way; return the last id, and what was read."""
    query = text("select id, what from outbox where id > :last order by id")
    with engine.connect() as connection:
        rows = connection.execute(query, {"last": last}).all()
    return (rows[-1].id if rows else last), [row.what for row in rows]


def read_told(engine: Engine, limit: int = 100) -> list[str]:
    """Read on as ours does that plans emails."""
    with engine.begin() as connection:
        found = take_told(connection, limit)
    return [notice.cause for _, notice in found or ()]


def test_who_reads_on_from_the_last_id_misses_what_commits_late_and_here_nothing_is_missed(
    engine: Engine,
) -> None:
    with engine.connect() as slow:
        transaction = slow.begin()
        put(slow, "early")
        with engine.begin() as fast:
            put(fast, "late")
        last, read = read_on(engine, 0)
        told = read_told(engine)
        transaction.commit()
    assert read + read_on(engine, last)[1] == ["late"], "ids are in the order of commits by now"
    assert told == [], "what is read waits for a transaction that began earlier"
    assert sorted(read_told(engine)) == ["early", "late"]
    assert read_told(engine) == []


def test_ids_are_no_order_of_transactions_either(engine: Engine) -> None:
    with engine.connect() as earlier:
        transaction = earlier.begin()
        earlier.execute(text("select pg_current_xact_id()"))
        with engine.begin() as later:
            put(later, "later")
        put(earlier, "earlier")
        transaction.commit()
    with engine.connect() as connection:
        found = connection.execute(text("select what from outbox order by txid")).scalars()
        assert list(found) == ["earlier", "later"]
    assert read_on(engine, 0)[1] == ["later", "earlier"]
    assert [read_told(engine, 1) for _ in range(3)] == [["earlier"], ["later"], []]
