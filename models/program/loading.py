"""From a TOML text to a program, or to all of its problems at once."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.program.errors import Problem, ProgramError
from models.program.lines import Lines, find_repeated
from models.program.problems import Found, read_problems
from models.program.references import check_program, declared_names
from models.program.schema import Program
from models.program.table import Loc, place_text

PROGRAM_BYTES_MAX = 1024 * 1024

_POSITION = re.compile(r" \(at line (\d+), column (\d+)\)$")
_REPEATED = re.compile(r"Duplicate inline table key|Cannot (declare|mutate|overwrite|redefine)")
_REMEDY = "rename one of the two, or remove it"
_ELSEWHERE = "name the right one, or set STREAKLINE_PROGRAM to its path"


def read_program(path: Path | str) -> Program:
    """Read a program file (UTF-8, with or without a byte order mark). Raises ProgramError."""
    return load_program(read_text(path), source=str(path))


def read_text(path: Path | str) -> str:
    """Return the text of a file of a program (UTF-8). Raises ProgramError."""
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            content = file.read(PROGRAM_BYTES_MAX + 1)
    except FileNotFoundError:
        raise _unreadable(source, f"there is no such file; {_ELSEWHERE}") from None
    except IsADirectoryError:
        raise _unreadable(source, f"is a directory, not a TOML file; {_ELSEWHERE}") from None
    except (OSError, ValueError) as error:
        raise _unreadable(source, f"cannot be read: {error}") from None
    return _decode(content, source)


def load_program(text: str, *, source: str) -> Program:
    """Return the program that a TOML text describes; `source` names it in errors.

    Raises ProgramError with every problem found. Problems within one thing (a streak, say) can hide
    others of the same thing, never those of another.
    """
    raw = parse_toml(text, source)
    program, found = _validate(raw)
    if not found:
        return program
    lines = Lines(text)
    raise ProgramError(
        source,
        [Problem(place=place_text(loc), text=text, line=lines.find(loc)) for loc, text in found],
    )


def _unreadable(source: str, text: str) -> ProgramError:
    return ProgramError(source, [Problem(place="", text=text)])


def _decode(content: bytes, source: str) -> str:
    if len(content) > PROGRAM_BYTES_MAX:
        raise _unreadable(
            source, f"is larger than {PROGRAM_BYTES_MAX} bytes; is it the right file?"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = f"the byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ProgramError(source, [Problem(place="", text=text, line=line)]) from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return what a TOML text holds, its numbers as Decimals. Raises ProgramError."""
    try:
        return tomllib.loads(text, parse_float=_read_float)
    except RecursionError:
        raise _unreadable(source, "is nested too deeply to be a program") from None
    except tomllib.TOMLDecodeError as error:
        raise ProgramError(source, [_toml_problem(text, str(error))]) from None
    except ValueError:  # Python's own limit on digits
        raise _unreadable(source, "has a number with more digits than can be read") from None


def _toml_problem(text: str, message: str) -> Problem:
    position = _POSITION.search(message)
    line = int(position[1]) if position else text.count("\n") + 1
    repeated = find_repeated(text, line)
    if repeated:
        return Problem(
            place=place_text(repeated.loc),
            text=f"stands twice, first on line {repeated.first_line}; {_REMEDY}",
            line=repeated.line,
        )
    reason = _POSITION.sub("", message)
    if _REPEATED.match(message):
        reason = f"a key stands twice in a table of one line ({reason}); {_REMEDY}"
    return Problem(
        place="",
        text=f"is not TOML: {reason}",
        line=line if position else None,
        column=int(position[2]) if position else None,
    )


def _read_float(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent beyond what even a Decimal holds
        return Decimal("Infinity")


def _validate(raw: dict[str, Any]) -> tuple[Program, list[Found]]:
    found: list[Found] = []
    try:
        program = Program.model_validate(raw)
    except ValidationError as error:
        found = list(read_problems(error))
        program = Program.model_validate(_sound_part(raw, found))
    found += check_program(program, declared_names(raw))
    return program, found


def _sound_part(raw: dict[str, Any], found: list[Found]) -> dict[str, Any]:
    """Leave out every named thing with a problem, so that the rest can still be checked."""
    sound = _without(raw, {_thing(loc) for loc, _ in found})
    return {"app": {"name": "?"}} | sound


def _thing(loc: Loc) -> Loc:
    """Return the path of the smallest thing around a problem that can be left out."""
    if loc[0] in {"app", "emails"}:
        return loc[:1]
    if loc[0] == "points" and len(loc) > 3 and loc[2] in {"triggers", "boosts"}:
        return loc[:4]
    return loc[:2]


def _without(table: dict[str, Any], broken: set[Loc], around: Loc = ()) -> dict[str, Any]:
    return {
        key: _without(value, broken, (*around, key)) if isinstance(value, dict) else value
        for key, value in table.items()
        if (*around, key) not in broken
    }
