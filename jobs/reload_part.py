"""Compare a part of the warehouse with Postgres row by row, and make it anew where it differs.

It is read under the lock of whoever loads that table: rows that are not loaded yet are neither
missed nor brought in twice, and come with their own load. Nothing of the table is loaded meanwhile,
and no event leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from uuid import uuid4

from sqlalchemy import Connection, Engine

from models.statements import loads as statements
from models.statements.openings import lock_closing, read_last_closed
from models.warehouse.engine import Warehouse, WarehouseFailed, WarehouseUnavailable
from models.warehouse.reloading import (
    Difference,
    Part,
    clear_fresh,
    compare_part,
    put_fresh,
    renew_part,
)
from models.warehouse.schema import BY_NAME


@dataclass(slots=True, kw_only=True)
class Reloaded:
    """How a part differed; or the last of its days of which events have left Postgres."""

    closed: date | None = None
    differences: list[Difference] = field(default_factory=list)


def reload_part(engine: Engine, warehouse: Warehouse, part: Part, *, renews: bool) -> Reloaded:
    """Return how a part differs; with `renews` it does not any more.

    A part of which the warehouse alone has events is left as it is. Raises WarehouseUnavailable,
    also where a load of the table was begun and not finished yet.
    """
    with engine.connect() as connection, connection.begin():
        if part.table == "events":
            lock_closing(connection)
            closed = read_last_closed(connection, part.first, part.last)
            if closed is not None:
                return Reloaded(closed=closed)
        loaded = statements.lock_loaded(connection, part.table)
        if loaded is None:
            raise WarehouseUnavailable(
                f"a load of {part.table} was begun and not finished; it is sent again in seconds"
            )
        _put_fresh(connection, warehouse, part, loaded)
        found = compare_part(warehouse, part)
        if found and renews:
            renew_part(warehouse, part, found)
            _must_agree(warehouse, part)
        clear_fresh(warehouse, part)
    return Reloaded(differences=found)


def _put_fresh(connection: Connection, warehouse: Warehouse, part: Part, loaded: int) -> None:
    from models.warehouse.batches import read_slices  # needs pyarrow, as loading does

    slices = read_slices(_copy(connection, part, loaded), BY_NAME[part.table])
    put_fresh(warehouse, part, slices, uuid4().hex)


def _copy(connection: Connection, part: Part, loaded: int) -> Iterator[bytes]:
    if part.is_month:
        # rollups of months are sets of users
        return statements.copy_users_of_days(connection, part.first, part.last, loaded)
    return statements.copy_days(connection, part.table, part.first, part.last, loaded)


def _must_agree(warehouse: Warehouse, part: Part) -> None:
    for one in compare_part(warehouse, part):
        raise WarehouseFailed(
            f"{one.table} of {one.day} was made anew and differs all the same: does something else "
            "write into the warehouse?"
        )
