"""The questions of the report, each a named query with its definition (S62).

They read rollups, in which what was taken back has been subtracted, and sum them again by key: so
the answers are exact whether ClickHouse has merged its parts or not.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from models.warehouse.engine import Warehouse
from models.warehouse.queries.counts import ACHIEVEMENTS, METRICS, POINTS, TOTALS
from models.warehouse.queries.question import Question, Scope
from models.warehouse.queries.streaks import FREEZES, STREAK_LENGTHS
from models.warehouse.queries.users import (
    ACTIVE_USERS,
    CONTROL_DAYS,
    CONTROL_RETENTION,
    RETENTION,
)

QUESTIONS = (
    TOTALS,
    ACTIVE_USERS,
    RETENTION,
    STREAK_LENGTHS,
    FREEZES,
    POINTS,
    ACHIEVEMENTS,
    METRICS,
    CONTROL_DAYS,
    CONTROL_RETENTION,
)
_OF_CONTROL_GROUP = (CONTROL_DAYS, CONTROL_RETENTION)
_LAST_DAY = "select max(local_date) as last_day, count() as days from active_users"

__all__ = ["QUESTIONS", "Question", "Scope", "ask", "questions", "read_last_day"]


def questions(scope: Scope) -> list[Question]:
    """Return what there is to be asked: about the control group only where there is one."""
    return [
        question
        for question in QUESTIONS
        if scope.control_percent is not None or question not in _OF_CONTROL_GROUP
    ]


def ask(warehouse: Warehouse, question: Question, scope: Scope) -> list[dict[str, Any]]:
    """Return the rows of an answer. Raises WarehouseUnavailable."""
    return warehouse.ask(question.query, **scope.parameters)


def read_last_day(warehouse: Warehouse) -> date | None:
    """Return the last local date with events; None where nothing was loaded."""
    [found] = warehouse.ask(_LAST_DAY)
    return found["last_day"] if found["days"] else None
