"""What runs a template: Jinja's immutable sandbox, in which there is nothing but the variables.

It reads fields of variables, items of lists and keys of mappings; no attribute of anything else. In
HTML every value is escaped. A variable that is not there raises (StrictUndefined).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from functools import cache, partial
from html import escape
from typing import Any, get_type_hints

from babel import Locale
from jinja2 import StrictUndefined
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from models.emails import wording
from models.emails.variables import PeriodVariables, Variables

Shape = Any
"""What an expression comes to, as a type: a class of variables, `tuple[X, ...]`, `str`, or Any."""

BAR_CHARACTERS = 20
LINE_PERIODS = 7
"""Periods in a line of a calendar."""

_PLAIN_FILTERS = (
    *("upper", "lower", "capitalize", "title", "trim"),
    *("first", "last", "length", "join", "urlencode"),
)
_TESTS = ("none", "even", "odd", "divisibleby", "eq", "ne", "lt", "le", "gt", "ge", "in")
_NUMBERS = (int, float, Decimal)
_LOOP = ("index", "first", "last", "length")


class Sandbox(ImmutableSandboxedEnvironment):
    """Reads fields of variables and nothing else; multiplies numbers and nothing else.

    `written_filters` are those that authors may use; the others are for what is put around them.
    """

    intercepted_binops = frozenset({"*", "%"})

    def __init__(self, locale: Locale, *, escaped: bool) -> None:
        super().__init__(
            autoescape=escaped,
            undefined=StrictUndefined,
            finalize=lambda value: wording.shown(locale, value),
            cache_size=0,
            auto_reload=False,
        )
        self.globals = {}
        written = {name: FILTERS[name] for name in _PLAIN_FILTERS} | wording.filters(locale)
        self.written_filters = frozenset(written)
        self.filters = written | {
            "address": address,
            "bar": bar,
            "bar_text": bar_text,
            "has": has,
            "lines": lines,
            "period": partial(wording.period_text, locale),
        }
        self.tests = {name: TESTS[name] for name in _TESTS}

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self._read(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, tuple | list) and isinstance(argument, int):
            try:
                return obj[argument]
            except IndexError:
                return self.undefined(f"there is no item {argument}")
        return self._read(obj, str(argument))

    def _read(self, obj: Any, name: str) -> Any:
        if isinstance(obj, Mapping):
            return obj.get(name, "")
        if isinstance(obj, Variables) and name in fields_of(type(obj)):
            return getattr(obj, name)
        if isinstance(obj, LoopContext) and name in _LOOP:
            return getattr(obj, name)
        if obj is None:
            return self.undefined(f"something that is not there is asked for its {name!r}")
        return self.undefined(obj=obj, name=name)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        # A text or a list times a number is as large as the number says.
        if not (isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)):
            raise SecurityError(f"{operator} is for numbers")
        return super().call_binop(context, operator, left, right)


def fields_of(kind: Any) -> Mapping[str, Shape]:
    """Return the fields of a class of variables, by name, with their shapes."""
    return _fields_of(kind)


@cache
def _fields_of(kind: Any) -> Mapping[str, Shape]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def escape_source(sandbox: Sandbox, source: str) -> str:
    """Return the source of an HTML template that says what a plain text says.

    What stands around the expressions is escaped, its line ends become breaks.

    >>> escape_source(Sandbox(wording.read_locale("en"), escaped=True), "1 < {{ 2 < 3 }}\\nmore")
    '1 &lt; {{ 2 < 3 }}<br>more'
    """
    return "".join(
        escape(text).replace("\n", "<br>") if token == "data" else text
        for _, token, text in sandbox.lex(source)
    )


def address(url: Any) -> Any:
    """Return a URL if it is one of the web, and nothing if it is anything else.

    >>> address("https://example.org/a b"), address("javascript:alert(1)")
    ('https://example.org/a%20b', '')
    """
    found = url.strip().replace(" ", "%20")
    return found if found.lower().startswith(("https://", "http://")) else ""


def bar(share: Any) -> int:
    """Return how much of a bar is filled, in whole percent.

    >>> bar(0.624), bar(Decimal("1.5")), bar(None)
    (62, 100, 0)
    """
    return min(100, max(0, int((share or 0) * 100)))


def bar_text(percent: int) -> str:
    """Return a bar in characters.

    >>> bar_text(50)
    '##########----------'
    """
    full = percent * BAR_CHARACTERS // 100
    return "#" * full + "-" * (BAR_CHARACTERS - full)


def has(calendar: tuple[PeriodVariables, ...], state: str) -> bool:
    """Tell whether a calendar has a period of this state."""
    return any(period.state == state for period in calendar)


def lines(calendar: tuple[PeriodVariables, ...]) -> list[tuple[PeriodVariables | None, ...]]:
    """Return a calendar in lines of seven; the first one is filled up in front with nothing."""
    filler = -len(calendar) % LINE_PERIODS
    padded = (None,) * filler + calendar
    return [padded[at : at + LINE_PERIODS] for at in range(0, len(padded), LINE_PERIODS)]
