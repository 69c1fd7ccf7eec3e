"""What all tables of a program file have in common, and the walk through them.

A table knows its keys and their types (pydantic), what is wrong with it beyond that (`faults`), and
which other things it names (`references`). Whoever checks or lists a program walks its tables and
need not know them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.program.values import Attributes, Text

Loc = tuple[str | int, ...]
"""The path of a value in the file: keys, and positions in lists from 0."""
Fault = tuple[str, str]
"""A key of the table, and what is wrong with its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The value of `key` names a thing that must exist.

    `section` is where its name is declared: `metrics`, `streaks`, …, or `points.xp.levels`.
    """

    key: str
    section: str
    name: str


class Table(BaseModel):
    """One table of the file. Frozen; a key that it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong beyond the type of each key."""
        yield from ()

    def references(self) -> Iterator[Reference]:
        """Yield the other things that this table names."""
        yield from ()


class UserWhere(Table):
    """Holds for users whose attributes all have these values; empty, for everyone."""

    user: Attributes = Field(default_factory=dict)


class Where(UserWhere):
    """Holds where the attributes of the event and of its user all have these values (S34)."""

    event: Attributes = Field(default_factory=dict)


def _in_order(values: Iterable[Any]) -> tuple[Any, ...]:
    """Put a list whose order means nothing into one order; doubles are one."""
    return tuple(sorted(set(values)))


OrderFree = AfterValidator(_in_order)
"""Marks a list whose order means nothing: two orders of it are the same program."""
Texts = Annotated[tuple[Text, ...], OrderFree]


def place_text(loc: Loc) -> str:
    """Write a path as the errors show it.

    >>> place_text(("points", "xp", "levels", 1, "at"))
    'points.xp.levels[1].at'
    """
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def walk(table: Table, loc: Loc = ()) -> Iterator[tuple[Loc, Table]]:
    """Yield a table and all tables in it, each with its path in the file."""
    yield loc, table
    for name, field in type(table).model_fields.items():
        yield from _walk_value(getattr(table, name), (*loc, field.alias or name))
    for name, value in (table.model_extra or {}).items():
        yield from _walk_value(value, (*loc, name))


def _walk_value(value: object, loc: Loc) -> Iterator[tuple[Loc, Table]]:
    if isinstance(value, Table):
        yield from walk(value, loc)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk_value(inner, (*loc, name))
    elif isinstance(value, tuple):
        for position, inner in enumerate(value):
            yield from _walk_value(inner, (*loc, position))
