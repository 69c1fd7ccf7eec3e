"""What is wrong with the texts of a template, for the kind of email that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator

from models.emails import blocks
from models.emails.blocks import Written, written
from models.emails.expressions import Scope, find_faults, is_group, item_of, read_expression
from models.emails.sandbox import Sandbox, fields_of
from models.emails.sources import ITEM
from models.emails.variables import EmailVariables
from models.program.table import Loc, Table, walk

Found = tuple[Loc, str]
"""The path of a problem in the file, and its text."""

_WEB = re.compile(r"https?://[^/{]|\{\{-? *(app\.(link|logo)_url|unsubscribe_url) *-?\}\}", re.I)
_NEEDS: dict[type[Table], str] = {blocks.Calendar: "streak", blocks.Standings: "leaderboard"}
"""Blocks that show one variable."""


def check_table(
    table: Table, sandbox: Sandbox, kind: type[EmailVariables] = EmailVariables
) -> Iterator[Found]:
    """Yield what is wrong with a template, or with words, as texts over what the kind knows."""
    scope = fields_of(kind)
    for loc, part in walk(table):
        inner = scope
        if isinstance(part, blocks.Rows):
            shape, faults = read_expression(sandbox, part.each, scope)
            item = item_of(shape)
            if not faults and item is None:
                yield (*loc, "each"), f"must be a list, such as {_lists(scope)}"
            inner = {**scope, ITEM: item}
        needed = _NEEDS.get(type(part))
        if needed is not None and needed not in scope:
            yield loc, f"shows {needed!r}, which this kind of email does not know; leave it out"
        for steps, how, source in written(part):
            for fault in _read(sandbox, how, source, inner if steps[0] != "if" else scope):
                yield (*loc, *steps), fault


def _read(sandbox: Sandbox, how: Written, source: str, scope: Scope) -> list[str]:
    if how is Written.EXPRESSION:
        return read_expression(sandbox, source, scope)[1]
    faults = find_faults(sandbox, source, scope)
    if how is Written.ADDRESS and not _WEB.match(source.strip()):
        faults.append("must begin with https:// or with {{ app.link_url }}, so that no one else")
        faults[-1] += " can say where it leads"
    return faults


def _lists(scope: Scope) -> str:
    found = [
        f"{name}.{inner}"
        for name, shape in scope.items()
        for inner, kind in (fields_of(shape) if is_group(shape) else {}).items()
        if item_of(kind) is not None
    ]
    return ", ".join(found) or "… (this kind of email has none)"
