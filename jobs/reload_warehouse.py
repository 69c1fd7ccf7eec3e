"""Load everything anew, into tables that are emptied first: the warehouse was lost, or is wrong."""

from __future__ import annotations

from sqlalchemy import Engine

from models.statements import loads as statements
from models.statements.loads import SOURCES
from models.statements.openings import count_closed, lock_closing
from models.warehouse.engine import Warehouse


def reload_warehouse(engine: Engine, warehouse: Warehouse) -> int:
    """Empty what is loaded from Postgres, and let the next ticks load all of it.

    Where events have left Postgres, the warehouse has them alone: then `events` and its rollups
    stay as they are. Returns how many have. Broken off, it is to be called again. Raises
    WarehouseUnavailable.
    """
    with engine.begin() as connection:
        lock_closing(connection)
        left = count_closed(connection)
        sources = [source for source in SOURCES if not left or source != "events"]
        statements.forget_loads(connection, sources)
        warehouse.empty(sources)
    return left
