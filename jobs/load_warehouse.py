"""Load into the warehouse what Postgres holds: each row once, whatever dies in between.

A load is frozen and committed, sent with tokens of its own, and marked. Killed anywhere, it is the
same load that is sent again, slice by slice, and what is there already is dropped by its token.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine

from models.statements import loads as statements
from models.statements.loads import SOURCES, Load
from models.warehouse.engine import Warehouse, WarehouseTaken, WarehouseUnavailable
from models.warehouse.schema import BY_NAME


def load_warehouse(
    engine: Engine, warehouse: Warehouse, now: datetime
) -> Iterator[tuple[str, int]]:
    """Load what was written before the call; yield the source and the rows of each load.

    Between two loads the caller may stop. What another process is sending is left to it. Raises
    WarehouseUnavailable, after noting it with the load, and what SQLAlchemy raises.
    """
    # One horizon for all: with the latest each time there would always be a little more to load.
    with engine.connect() as connection:
        until = statements.read_horizon(connection)
    for source in SOURCES:
        while True:
            with engine.begin() as connection:
                load = statements.freeze(connection, source, until, now)
            if load is None:
                break
            rows = _send(engine, warehouse, load, now)
            if rows is None:
                break
            yield source, rows


def _send(engine: Engine, warehouse: Warehouse, load: Load, now: datetime) -> int | None:
    """Send a load and mark it; return its rows, or None where it is another's."""
    try:
        with engine.connect() as connection, connection.begin():
            if not statements.lock_source(connection, load.source):
                return None
            if not statements.is_waiting(connection, load):
                return None
            rows = _insert(warehouse, load, statements.copy_rows(connection, load))
            # Still locked: whoever has the lock finds a load that is marked, or sent in part.
            with engine.begin() as marking:
                statements.mark_loaded(marking, load, rows, now)
    except WarehouseTaken:
        return None
    except WarehouseUnavailable as error:
        with engine.begin() as connection:
            statements.mark_failed(connection, load, str(error))
        raise
    return rows


def _insert(warehouse: Warehouse, load: Load, chunks: Iterator[bytes]) -> int:
    from models.warehouse.batches import read_slices  # needs pyarrow, which nothing else does

    rows = 0
    for number, part in enumerate(read_slices(chunks, BY_NAME[load.source])):
        warehouse.insert(load.source, part, _token(load, number))
        rows += part.num_rows
    return rows


def _token(load: Load, number: int) -> str:
    """Return what tells an insert from every other one, and is the same when it is sent again.

    With the instant at which it was frozen: what is loaded anew is another load.

    >>> frozen_at = datetime(2026, 11, 23, 9)
    >>> _token(Load(source="events", from_txid=7, to_txid=9, frozen_at=frozen_at), 0)
    'events:7-9:2026-11-23T09:00:00:0'
    """
    return f"{load.source}:{load.from_txid}-{load.to_txid}:{load.frozen_at.isoformat()}:{number}"
