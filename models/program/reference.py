"""The reference of the program file as Markdown, from the schema: `docs/reference/program.md`.

Run as a module it prints the page. A test compares it with the file, so that the two cannot part.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from textwrap import dedent
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from models.program import leaderboards, values
from models.program.emails import Email, Emails
from models.program.schema import Program
from models.program.table import Table, UserWhere
from models.program.values import duration_text
from streakline.contract import decimal_text

_WORDS: tuple[tuple[Any, str], ...] = (
    (values.Name, "name"),
    (values.Text, "text"),
    (values.Flag, "true or false"),
    (values.Day, "date"),
    (values.Number, "number"),
    (values.Positive, "number over 0"),
    (values.NotNegative, "number, 0 or more"),
    (values.Percent, "number from 0 to 100"),
    (values.Count, "whole number, 1 or more"),
    (values.CountOrZero, "whole number, 0 or more"),
    (values.Duration, "duration"),
    (values.PositiveDuration, "duration over 0"),
    (values.TimeOfDay, "time of day"),
    (values.Zone, "zone"),
    (values.Clock, "zone or `user`"),
    (values.Attributes, "attributes with their values"),
    (values.Sender, "sender"),
    (values.Url, "address"),
    (values.Color, "colour"),
    (values.Language, "language"),
    (values.Weekday, "weekday"),
    (leaderboards.Cron, "cron expression"),
)

_CASES = re.compile(r" \(S[0-9]+(( to |, )S[0-9]+)*\)")

_HEAD = f"""\
# The program file

<!-- Made by `python -m models.program.reference`: change the schema, not this page. -->

An app's rules, as TOML. `streakline program check FILE` tells everything that is wrong with a file,
`streakline program apply FILE` says what a new version changes and puts it in force.

- A **name** (of a metric, a streak, …) is made of `a-z`, `0-9`, `-` and `_`, begins with a letter
  or digit and has at most {values.NAME_LENGTH_MAX} characters.
- A **number** has at most 4 decimal places.
- A **duration** is a whole number with a unit: `90m`, `6h`, `30d`, `2w`.
- A **zone** is an IANA name such as `Europe/Paris`, a **time of day** `"09:00"`, a **date**
  `2027-01-31` without quotes, a **weekday** `"monday"`, a **sender** `"Parlons <a@example.org>"`,
  an **address** begins with `https://`, a **colour** is written `"#2457d6"`, a **language** `"en"`
  or `"pt-BR"`.
- A **cron expression** has five fields: minute, hour, day of the month, month, day of the week
  (0 and 7 are Sunday; `mon` to `sun` and `jan` to `dec` do too): `"0 18 * * fri"`.
- `where` filters: `where = {{ user = {{ plan = "pro" }} }}` by attributes of the user, and where it
  says *event*, `where = {{ event = {{ language = "fr" }} }}` by those of the event. All must hold.
"""


def reference_page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for heading, table in _headed(Program, ""):
        parts.append(f"{heading}\n\n{_public(table.__doc__ or '')}\n")
        parts.append("\n".join(_rows(table)) + "\n")
    return "\n".join(parts)


def _headed(table: type[Table], path: str) -> Iterator[tuple[str, type[Table]]]:
    """Yield the tables inside a table, each with its heading."""
    for field, kind in _fields(table):
        place = f"{path}.{_key(field, table)}".removeprefix(".")
        yield from _headed_kind(_plain(kind), place, "[{}]")
    if table is Emails:
        yield from _headed_kind(_plain(Email), f"{path}.NAME", "[{}]")


def _headed_kind(kind: Any, place: str, brackets: str) -> Iterator[tuple[str, type[Table]]]:
    if get_origin(kind) is dict:
        yield from _headed_kind(_plain(get_args(kind)[1]), f"{place}.NAME", "[{}]")
    elif get_origin(kind) is tuple:
        yield from _headed_kind(_plain(get_args(kind)[0]), place, "[[{}]]")
    elif _is_table(kind) and not issubclass(kind, UserWhere):  # filters are told in the head
        yield f"## `{brackets.format(place)}`", kind
        yield from _headed(kind, place)
    elif get_origin(kind) in {Union, UnionType}:
        for member in get_args(kind):
            on = get_args(_plain(get_type_hints(member)["on"]))[0]
            yield f'## `{brackets.format(place)}` with `on = "{on}"`', member


def _rows(table: type[Table]) -> Iterator[str]:
    told = field_docstrings(table)
    yield "| key | value | left out | |"
    yield "|---|---|---|---|"
    for field, kind in _fields(table):
        if field != "on":
            info = table.model_fields[field]
            text = _public(told.get(field, ""))
            default = "" if "left out," in text else _default(info)
            yield f"| `{_key(field, table)}` | {_words(kind)} | {default} | {text} |"


def _fields(table: type[Table]) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(table, include_extras=True)
    for field in table.model_fields:
        yield field, hints[field]


def _key(field: str, table: type[Table]) -> str:
    return table.model_fields[field].alias or field


def _words(kind: Any) -> str:
    known = _known_words(kind)
    if known:
        return known
    inner = _plain(kind)
    origin, args = get_origin(inner), get_args(inner)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin is tuple:
        return "tables" if _is_table(_plain(args[0])) else f"list: {_words(args[0])}"
    if origin is dict:
        value = _words(args[1])
        return "tables by name" if value == "table" else f"{_words(args[0])} = {value}"
    if _is_table(inner) and issubclass(inner, UserWhere):
        return f"filter by {' or '.join(inner.model_fields)}"
    return _known_words(inner) or "table"


def _known_words(kind: Any) -> str:
    """Return the words for a type, or the type that it narrows; nothing for tables."""
    args = get_args(kind)
    fitting = [
        (len(get_args(known)), words)
        for known, words in _WORDS
        if get_args(known) == args[: len(get_args(known))]
    ]
    return max(fitting, default=(0, ""))[1]


def _plain(kind: Any) -> Any:
    """Take off annotations of lists and tables, and that a value may be left out."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType} and NoneType in get_args(kind):
        [kind] = [arg for arg in get_args(kind) if arg is not NoneType]
        return kind if _known_words(kind) else _plain(kind)
    return kind


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Table)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = info.default
    if isinstance(value, timedelta):
        return f"`{duration_text(value)}`"
    if isinstance(value, Decimal):
        return f"`{decimal_text(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple) and value:
        return f"`{list(value)}`"
    return f"`{value}`" if isinstance(value, int | str) else ""


def _public(docstring: str) -> str:
    """Return a docstring on one line, without the numbers of the specification's cases."""
    return _CASES.sub("", " ".join(docstring.split()))


def field_docstrings(kind: type) -> dict[str, str]:
    """Return the text under each field of a class of ours, those of its bases included."""
    told: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner is Table or not owner.__module__.startswith("models."):
            continue
        [body] = ast.parse(dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for key, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
                match text:
                    case ast.Expr(value=ast.Constant(value=str(words))):
                        told[key.target.id] = words
    return told


if __name__ == "__main__":
    sys.stdout.write(reference_page())
