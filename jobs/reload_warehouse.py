"""Load everything anew, into tables that are emptied first: the warehouse was lost, or is wrong."""

from __future__ import annotations

from sqlalchemy import Engine

from models.statements import loads as statements
from models.warehouse.engine import Warehouse


def reload_warehouse(engine: Engine, warehouse: Warehouse) -> None:
    """Empty what is loaded from Postgres, and let the next ticks load all of it.

    Broken off, it is to be called again. Raises WarehouseUnavailable.
    """
    with engine.begin() as connection:
        statements.forget_loads(connection)
        warehouse.empty()
