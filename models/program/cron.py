"""Cron expressions of five fields, checked and brought into one spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from models.rules.cron import Cron
from streakline.contract import nearest

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)
_ANY_INSTANT = datetime(2000, 1, 1, tzinfo=UTC)
_SUNDAY, _SUNDAY_TOO = 0, 7
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>[0-9]{1,2}))?")


def read_cron(text: str) -> str:
    """Return an expression with plain numbers only: ranges, steps and names written out.

    Fields are minute, hour, day of the month, month, day of the week; 0 and 7 are Sunday. A field
    that is `*` stays so. Raises ValueError, which names the field; also for what never fires.

    >>> read_cron("*/20 18 * * Mon-Wed,fri")
    '0,20,40 18 * * 1,2,3,5'
    """
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(fields)} fields; a cron expression has five: minute, hour, "
            "day of the month, month, day of the week, such as '0 18 * * fri'"
        )
    spelling = " ".join(map(_read_field, fields, range(len(fields))))
    if Cron.parse(spelling).fires_after(_ANY_INSTANT, "UTC") is None:
        raise ValueError(
            f"{text!r} never fires: there is no day {fields[2]} in month {fields[3]}; "
            "change one of the two fields"
        )
    return spelling


def _read_field(text: str, position: int) -> str:
    if text == "*":
        return text
    numbers = {number for part in text.split(",") for number in _read_part(part, position)}
    if position == len(_FIELDS) - 1 and _SUNDAY_TOO in numbers:
        numbers = numbers - {_SUNDAY_TOO} | {_SUNDAY}
    return ",".join(map(str, sorted(numbers)))


def _read_part(part: str, position: int) -> range:
    what, lowest, highest, _ = _FIELDS[position]
    found = _PART.fullmatch(part)
    if not found or (found["first"] == "*" and found["last"]):
        raise ValueError(f"{what}: {part!r} is none of *, 5, 1-5, */15")
    if found["first"] == "*":
        first, last = lowest, highest - (position == len(_FIELDS) - 1)
    else:
        first = _read_number(found["first"], position)
        last = _read_number(found["last"] or found["first"], position)
    if last < first:
        raise ValueError(f"{what}: {part!r} ends before it begins")
    if found["step"] and first == last and not found["last"]:
        raise ValueError(f"{what}: {part!r} has a step but no range; write {first}-{highest} or *")
    return range(first, last + 1, _read_step(found["step"], what))


def _read_step(text: str | None, what: str) -> int:
    step = int(text or 1)
    if step == 0:
        raise ValueError(f"{what}: a step of 0 goes nowhere")
    return step


def _read_number(text: str, position: int) -> int:
    what, lowest, highest, names = _FIELDS[position]
    if text in names:
        return names[text]
    if not (text.isascii() and text.isdigit() and lowest <= int(text[:9]) <= highest):
        raise ValueError(
            f"{what}: {text!r} is not between {lowest} and {highest}{nearest(text, names)}"
        )
    return int(text)
