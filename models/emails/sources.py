"""Pieces of a template's source that HTML and plain text have in common.

What an author wrote has been checked alone (`expressions`) before it is put between these pieces:
it begins and ends in itself, and cannot reach into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.emails.blocks import Progress, RandomOne, Rows

STATES = ("active", "frozen", "missed", "open")
SIGNS = {"active": "✓", "frozen": "❄\ufe0e", "missed": "✗", "open": "○"}
"""What stands for the states of a period, with colours off as well."""
ITEM = "item"
"""What an item of a list is called in the texts of a line."""
DRAW = "draw"
"""The function of the compiled template that draws a number."""


@dataclass(slots=True)
class Draws:
    """Numbers the places of a template at which something is drawn, each once."""

    _count: int = field(default=0)

    def conditions(self, choices: int) -> list[str]:
        """Return the conditions of which exactly one holds, for so many choices."""
        point, self._count = self._count, self._count + 1
        return [f"{DRAW}({point}, {choices}) == {number}" for number in range(choices)]


def when(condition: str | None, inner: str) -> str:
    """Return what is there only where a condition holds."""
    return inner if condition is None else f"{{% if ({condition}) %}}{inner}{{% endif %}}"


def one_of(sources: Sequence[str], draws: Draws) -> str:
    """Return a source that is one of several, drawn."""
    if len(sources) == 1:
        return sources[0]
    conditions = draws.conditions(len(sources))
    return "".join(when(one, source) for one, source in zip(conditions, sources, strict=True))


def each_item(rows: Rows, inner: str) -> str:
    """Return what is repeated for the items of a list."""
    return f"{{% for {ITEM} in ({rows.each}) %}}{inner}{{% endfor %}}"


def filled(progress: Progress) -> str:
    """Return the expression that says how much of a bar is filled, as a whole number of 100."""
    return f"(({progress.value})|bar)"


def draw_conditions(block: RandomOne, draws: Draws) -> list[str]:
    """Return the conditions of the blocks of which one is drawn."""
    return draws.conditions(len(block.of))
