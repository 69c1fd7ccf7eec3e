"""Templates as files: those that are built in, an app's own in a folder, and which one is used.

A file is called for what it is about, `NAME.toml` or `NAME.LANGUAGE.toml` (or `.json`): NAME is a
kind of email (`streak-reminder`), an email of the program (`reminder`), or `words` for what the
look itself says. An app's own come before the built-in ones, an email's before those of its kind;
among those of one name the language decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from models.emails.blocks import TemplateTable, WordsTable
from models.emails.wording import read_locale
from models.program.emails import DEFAULT_LANGUAGE
from models.program.errors import Problem, ProgramError
from models.program.lines import Lines
from models.program.loading import parse_toml, read_text
from models.program.problems import read_problems
from models.program.table import Loc, place_text
from streakline.errors import StreaklineError

WORDS = "words"
SUFFIXES = (".toml", ".json")
FILES_MAX = 1000

_BUILTIN = Path(__file__).parent / "builtin"
_TAG = "type"
_Found = TypeVar("_Found", bound=BaseModel)


class TemplatesError(StreaklineError, ValueError):
    """Templates cannot be used. `errors` has one for each file, with everything wrong with it."""

    def __init__(self, errors: Iterable[ProgramError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Generic[_Found]):
    """A file that was read: a template, or words.

    `source` is its path; `language` is None where its name has none.
    """

    source: str
    name: str
    language: str | None
    table: _Found
    lines: Lines = field(repr=False, compare=False)
    is_own: bool

    def problem(self, loc: Loc, text: str) -> Problem:
        """Return what is wrong at a place in the file."""
        return Problem(place=place_text(loc), text=text, line=self.lines.find(loc))


_Shelf = Mapping[tuple[str, str | None], Template[_Found]]
"""Files by name and language, the language in small letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """An app's own templates and the built-in ones. Made by `load_templates`."""

    own: _Shelf[TemplateTable]
    own_words: _Shelf[WordsTable]
    language: str
    """The language of own files whose names have none."""

    def choose(self, kind: str, email: str | None, language: str | None) -> Template[TemplateTable]:
        """Return the template of an email of this kind, for a reader of this language."""
        for name in (email, kind):
            found = None if name is None else _pick(self.own, name, language, self.language)
            if found is not None:
                return found
        return self._builtin(_builtin().templates, kind, language)

    def words(self, language: str) -> Template[WordsTable]:
        """Return the words of a language, or the nearest that there are."""
        own = _pick(self.own_words, WORDS, language, self.language)
        built_in = self._builtin(_builtin().words, WORDS, language)
        if own is None:
            return built_in
        # The language that was asked for is worth more than the app's own words in another one.
        fits = self.language_of(own) in _chain(language)
        return own if fits or self.language_of(built_in) not in _chain(language) else built_in

    def language_of(self, template: Template[Any]) -> str:
        """Return the language in which a file is written."""
        return template.language or (self.language if template.is_own else DEFAULT_LANGUAGE)

    def _builtin(self, shelf: _Shelf[_Found], name: str, language: str | None) -> Template[_Found]:
        return (
            _pick(shelf, name, language, DEFAULT_LANGUAGE, default=False)
            or _pick(shelf, name, self.language, DEFAULT_LANGUAGE)
            or shelf[name, None]
        )


def load_templates(folder: Path | None, language: str = DEFAULT_LANGUAGE) -> Templates:
    """Read an app's own templates; without a folder there are the built-in ones alone.

    `language` is that of files whose names have none. Raises TemplatesError with everything that
    is wrong with each file; what depends on a program is for `checking`.
    """
    found = _read_folder(folder, is_own=True) if folder is not None else _Files()
    if found.errors:
        raise TemplatesError(found.errors)
    return Templates(own=found.templates, own_words=found.words, language=language)


def _pick(
    shelf: _Shelf[_Found],
    name: str,
    language: str | None,
    unnamed: str,
    *,
    default: bool = True,
) -> Template[_Found] | None:
    """Return the file of a name in a language, in its base language, or (`default`) in none."""
    for wanted in _chain(language or ""):
        found = shelf.get((name, wanted))
        if found is None and wanted in _chain(unnamed):
            found = shelf.get((name, None))
        if found is not None:
            return found
    return shelf.get((name, None)) if default else None


def _chain(language: str) -> list[str]:
    """Return a language's tag and those above it, in small letters.

    >>> _chain("pt_BR")
    ['pt-br', 'pt']
    """
    parts = language.strip().lower().replace("_", "-").split("-")
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]


@dataclass(slots=True)
class _Files:
    templates: dict[tuple[str, str | None], Template[TemplateTable]] = field(default_factory=dict)
    words: dict[tuple[str, str | None], Template[WordsTable]] = field(default_factory=dict)
    errors: list[ProgramError] = field(default_factory=list)


@cache
def _builtin() -> _Files:
    files = _read_folder(_BUILTIN, is_own=False)
    if files.errors:
        raise TemplatesError(files.errors)
    return files


def _read_folder(folder: Path, *, is_own: bool) -> _Files:
    files = _Files()
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError as error:
        files.errors = [_refused(str(folder), f"cannot be read as a folder: {error.strerror}")]
        return files
    if len(paths) > FILES_MAX:
        files.errors = [_refused(str(folder), f"has more than {FILES_MAX} templates")]
        return files
    for path in paths:
        try:
            _read_file(path, files, is_own)
        except ProgramError as error:
            files.errors.append(error)
    return files


def _read_file(path: Path, files: _Files, is_own: bool) -> None:
    name, dot, tag = path.stem.partition(".")
    language = _chain(tag)[0] if dot else None
    if dot:
        try:
            read_locale(tag)
        except ValueError as error:
            raise _refused(str(path), f"{error}: the file's name is NAME.LANGUAGE.toml") from None
    shelf: dict[Any, Any] = files.words if name == WORDS else files.templates
    if (name, language) in shelf:
        other = shelf[name, language].source
        raise _refused(str(path), f"says the same as {other}; remove one of the two")
    shelf[name, language] = Template(
        source=str(path),
        name=name,
        language=tag if dot else None,
        is_own=is_own,
        **_read_table(path, WordsTable if name == WORDS else TemplateTable),
    )


def _read_table(path: Path, schema: type[BaseModel]) -> dict[str, Any]:
    text = read_text(path)
    raw = parse_toml(text, str(path)) if path.suffix == ".toml" else _parse_json(text, str(path))
    lines = Lines(text if path.suffix == ".toml" else "")
    try:
        return {"table": schema.model_validate(raw), "lines": lines}
    except ValidationError as error:
        found = dict(read_problems(error, schema, _TAG))
        # A list with a bad item is told to be empty as well: the item is what is wrong.
        told = [
            loc for loc in found if not any(one != loc and one[: len(loc)] == loc for one in found)
        ]
        problems = [
            Problem(place=place_text(loc), text=found[loc], line=lines.find(loc)) for loc in told
        ]
        raise ProgramError(str(path), problems) from None


def _parse_json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(source, f"is not JSON: {error}") from None


def _refused(source: str, text: str) -> ProgramError:
    return ProgramError(source, [Problem(place="", text=text)])
