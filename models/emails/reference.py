"""The reference of emails as Markdown, from the code: `docs/reference/emails.md`.

Run as a module it prints the page. A test compares it with the file, so that the two cannot part.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin, get_type_hints

from models.emails import blocks
from models.emails.blocks import WordsTable, Written
from models.emails.expressions import is_group, item_of, present
from models.emails.sandbox import fields_of
from models.emails.variables import KINDS, EmailVariables
from models.program.reference import field_docstrings

_HEAD = """\
# What emails know and are made of

<!-- Made by `python -m models.emails.reference`: change the code, not this page. -->

[Emails](../emails.md) says how templates are written. Here is every variable, by kind, and every
block.
"""
_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Decimal: "number",
    date: "date",
    datetime: "date and time",
    timedelta: "length of time",
    tuple: "list",
    Mapping: "texts by name",
    Written.TEXT: "text",
    Written.ADDRESS: "address",
    Written.EXPRESSION: "expression",
}
_BLOCKS = (
    blocks.Heading,
    blocks.Paragraph,
    blocks.Button,
    blocks.Image,
    blocks.Progress,
    blocks.Calendar,
    blocks.Standings,
    blocks.Rows,
    blocks.Divider,
    blocks.RandomOne,
    blocks.Columns,
)


def reference_page() -> str:
    """Return the whole page."""
    parts = [_HEAD, _variables("## Variables of every email", EmailVariables, {})]
    common = fields_of(EmailVariables)
    for kind, group in KINDS.items():
        parts.append(_variables(f"## `{kind}`\n\n{group.__doc__}", group, common))
    parts.append(
        "## Blocks\n\nEvery block may have `if`: an expression without braces; the block is shown "
        "only where it holds.\n"
    )
    for block in _BLOCKS:
        name = get_args(get_type_hints(block)["type"])[0]
        parts.append(f"### `{name}`\n\n{block.__doc__}\n")
        rows = list(_keys(block))
        if rows:
            head = ["| key | value | left out | |", "|---|---|---|---|"]
            parts.append("\n".join([*head, *rows]) + "\n")
    rows = [f"| `{key}` | {text} |" for key, text in field_docstrings(WordsTable).items()]
    parts.append("## Words\n\n" + "\n".join(["| key | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _variables(head: str, group: type[EmailVariables], known: Mapping[str, Any]) -> str:
    rows = list(_paths(group, "", known))
    return "\n".join([head, "", "| variable | is | |", "|---|---|---|", *rows, ""])


def _paths(group: Any, before: str, known: Mapping[str, Any]) -> Iterator[str]:
    told = field_docstrings(group)
    for name, shape in fields_of(group).items():
        if name in known:
            continue
        path, inner, item = f"{before}{name}", present(shape), item_of(shape)
        if is_group(inner):
            if inner is not shape:
                yield f"| `{path}` | the following, or none | {' '.join(told[name].split())} |"
            yield from _paths(inner, f"{path}.", {})
            continue
        yield f"| `{path}` | {_is(shape)} | {' '.join(told[name].split())} |"
        if is_group(item):
            yield from _paths(item, f"{path}[].", {})


def _is(shape: Any) -> str:
    inner = present(shape)
    origin: Any = get_origin(inner)
    if origin is Literal:
        text = ", ".join(f"`{value}`" for value in get_args(inner))
    else:
        text = _WORDS[origin or inner]
    return text if inner is shape else f"{text}, or none"


def _keys(block: type[blocks.BlockTable]) -> Iterator[str]:
    told = field_docstrings(block)
    for name, field in block.model_fields.items():
        if name in {"type", "if_"}:
            continue
        marks = [one for one in field.metadata if isinstance(one, Written)]
        words = _WORDS[marks[0]] if marks else "list" if field.is_required() else "whole number"
        default = "**required**" if field.is_required() else f"`{field.default}`"
        yield f"| `{name}` | {words} | {default} | {' '.join(told[name].split())} |"


if __name__ == "__main__":
    sys.stdout.write(reference_page())
