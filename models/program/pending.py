"""Which parts of a program this version reads but does not act upon yet.

Each kind of table has its rows; a row goes when what it speaks of is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from models.program.app import App
from models.program.emails import Emails, EmailTable
from models.program.schema import Program
from models.program.table import Table, place_text, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """Tables of this type for which `used` holds do not have `text` done about `key` yet."""

    table: type[Table]
    key: str = ""
    used: Callable[[Any], object] = lambda _: True
    text: str


_PENDING = (
    _Pending(
        table=App,
        key="control_group_percent",
        used=lambda app: app.control_group_percent,
        text="no control group is kept yet",
    ),
    _Pending(
        table=App, key="link_url", used=lambda app: app.link_url, text="nothing links there yet"
    ),
    _Pending(
        table=Emails,
        key="send_window",
        used=lambda emails: emails.send_window,
        text="emails are not sent yet",
    ),
    _Pending(table=EmailTable, text="emails are not sent yet"),
)


def pending_features(program: Program) -> list[str]:
    """Return a line for each part that is read but not acted upon yet, in the order of the schema.

    Each begins with its place: `streaks.daily.freezes: freezes are not given or spent yet`.
    """
    return list(_lines(program))


def _lines(program: Program) -> Iterator[str]:
    for loc, table in walk(program):
        for pending in _PENDING:
            if isinstance(table, pending.table) and pending.used(table):
                place = place_text((*loc, pending.key) if pending.key else loc)
                yield f"{place}: {pending.text}"
