"""What is wrong with a program file: every problem at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to put right.

    `place` is the path of the key (`points.xp.triggers.lesson.metric`), empty where the problem is
    the file as a whole. `line` and `column` count from 1; `None` where they are not known.
    """

    place: str
    text: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        position = [f"line {self.line}"] if self.line is not None else []
        position += [f"column {self.column}"] if self.column is not None else []
        position += [self.place] if self.place else []
        return f"{', '.join(position)}: {self.text}" if position else self.text


class ProgramError(ValueError):
    """A program cannot be used. `problems` are all that were found, in the order of the file.

    `source` is the path of the file, or whatever the caller named it. The text of the error is for
    people: a line that counts the problems, then one line for each.
    """

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=_in_file_order))
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{self.source} has {count} problem{'' if count == 1 else 's'}:"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


def _in_file_order(problem: Problem) -> tuple[bool, int, str]:
    return problem.line is None, problem.line or 0, problem.place
