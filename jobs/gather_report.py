"""Gather the report: every question of `models.warehouse.queries`, answered (S62)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from models.warehouse import queries
from models.warehouse.engine import Warehouse
from models.warehouse.queries import Question, Scope
from streakline.contract import decimal_text

SHARE_STEP = Decimal("0.0001")
"""Shares are rounded to a hundredth of a percent."""


def gather_report(
    warehouse: Warehouse,
    *,
    until: date | None = None,
    control_percent: Decimal | None = None,
    week_starts_on: int = 0,
) -> dict[str, Any]:
    """Return `{"until", "questions": [{"name", "title", "definition", "columns", "rows"}]}`.

    It is JSON: dates and decimals are texts, shares too (0 to 1, None where there is nothing to
    divide by). A row is a list in the order of the columns. Without `until`, up to the last local
    date with events; where nothing was loaded `until` is None and there are no questions.

    `week_starts_on` is 0 for Monday, as `date.weekday` has it. Raises WarehouseUnavailable.
    """
    last = until or queries.read_last_day(warehouse)
    if last is None:
        return {"until": None, "questions": []}
    scope = Scope(until=last, control_percent=control_percent, week_starts_on=week_starts_on)
    return {
        "until": last.isoformat(),
        "questions": [
            _answer(question, queries.ask(warehouse, question, scope))
            for question in queries.questions(scope)
        ],
    }


def _answer(question: Question, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": question.name,
        "title": question.title,
        "definition": question.definition,
        "columns": [*question.columns, *question.shares],
        "rows": [
            [
                *(_plain(row[column]) for column in question.columns),
                *(_share(row, part, whole) for part, whole in question.shares.values()),
            ]
            for row in rows
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return decimal_text(value)
    return value.isoformat() if isinstance(value, date) else value


def _share(row: Mapping[str, int], part: str, whole: str) -> str | None:
    if not row[whole]:
        return None
    return decimal_text((Decimal(row[part]) / row[whole]).quantize(SHARE_STEP))
