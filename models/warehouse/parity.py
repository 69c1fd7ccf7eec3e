"""What is compared with Postgres: counts and sums by day and group, of tables and of rollups (S61).

A rollup is compared as well, because it is there that a row which came twice would be counted
twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from models.warehouse.engine import Warehouse
from models.warehouse.schema import BY_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A table that holds a source's rows, or sums of them; expressions of ClickHouse.

    Without `group` it is compared by day alone, without `amount` in its counts alone.
    """

    table: str
    count: str
    group: str | None = None
    amount: str | None = None


COMPARED: Mapping[str, tuple[Compared, ...]] = {
    "users": (Compared(table="users", count="count()", amount="sum(number)"),),
    "events": (
        Compared(table="events", group="metric", count="count()", amount="sum(value)"),
        Compared(
            table="metric_days",
            group="metric",
            count="sum(events)",
            amount="sum(value)",
        ),
        Compared(table="user_days", count="sum(events)"),
    ),
    "streak_chains": (
        Compared(
            table="streak_chains",
            group="streak",
            count="sum(sign)",
            amount="sum(toInt64(length) * sign)",
        ),
        Compared(
            table="chain_lengths",
            group="streak",
            count="sum(chains)",
            amount="sum(length * chains)",
        ),
    ),
    "point_entries": (
        Compared(
            table="point_entries",
            group="points",
            count="sum(sign)",
            amount="sum(amount * sign)",
        ),
        Compared(
            table="point_days",
            group="points",
            count="sum(entries)",
            amount="sum(amount)",
        ),
    ),
    "achievements": (
        Compared(table="achievements", group="key", count="sum(sign)"),
        Compared(table="achievement_days", group="key", count="sum(completed)"),
    ),
    "notices": (
        Compared(table="notices", group="kind", count="sum(sign)"),
        Compared(table="notice_days", group="kind", count="sum(notices)"),
    ),
    "final_standings": (
        Compared(
            table="final_standings",
            group="leaderboard",
            count="sum(sign)",
            amount="sum(score * sign)",
        ),
    ),
    "emails": (
        Compared(
            table="emails",
            group="state",
            count="sum(sign)",
            amount="sum(attempts * sign)",
        ),
    ),
}
"""By the name of the source in Postgres."""

NOTHING = "''"
"""An empty text."""
Sums = dict[tuple[str, str], tuple[int, Decimal]]
"""Counts and sums by (day, group)."""


def sum_compared(warehouse: Warehouse, compared: Compared) -> Sums:
    """Return the counts and sums that a table holds, but for those that come to nothing."""
    group, amount = compared.group or NOTHING, compared.amount or "0"
    rows = warehouse.ask(
        f"select toString({BY_NAME[compared.table].day}) as of_day, {group} as of_group,"
        f" {compared.count} as of_count, toString({amount}) as of_amount"
        f" from {compared.table} group by of_day, of_group"
    )
    sums = {
        (row["of_day"], row["of_group"]): (int(row["of_count"]), Decimal(row["of_amount"]))
        for row in rows
    }
    return {key: found for key, found in sums.items() if any(found)}
