"""The answers of a report as the page reads them: from JSON, by name, with rows by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question of `models.warehouse.queries` and the rows that answer it."""

    name: str
    title: str
    definition: str
    columns: tuple[str, ...]
    rows: list[Row]


def read_answers(report: Mapping[str, Any]) -> dict[str, Answer]:
    """Return the answers of a report (`jobs.gather_report`), in its order."""
    return {
        one["name"]: Answer(
            name=one["name"],
            title=one["title"],
            definition=one["definition"],
            columns=tuple(one["columns"]),
            rows=[dict(zip(one["columns"], row, strict=True)) for row in one["rows"]],
        )
        for one in report["questions"]
    }


def pooled(rows: list[Row], cohorts_min: int = 1) -> dict[int, float]:
    """Return, for each number of weeks later, the share that came back of all cohorts together.

    Only for as many weeks as at least `cohorts_min` cohorts are old.
    """
    by_weeks: dict[int, list[Row]] = {}
    for row in rows:
        by_weeks.setdefault(row["weeks_after"], []).append(row)
    return {
        after: sum(row["active"] for row in some) / sum(row["users"] for row in some)
        for after, some in sorted(by_weeks.items())
        if len(some) >= cohorts_min
    }


def labelled(name: str) -> str:
    """Return a column's name for people.

    >>> labelled("weeks_after")
    'weeks after'
    """
    return name.replace("_", " ")
