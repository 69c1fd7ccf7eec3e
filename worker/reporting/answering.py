"""The question `report` as it travels to the process that has the warehouse: its words as texts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from jobs.gather_report import gather_report
from models.warehouse.engine import Warehouse


def answer_report(
    warehouse: Warehouse,
    *,
    until: str | None,
    control_percent: str | None,
    week_starts_on: int,
) -> dict[str, Any]:
    """Gather the report up to a date, with so many percent in the control group.

    Raises WarehouseUnavailable.
    """
    return gather_report(
        warehouse,
        until=None if until is None else date.fromisoformat(until),
        control_percent=None if control_percent is None else Decimal(control_percent),
        week_starts_on=week_starts_on,
    )
