"""Gather the report: every question of `models.warehouse.queries`, answered."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from models.warehouse import queries
from models.warehouse.engine import Warehouse
from models.warehouse.queries import Period


def gather_report(
    warehouse: Warehouse, *, until: date | None, control_percent: Decimal | None
) -> dict[str, Any]:
    """Return `{"until", "questions": [{"name", "title", "definition", "rows": [...]}]}`.

    Without `until`, up to the last day with events; with nothing loaded `until` is None and there
    are no questions. Raises WarehouseUnavailable.
    """
    last = until or queries.read_last_day(warehouse)
    if last is None:
        return {"until": None, "questions": []}
    period = Period(until=last, control_percent=control_percent)
    return {
        "until": last,
        "questions": [
            {
                "name": question.name,
                "title": question.title,
                "definition": question.definition,
                "rows": queries.ask(warehouse, question, period),
            }
            for question in queries.questions(period)
        ],
    }
