"""What a new version of a program changes, thing by thing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.program.schema import Program
from models.program.table import Loc, place_text

_NAMED = (
    ("metrics", "*"),
    ("streaks", "*"),
    ("points", "*"),
    ("points", "*", "triggers", "*"),
    ("points", "*", "boosts", "*"),
    ("achievements", "*"),
    ("leaderboards", "*"),
    ("emails",),
    ("emails", "*"),
    ("app",),
)
"""The things that are told apart; what is none of them belongs to the one around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One named thing that is new, gone or different.

    `text` says the difference: the keys with their old and new values, and what follows from it.
    """

    kind: Literal["added", "removed", "changed"]
    place: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.place}" + (f": {self.text}" if self.text else "")


def compare_programs(old: Program | None, new: Program) -> list[Change]:
    """Return what differs, ordered by place; without an old program everything is added."""
    before = _things(old) if old is not None else {}
    after = _things(new)
    return [
        _change(loc, before.get(loc), after.get(loc))
        for loc in sorted(before.keys() | after.keys())
        if before.get(loc) != after.get(loc)
    ]


def _things(program: Program) -> dict[Loc, dict[str, Any]]:
    return dict(_split(program.canonical(), ()))


def _split(table: Mapping[str, Any], loc: Loc) -> Iterator[tuple[Loc, dict[str, Any]]]:
    """Yield the named things in a table, each without those that are named themselves."""
    own = {}
    for key, value in table.items():
        if _is_way((*loc, key)) and isinstance(value, dict):
            yield from _split(value, (*loc, key))
        else:
            own[key] = value
    if _is_named(loc):
        yield loc, own


def _is_named(loc: Loc) -> bool:
    return any(_matches(loc, pattern) for pattern in _NAMED)


def _is_way(loc: Loc) -> bool:
    return any(_matches(loc, pattern[: len(loc)]) for pattern in _NAMED)


def _matches(loc: Loc, pattern: tuple[str, ...]) -> bool:
    pairs = zip(loc, pattern, strict=False)
    return len(loc) == len(pattern) and all(wanted in {"*", step} for step, wanted in pairs)


def _change(loc: Loc, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Change:
    place = place_text(loc)
    if old is None:
        return Change(kind="added", place=place, text=_ADDED.get(_noun(loc), ""))
    if new is None:
        return Change(kind="removed", place=place)
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    text = ", ".join(f"{key} {_shown(old, key)} → {_shown(new, key)}" for key in keys)
    return Change(kind="changed", place=place, text=text + _CHANGED.get(_noun(loc), ""))


_ADDED = {"triggers": "counts from the moment this version is applied"}
_CHANGED = {
    "triggers": "; a changed trigger is a new trigger: it counts from the moment this version "
    "is applied, and what the old one gave stays"
}


def _noun(loc: Loc) -> str:
    return str(loc[-2]) if len(loc) > 1 else ""


def _shown(thing: Mapping[str, Any], key: str) -> str:
    if key not in thing:
        return "(default)"
    value = thing[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
