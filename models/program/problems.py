"""What pydantic found, as problems in plain words, each with its path in the file.

Pydantic's own paths name the member of a union that was tried, and its texts speak of Python. Both
are put right by following the path through the schema, which also knows what would have been right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from models.program.emails import Email, Emails
from models.program.schema import Program
from models.program.table import Loc
from streakline.contract import nearest

Found = tuple[Loc, str]
"""The path of a problem, and its text."""

_BAD_NAME = "[key]"
"""Pydantic's last step where the name of a table itself is wrong."""


def read_problems(
    error: ValidationError, root: type[BaseModel] = Program, tag: str = "on"
) -> Iterator[Found]:
    """Yield every problem that pydantic found in a file.

    `root` is the schema of the whole file, `tag` the key that says which table of several is meant.
    """
    for details in error.errors(include_url=False):
        yield _read_problem(details, root, tag)


def _read_problem(details: ErrorDetails, root: type[BaseModel], tag: str) -> Found:
    loc, schema, around = _follow(details["loc"], root, tag)
    kind = details["type"]
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return (*loc, tag), _tag_text(details, _members(schema, tag), loc)
    if kind == "extra_forbidden":
        return loc, _unknown_key_text(str(loc[-1]), _keys(around))
    if kind == "literal_error":
        return loc, _choice_text(details["input"], [str(name) for name in _choices(schema)])
    text = _TEXTS.get(kind)
    return loc, (text(details) if text else details["msg"]) + _setting_hint(kind, loc)


def _follow(steps: tuple[str | int, ...], root: type[BaseModel], tag: str) -> tuple[Loc, Any, Any]:
    """Return the path in the file, the schema at its end, and the schema around that."""
    loc: Loc = ()
    schema: Any = root
    around: Any = None
    for step in steps:
        schema = _plain(schema)
        members = _members(schema, tag)
        if members:
            schema = members.get(str(step), schema)
        elif step != _BAD_NAME:
            loc, around, schema = (*loc, step), schema, _inside(schema, step)
    return loc, _plain(schema), around


def _plain(schema: Any) -> Any:
    """Take off what says nothing about the shape: annotations, and that it may be left out."""
    while get_origin(schema) is Annotated:
        schema = get_args(schema)[0]
    if get_origin(schema) in {Union, UnionType}:
        inner = [arg for arg in get_args(schema) if arg is not NoneType]
        if len(inner) == 1:
            return _plain(inner[0])
    return schema


def _members(schema: Any, tag: str) -> dict[str, Any]:
    """Return the tables of a union by what their tag must be; nothing for all else."""
    if get_origin(schema) not in {Union, UnionType}:
        return {}
    tables = [arg for arg in get_args(schema) if tag in _fields(arg)]
    return {get_args(_fields(table)[tag].annotation)[0]: table for table in tables}


def _inside(schema: Any, step: str | int) -> Any:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        for name, field in schema.model_fields.items():
            if step == (field.alias or name):
                return field.annotation
        return Email if schema is Emails else None
    args = get_args(schema)
    return args[-1] if get_origin(schema) is dict else args[0] if args else None


def _fields(schema: Any) -> dict[str, Any]:
    return getattr(schema, "model_fields", {})


def _keys(schema: Any) -> list[str]:
    return [field.alias or name for name, field in _fields(schema).items()]


def _choices(schema: Any) -> Iterator[Any]:
    if get_origin(schema) is Literal:
        yield from get_args(schema)


def _unknown_key_text(key: str, known: list[str]) -> str:
    return "unknown key" + (nearest(key, known) or f"; the keys here are {', '.join(known)}")


def _setting_hint(kind: str, loc: Loc) -> str:
    """Return what a setting of `[emails]` may have been meant to be: all else there is an email."""
    meant = kind in {"model_attributes_type", "union_tag_not_found"} and loc[:1] == ("emails",)
    return nearest(str(loc[-1]), _keys(Emails)) if meant else ""


def _tag_text(details: ErrorDetails, members: dict[str, Any], loc: Loc) -> str:
    names = list(members)
    if details["type"] == "union_tag_invalid":
        return _choice_text(details["ctx"]["tag"], names)
    return f"is missing; say one of {', '.join(names)}{_setting_hint(details['type'], loc)}"


def _choice_text(value: object, names: list[str]) -> str:
    hint = nearest(value, names) if isinstance(value, str) else ""
    return f"must be one of {', '.join(names)}, not {_shown(value)}{hint}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _must_be(what: str) -> Callable[[ErrorDetails], str]:
    return lambda details: f"must be {what}, not {_shown(details['input'])}"


def _limit(words: str, name: str) -> Callable[[ErrorDetails], str]:
    return lambda details: f"must be {words} {details['ctx'][name]}"


_TEXTS: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda _: "is missing",
    "value_error": lambda details: str(details["ctx"]["error"]),
    "model_type": _must_be("a table"),
    "model_attributes_type": _must_be("a table"),
    "dict_type": _must_be("a table"),
    "tuple_type": _must_be("a list"),
    "string_type": _must_be("text"),
    "int_type": _must_be("a whole number"),
    "bool_type": _must_be("true or false"),
    "date_type": _must_be("a date such as 2027-01-31, without quotes"),
    "greater_than_equal": _limit("at least", "ge"),
    "less_than_equal": _limit("at most", "le"),
    "too_short": lambda _: "must not be empty",
    "too_long": lambda details: f"has more than {details['ctx']['max_length']} entries",
}
