"""A part of the warehouse that is held against what Postgres has, row by row, and made anew.

A part is a day of a table and of the rollups that have days, or a month of the rollups that have
months. What Postgres holds of it is brought into a table beside (`<table>_fresh`), and all the rest
is done by ClickHouse: rows are compared whole, and rollups with what their own view makes of the
fresh rows, so that what is told before a part is made anew is what then changes.

Made anew, the rows of a day are taken away and come again. Nobody else may load that table
meanwhile. Broken off in between, the day is empty, and whoever compares again finds it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from models.rules.calendar import ONE_DAY
from models.warehouse.engine import Warehouse
from models.warehouse.schema import BY_NAME, SUM, SUM_AMOUNT, TABLES, Rollup, WarehouseTable

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped] # has no types

INSERT_SETTINGS = {
    # the same rows may come a second time after they were taken away
    "insert_deduplicate": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 0,
    "max_partitions_per_insert_block": 0,
    # on a cluster: an insert is done when every shard has it
    "distributed_foreground_insert": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The day `first` of a table and its rollups; or its rollups of the month of some days."""

    table: str
    first: date
    last: date
    is_month: bool

    @property
    def begin(self) -> date:
        """The date by which its rows are known: the day, or the first of the month."""
        return self.first.replace(day=1) if self.is_month else self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How the warehouse differs from Postgres in a part of one table.

    `missing` rows are in Postgres alone, `surplus` ones in the warehouse alone or more than once,
    and of `different` ones the two tell other things. `samples` name a row of each of these.
    """

    table: str
    day: date
    missing: int
    surplus: int
    different: int
    samples: dict[str, dict[str, Any]]


def put_fresh(warehouse: Warehouse, part: Part, slices: Iterable[pa.Table], attempt: str) -> None:
    """Bring in what Postgres has of a part, under tokens that no other attempt has."""
    fresh = _fresh(part)
    warehouse.truncate(fresh)
    for number, rows in enumerate(slices):
        warehouse.insert(fresh, rows, f"{attempt}:{number}")


def clear_fresh(warehouse: Warehouse, part: Part) -> None:
    """Let go of what was brought in."""
    warehouse.truncate(_fresh(part))


def compare_part(warehouse: Warehouse, part: Part) -> list[Difference]:
    """Return how the tables differ from what was brought in; nothing where they do not."""
    found = (_compare(warehouse, part, table) for table in _tables(part))
    return [difference for difference in found if difference is not None]


def renew_part(warehouse: Warehouse, part: Part, differences: Iterable[Difference]) -> None:
    """Make the tables that differ what they should be."""
    differing = {one.table for one in differences}
    # The table comes first: as its rows arrive, views add them to rollups that may have them.
    for table in _tables(part):
        is_right = (
            table.name not in differing
            if table.rollup is None
            else _compare(warehouse, part, table) is None
        )
        if is_right:
            continue
        columns = ", ".join(table.columns)
        rows = _fresh(part) if table.rollup is None else f"({_select(table.rollup, part)})"
        warehouse.delete(table.name, part.begin)
        warehouse.command(
            f"insert into {table.name} ({columns}) select {columns} from {rows}", INSERT_SETTINGS
        )


def _tables(part: Part) -> Iterator[WarehouseTable]:
    if not part.is_month:
        yield BY_NAME[part.table]
    for table in TABLES:
        rollup = table.rollup
        if rollup and rollup.source == part.table and rollup.is_monthly == part.is_month:
            yield table


def _compare(warehouse: Warehouse, part: Part, table: WarehouseTable) -> Difference | None:
    identity = ", ".join(_identity(table))
    differing = f"""
        select
            {identity}, sumIf(n, n > 0) as wanted, -sumIf(n, n < 0) as unwanted
        from (
            select {identity}, content, sum(signed) as n
            from (
                {_wanted(table, part)}
                union all
                select {identity}, content, -signed as signed from ({_there(table, part)})
            )
            group by {identity}, content
            having n != 0
        )
        group by {identity}"""
    [counts] = warehouse.ask(
        "select sum(least(wanted, unwanted)) as different, sum(wanted) - different as missing,"
        f" sum(unwanted) - different as surplus from ({differing})"
    )
    if not any(counts.values()):
        return None
    rows = warehouse.ask(
        f"select {identity}, multiIf(unwanted = 0, 'missing', wanted = 0, 'surplus', 'different')"
        f" as how_it_differs from ({differing}) order by {identity} limit 1 by how_it_differs"
    )
    samples = {row.pop("how_it_differs"): row for row in rows}
    return Difference(table=table.name, day=part.begin, samples=samples, **counts)


def _wanted(table: WarehouseTable, part: Part) -> str:
    """Return the query for the rows that should be there, each with 1 as `signed`."""
    if table.rollup is None:
        return _rows(table, _fresh(part))
    return _summed(table, f"({_select(table.rollup, part)})")


def _there(table: WarehouseTable, part: Part) -> str:
    """Return the query for the rows that are there."""
    there = f"(select * from {table.name} where {table.day} = '{part.begin}')"
    return _rows(table, there) if table.rollup is None else _summed(table, there)


def _rows(table: WarehouseTable, rows: str) -> str:
    """Return the query for rows, each with a hash of all that it says as `content`."""
    columns = ", ".join(name for name in table.columns if name != "sign")
    sign = "sign" if "sign" in table.columns else "1"
    return (
        f"select {', '.join(_identity(table))}, sipHash128({columns}) as content,"
        f" toInt64({sign}) as signed from {rows}"
    )


def _summed(table: WarehouseTable, rows: str) -> str:
    """Return the query for a rollup's rows added up, but for those that come to nothing."""
    identity = _identity(table)
    sums = dict(_sum(name, type_) for name, type_ in table.columns.items() if name not in identity)
    keys, is_something = ", ".join(identity), (f"{one} != {none}" for one, none in sums.items())
    return (
        f"select {keys}, sipHash128({', '.join(sums)}) as content, toInt64(1) as signed"
        f" from {rows} as added group by {keys} having {' or '.join(is_something)}"
    )


def _sum(name: str, type_: str) -> tuple[str, str]:
    """Return what rows of a rollup come to in a column, and what stands for nothing there.

    A set of users is told as a list of their numbers, which can be compared.
    """
    if type_ in (SUM, SUM_AMOUNT):
        plain = type_.removeprefix("SimpleAggregateFunction(sum, ").removesuffix(")")
        return f"cast(sum(added.{name}), '{plain}')", "0"
    return f"arraySort(bitmapToArray(groupBitmapMergeState(added.{name})))", "[]"


def _select(rollup: Rollup, part: Part) -> str:
    """Return the query by which a view would fill its rollup from the rows that should be there."""
    source = _fresh(part)
    if rollup.is_monthly:
        table, columns = BY_NAME[part.table], ", ".join(BY_NAME[part.table].columns)
        source = (
            f"(select {columns} from {source} union all select {columns} from {table.name}"
            f" where {table.day} between '{part.begin}' and '{_last_of_month(part.begin)}'"
            f" and {table.day} not between '{part.first}' and '{part.last}')"
        )
    return f"select {rollup.select.format(source=source)}"


def _identity(table: WarehouseTable) -> tuple[str, ...]:
    """Return the columns that make a row this one; of a rollup those that are not added up."""
    if table.rollup is None:
        return table.identity
    return tuple(name for name, type_ in table.columns.items() if "AggregateFunction" not in type_)


def _fresh(part: Part) -> str:
    return f"{part.table}_fresh"


def _last_of_month(first: date) -> date:
    return (first + 31 * ONE_DAY).replace(day=1) - ONE_DAY
