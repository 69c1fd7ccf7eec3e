"""Checks between the tables of a program: what one names must exist in another, in no circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from models.program.emails import FreezeUsedEmail, LeaderboardEmail, MilestoneEmail
from models.program.problems import Found
from models.program.schema import Program
from models.program.table import Loc, Reference, Table, place_text, walk
from streakline.contract import nearest

_NOUNS = {
    "metrics": "metric",
    "streaks": "streak",
    "points": "points system",
    "achievements": "achievement",
    "leaderboards": "leaderboard",
}
NAMES_LISTED_MAX = 10

Names = Mapping[str, frozenset[str]]
"""The names that a section declares, by section (`metrics`, `points.xp.levels`)."""
Needs = dict[Loc, dict[Loc, list[Loc]]]
"""For each points system and achievement, what must be decided before it, and where it says so."""


def check_program(program: Program, names: Names) -> Iterator[Found]:
    """Yield what is wrong in and between the tables of a program.

    `names` are those of the file as it was written, so that a thing which is itself wrong, and
    therefore not in `program`, is not called unknown too.
    """
    for loc, table in walk(program):
        for key, text in table.faults():
            yield (*loc, *_steps(key)), text
        for reference in table.references():
            if reference.name not in names.get(reference.section, {reference.name}):
                yield (*loc, *_steps(reference.key)), _unknown_text(reference, names)
    yield from _check_emails(program)
    yield from _check_cycles(program)


def declared_names(raw: Mapping[str, Any]) -> Names:
    """Return the names that a file declares, whether or not what stands under them is right."""
    names = {section: frozenset(_table(raw, section)) for section in _NOUNS}
    for system in names["points"]:
        levels = _table(_table(raw, "points"), system).get("levels", [])
        keys = [level.get("key") for level in _tables(levels)]
        names[f"points.{system}.levels"] = frozenset(key for key in keys if isinstance(key, str))
    return names


def _table(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _steps(key: str) -> Loc:
    return tuple(int(step) if step.isdigit() else step for step in key.split(".") if step)


def _unknown_text(reference: Reference, names: Names) -> str:
    known = sorted(names[reference.section])
    noun = _NOUNS.get(reference.section, "level")
    text = f"unknown {noun} {reference.name!r}"
    section = reference.section if noun == "level" else f"[{reference.section}.{reference.name}]"
    hint = nearest(reference.name, known)
    if hint or not known:
        return text + (hint or f"; the program has no {noun} yet: declare it in {section}")
    return f"{text}; there is: {', '.join(known[:NAMES_LISTED_MAX])}"


def _check_emails(program: Program) -> Iterator[Found]:
    """Yield the emails whose cause can never come."""
    for name, email in program.emails.messages.items() if program.emails else ():
        if isinstance(email, LeaderboardEmail):
            board = program.leaderboards.get(email.leaderboard)
            if board is not None and board.period == "all":
                text = f"{email.leaderboard!r} has period = 'all', so that it never finishes"
                yield ("emails", name, "leaderboard"), text
        elif isinstance(email, FreezeUsedEmail | MilestoneEmail):
            streak = program.streaks.get(email.streak)
            wanted = "freezes" if isinstance(email, FreezeUsedEmail) else "milestones"
            if streak is not None and not getattr(streak, wanted):
                yield ("emails", name, "streak"), f"{email.streak!r} has no {wanted}"


def _check_cycles(program: Program) -> Iterator[Found]:
    """Yield every circle of points and achievements that wait for each other (S35)."""
    needs = _needs(program)
    while True:
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            # The error lists each thing before the one that needs it, with the first one again.
            circle = _from_smallest(list(reversed(error.args[1])))
            yield circle[0], _circle_text(circle, needs)
            del needs[circle[0]][circle[1]]
        else:
            return


def _circle_text(circle: list[Loc], needs: Needs) -> str:
    places = [place for needing, needed in pairwise(circle) for place in needs[needing][needed]]
    return (
        f"a circle: {' needs '.join(map(place_text, circle))}; "
        f"break it by changing {' or '.join(map(place_text, places))}"
    )


def _needs(program: Program) -> Needs:
    needs: Needs = {}
    for loc, table in walk(program):
        if loc[:1] in {("points",), ("achievements",)} and len(loc) > 1:
            for place, needed in _needed(loc, table):
                needs.setdefault(loc[:2], {}).setdefault(needed, []).append(place)
    return {loc: needs[loc] for loc in sorted(needs)}


def _needed(loc: Loc, table: Table) -> Iterator[tuple[Loc, Loc]]:
    """Yield where a table names points or achievements, and which."""
    for reference in table.references():
        if reference.section in {"points", "achievements"}:
            yield (*loc, *_steps(reference.key)), (reference.section, reference.name)


def _from_smallest(circle: list[Loc]) -> list[Loc]:
    start = circle.index(min(circle))
    return [*circle[start:-1], *circle[:start], circle[start]]
