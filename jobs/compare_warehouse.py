"""Compare the warehouse with Postgres: counts and sums by day, of all that was loaded (S61)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from models.statements import loads as statements
from models.statements.loads import SOURCES
from models.warehouse.engine import Warehouse
from models.warehouse.parity import COMPARED, Compared, Sums, sum_compared

SAMPLES_MAX = 20
"""Differences that are shown; all are counted."""


@dataclass(slots=True, kw_only=True)
class WarehouseCompared:
    """What was compared: days and groups, in which Postgres and the warehouse agree or differ.

    `unfinished` are sources of which a load was begun and not finished: these cannot be compared.
    `loaded` tells of each source up to which transaction, not included, it was compared.
    """

    compared: int = 0
    mismatches: int = 0
    unfinished: list[str] = field(default_factory=list)
    loaded: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)


def compare_warehouse(
    engine: Engine, warehouse: Warehouse, sources: Iterable[str] = SOURCES
) -> WarehouseCompared:
    """Compare sources, one after the other; nothing is loaded of one meanwhile.

    Raises WarehouseUnavailable.
    """
    found = WarehouseCompared()
    for source in sources:
        with engine.connect() as connection, connection.begin():
            loaded = statements.lock_loaded(connection, source)
            if loaded is None:
                found.unfinished.append(source)
                continue
            found.loaded[source] = loaded
            expected = statements.sum_loaded(connection, source, loaded)
            for compared in COMPARED[source]:
                _compare(
                    found, compared, _as(compared, expected), sum_compared(warehouse, compared)
                )
    return found


def _compare(found: WarehouseCompared, of: Compared, expected: Sums, there: Sums) -> None:
    for key in sorted(expected.keys() | there.keys()):
        found.compared += 1
        if expected.get(key) == there.get(key):
            continue
        found.mismatches += 1
        if len(found.samples) < SAMPLES_MAX:
            day, group = key
            found.samples.append(
                {
                    "table": of.table,
                    "day": day,
                    "group": group,
                    "postgres": _texts(expected.get(key)),
                    "warehouse": _texts(there.get(key)),
                }
            )


def _as(compared: Compared, sums: Sums) -> Sums:
    """Return sums by day and group as far as a table has them."""
    found: Sums = {}
    for (day, group), (count, amount) in sums.items():
        key = (day, group if compared.group else "")
        before = found.get(key, (0, Decimal()))
        found[key] = (before[0] + count, before[1] + (amount if compared.amount else 0))
    return found


def _texts(sums: tuple[int, Decimal] | None) -> str:
    return "nothing" if sums is None else f"{sums[0]} rows, {sums[1].normalize():f} in all"
