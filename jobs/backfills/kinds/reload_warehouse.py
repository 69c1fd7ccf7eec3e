"""Make days of the warehouse anew where they differ from what Postgres holds (S61).

Each part, a day of a table with its rollups, is compared row by row. How it differs is counted and
committed; then it is made anew, in a chunk of its own. So a dry run is the first half of the run,
and one that is killed between what the warehouse did and the commit finds nothing left to do, and
has counted it all the same. Who has the warehouse does both (`jobs.reload_part`): a question.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection

from jobs.backfills.changes import ADDED, CHANGED, REMOVED
from jobs.backfills.kind import Chunk, Context, Hopeless, NotPossible, Work, only
from models.rules.calendar import ONE_DAY
from models.statements.backfills import Backfill
from models.statements.loads import RELOAD_WAREHOUSE, SOURCES
from models.statements.openings import read_last_closed
from models.warehouse.schema import MONTHLY
from streakline.contract import nearest

DAYS_MAX = 366
"""Of more days all is sooner loaded anew than compared."""


class ReloadWarehouse:
    """`{"from": "2026-11-01", "to": "2026-11-03", "tables": [...]}`; without tables, all."""

    name = RELOAD_WAREHOUSE
    unit = "parts"
    rows_max = 1

    def read(self, context: Context, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check the days and the tables, and that Postgres has the events of those days."""
        only(parameters, "from", "to", "tables")
        first, last = _read_day(parameters, "from"), _read_day(parameters, "to")
        days = (last - first).days + 1
        if days < 1:
            raise NotPossible(f"{first} is after {last}: the first day comes first")
        if days > DAYS_MAX:
            raise NotPossible(
                f"{days} days are more than {DAYS_MAX}; reload fewer at a time, or everything: "
                "streakline warehouse reload"
            )
        tables = _read_tables(parameters.get("tables"))
        if "events" in tables:
            with context.engine.connect() as connection:
                closed = read_last_closed(connection, first, last)
            if closed is not None:
                raise NotPossible(_left(closed))
        return {"from": str(first), "to": str(last), "tables": tables}

    def count(self, _context: Context, parameters: Mapping[str, Any]) -> int:
        """Count the parts."""
        return len(_parts(parameters))

    def run(self, work: Work) -> Chunk:
        """Compare the next part; or make it anew, where that was found to differ."""
        place, renews = work.cursor.get("place", 0), work.cursor.get("renews", False)
        parts = _parts(work.parameters)
        found = work.context.ask_warehouse("reload-part", **parts[place], renews=renews)
        if found["closed"] is not None:
            raise Hopeless(_left(found["closed"]))
        if found["differences"] and not renews:
            for one in found["differences"]:
                _count(work, one)
            if not work.backfill.dry_run:
                return Chunk(rows=0, cursor={"place": place, "renews": True})
        is_end = place + 1 == len(parts)
        return Chunk(rows=1, cursor=None if is_end else {"place": place + 1})

    def forget(self, _connection: Connection, _backfill: Backfill) -> None:
        """It holds nothing."""


def _read_day(parameters: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(parameters[name])
    except KeyError:
        raise NotPossible(f"{name} is missing: a day, such as 2026-11-23") from None
    except (TypeError, ValueError):
        text = f"{name} must be a day, such as 2026-11-23, is {parameters[name]!r}"
        raise NotPossible(text) from None


def _read_tables(named: Collection[str] | None) -> list[str]:
    if named is None:
        return list(SOURCES)
    for name in sorted(named):
        if name not in SOURCES:
            raise NotPossible(
                f"there is no table {name!r} that is loaded{nearest(name, SOURCES)}; there are "
                f"{', '.join(SOURCES)}; rollups are reloaded with them"
            )
    return [name for name in SOURCES if name in named]


def _parts(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts in order: of each table the months of its rollups, then the days.

    What comes of a day reaches months through views: before it they differ as a dry run told.
    """
    first, last = date.fromisoformat(parameters["from"]), date.fromisoformat(parameters["to"])
    days = [first + number * ONE_DAY for number in range((last - first).days + 1)]
    parts = []
    for table in parameters["tables"]:
        if table in MONTHLY:
            months = sorted({day.replace(day=1) for day in days})
            parts += [
                _part(table, [day for day in days if day.replace(day=1) == month], is_month=True)
                for month in months
            ]
        parts += [_part(table, [day], is_month=False) for day in days]
    return parts


def _part(table: str, days: list[date], *, is_month: bool) -> dict[str, Any]:
    return {"table": table, "first": str(days[0]), "last": str(days[-1]), "is_month": is_month}


def _count(work: Work, difference: Mapping[str, Any]) -> None:
    """Count what is made anew: what is missing comes, what is too much goes."""
    name = f"{difference['table']} {difference['day']}"
    for of, how in (("missing", ADDED), ("surplus", REMOVED), ("different", CHANGED)):
        sample = difference["samples"].get(of)
        work.changes.add(name, how, difference[of], samples=[{how: sample}] if sample else [])


def _left(day: date | str) -> str:
    return (
        f"events of {day} and maybe before have left Postgres, and the warehouse has them alone: "
        "begin with a later day, or name the other tables (--table)"
    )
