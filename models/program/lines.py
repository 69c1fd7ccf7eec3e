"""On which line of a TOML text each key stands: `tomllib` does not tell.

The text is cut into its statements (a table's header, or a key with its value), each is read alone,
and the keys found in it stand on its first line. A text that `tomllib` reads whole is cut rightly,
because no beginning of a statement of several lines is valid by itself. So is one in which a key
comes twice: `tomllib` refuses it as a whole, and does not say where the other one is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

from models.program.table import Loc

STATEMENT_LINES_MAX = 500
"""A longer one ends the search: what follows it is told without its line."""


class Repeated(NamedTuple):
    """A key or table that a text has twice: its path, and both lines."""

    loc: Loc
    first_line: int
    line: int


def find_repeated(text: str, last_line: int) -> Repeated | None:
    """Return what the statement that ends on a line holds though an earlier one did.

    All that stands before it must be valid. None where it holds nothing known, or is no statement.
    """
    statements = list(_statements("\n".join(text.split("\n")[:last_line])))
    if not statements:
        return None
    line, statement = statements.pop()
    if line + statement.count("\n") - 1 != last_line:
        return None
    lines = Lines("")
    for earlier in statements:
        lines.read(*earlier)
    return lines.find_known(line, statement)


class Lines:
    """Finds the line of a path in one text, which must be valid TOML."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Loc, int] = {}
        self._mentions: dict[Loc, int] = {}
        self._array_lengths: dict[Loc, int] = {}
        self._table: Loc = ()
        for line, statement in _statements(text):
            self.read(line, statement)

    def read(self, line: int, statement: str) -> None:
        """Take in the next statement of the text, which begins on this line."""
        content = tomllib.loads(statement)
        if _is_header(statement):
            self._table = table = self._open_table(content)
            self._lines.setdefault(table, line)
            for length in range(1, len(table)):
                self._mentions.setdefault(table[:length], line)
        else:
            for loc in _paths(content):
                self._lines.setdefault((*self._table, *loc), line)

    def find_known(self, line: int, statement: str) -> Repeated | None:
        """Return what a statement that cannot come next holds again, and where it was before."""
        if _is_header(statement):
            loc, around = self._open_table(tomllib.loads(statement)), 0
        else:
            loc, around = (*self._table, *_key(statement)), len(self._table)
        for length in range(len(loc), around, -1):
            first_line = self.find_exactly(loc[:length])
            if first_line is not None:
                known = loc[: length - 1] if isinstance(loc[length - 1], int) else loc[:length]
                return Repeated(loc=known, first_line=first_line, line=line)
        return None

    def find_exactly(self, loc: Loc) -> int | None:
        """Return the first line on which the path stands; None if it does nowhere."""
        return self._lines.get(loc, self._mentions.get(loc))

    def find(self, loc: Loc) -> int | None:
        """Return the line of the path, or of the nearest table around it; lines count from 1.

        Of a table without a header of its own it is the first header in which its name occurs.
        """
        for length in range(len(loc), 0, -1):
            line = self.find_exactly(loc[:length])
            if line is not None:
                return line
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
    except (ValueError, RecursionError):
        return False
    return True


def _is_header(statement: str) -> bool:
    return statement.lstrip().startswith("[")


def _key(statement: str) -> Loc:
    """Return the path before the equals sign, of which a quoted key may hold others.

    Nothing where no key stands: a line that is no TOML is handed in as well.
    """
    parts = statement.split("=")
    begins = ("=".join(parts[:end]) + "= true" for end in range(1, len(parts) + 1))
    before = next(filter(_is_whole, begins), None)
    if before is None:
        return ()
    content: Any = tomllib.loads(before)
    loc: Loc = ()
    while content is not True:
        [(name, content)] = content.items()
        loc = (*loc, name)
    return loc


def _paths(content: Any, loc: Loc = ()) -> Iterator[Loc]:
    items: Any = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    for step, inner in items:
        yield (*loc, step)
        yield from _paths(inner, (*loc, step))
