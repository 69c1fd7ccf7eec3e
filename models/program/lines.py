"""On which line of a TOML text each key stands: `tomllib` does not tell.

The text is cut into its statements (a table's header, or a key with its value), each is read alone,
and the keys found in it stand on its first line. A text that `tomllib` reads whole is cut rightly,
because no beginning of a statement of several lines is valid by itself.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from models.program.table import Loc

STATEMENT_LINES_MAX = 500
"""A longer one ends the search: what follows it is told without its line."""


class Lines:
    """Finds the line of a path in one text, which must be valid TOML."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Loc, int] = {}
        self._mentions: dict[Loc, int] = {}
        self._array_lengths: dict[Loc, int] = {}
        table: Loc = ()
        for line, statement in _statements(text):
            content = tomllib.loads(statement)
            if statement.lstrip().startswith("["):
                table = self._open_table(content)
                self._lines.setdefault(table, line)
                for length in range(1, len(table)):
                    self._mentions.setdefault(table[:length], line)
            else:
                for loc in _paths(content):
                    self._lines.setdefault((*table, *loc), line)

    def find(self, loc: Loc) -> int | None:
        """Return the line of the path, or of the nearest table around it; lines count from 1.

        Of a table without a header of its own it is the first header in which its name occurs.
        """
        for length in range(len(loc), 0, -1):
            for lines in (self._lines, self._mentions):
                if loc[:length] in lines:
                    return lines[loc[:length]]
        return None

    def _open_table(self, content: Any) -> Loc:
        """Return the path that a header opens; `[[a]]` opens the next element of the list `a`."""
        loc: Loc = ()
        while content:
            if isinstance(content, list):
                self._array_lengths[loc] = self._array_lengths.get(loc, 0) + 1
                content = content[0]
            else:
                [(name, content)] = content.items()
                loc = (*loc, name)
                if isinstance(content, list):
                    continue
            if loc in self._array_lengths:
                loc = (*loc, self._array_lengths[loc] - 1)
        return loc


def _statements(text: str) -> Iterator[tuple[int, str]]:
    first, waiting = 1, ""
    for line, content in enumerate(text.split("\n"), 1):
        waiting += content + "\n"
        if _is_whole(waiting):
            yield first, waiting
            first, waiting = line + 1, ""
        elif line - first >= STATEMENT_LINES_MAX:
            return


def _is_whole(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except ValueError:
        return False
    return True


def _paths(content: Any, loc: Loc = ()) -> Iterator[Loc]:
    items: Any = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    for step, inner in items:
        yield (*loc, step)
        yield from _paths(inner, (*loc, step))
