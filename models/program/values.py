"""The types of single values in a program file: names, texts, numbers, durations, zones, times.

Each reads exactly what TOML gives it and says in plain words what it wants instead; nothing is
converted silently (`"10"` is no number, `7.0` no whole one). A number is a Decimal from the digits
in the file, never by way of a float, so `0.1` is one tenth. In JSON each has one spelling, which
is what makes two texts of one meaning equal.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from decimal import Decimal
from email.utils import parseaddr
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, Strict

from streakline.contract import (
    ID_LENGTH_MAX,
    VALUE_MAX,
    VALUE_PLACES_MAX,
    UserFields,
    check_zone,
    decimal_text,
)
from streakline.errors import InvalidEvent

NAME_LENGTH_MAX = 64
COUNT_MAX = 1_000_000
USERS_OWN_CLOCK = "user"
DURATION_DAYS_MAX = 3660
"""About ten years: no calendar sum with it leaves the range of dates."""

_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{NAME_LENGTH_MAX - 1}}}")
_DURATION = re.compile(r"([0-9]{1,7})([mhdw])")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Amount = TypeVar("Amount", Decimal, timedelta)
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        wanted = re.sub(r"[^a-z0-9_-]+", "-", name.casefold()).strip("-_")[:NAME_LENGTH_MAX]
        example = f", such as {wanted!r}" if wanted else ""
        raise ValueError(
            f"a name is made of a-z, 0-9, '-' and '_', begins with a letter or digit and has "
            f"at most {NAME_LENGTH_MAX} characters{example}"
        )
    return name


def _check_text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    if len(text) > ID_LENGTH_MAX:
        raise ValueError(f"has {len(text)} characters; at most {ID_LENGTH_MAX} are allowed")
    if _CONTROL.search(text):
        raise ValueError("must be one line without control characters")
    return text


def _read_number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"must be a number such as 10 or 2.5, not {_shown(value)}")
    number = Decimal(value)
    if not number.is_finite() or abs(number) > VALUE_MAX:
        raise ValueError(f"is beyond {VALUE_MAX}, the largest number that is exact")
    if number != round(number, VALUE_PLACES_MAX):
        raise ValueError(f"has more than {VALUE_PLACES_MAX} decimal places")
    return Decimal(decimal_text(number))  # 1e3 is 1000 from here on


def _read_duration(value: object) -> timedelta:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(
            f"must be a duration such as '90m', '6h', '30d' or '2w', not {_shown(value)}"
        )
    count, unit = int(found[1]), _UNITS[found[2]]
    if count * (unit // _UNITS["m"]) > timedelta(days=DURATION_DAYS_MAX) // _UNITS["m"]:
        raise ValueError(f"is longer than {DURATION_DAYS_MAX}d, the longest allowed")
    return count * unit


def duration_text(duration: timedelta) -> str:
    """Write a duration as the file has it, in the largest unit (up to days) that divides it.

    >>> duration_text(timedelta(hours=36)), duration_text(timedelta(weeks=2))
    ('36h', '14d')
    """
    unit = next(unit for unit in "dhm" if duration % _UNITS[unit] == timedelta(0))
    return f"{duration // _UNITS[unit]}{unit}"


def _read_time(value: object) -> time:
    if isinstance(value, time) and value.second == value.microsecond == 0:
        return value
    found = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"must be a time of day such as '09:00', not {_shown(value)}")
    return time(int(found[1]), int(found[2]))


def _over_zero(value: Amount) -> Amount:
    if value <= type(value)(0):
        raise ValueError("must be more than 0")
    return value


def _not_under_zero(value: Amount) -> Amount:
    if value < type(value)(0):
        raise ValueError("must not be less than 0")
    return value


def at_most(limit: Amount) -> AfterValidator:
    """Mark a number or a duration that must not be over a limit."""

    def check(value: Amount) -> Amount:
        if value > limit:
            text = duration_text(limit) if isinstance(limit, timedelta) else decimal_text(limit)
            raise ValueError(f"must be at most {text}")
        return value

    return AfterValidator(check)


def _check_zone(name: str) -> str:
    try:
        check_zone("zone", name)
    except InvalidEvent as error:
        raise ValueError(error.reason) from None
    return name


def _check_clock(name: str) -> str:
    return name if name == USERS_OWN_CLOCK else _check_zone(name)


def _check_attributes(attributes: dict[str, str]) -> dict[str, str]:
    try:
        UserFields(attributes=attributes)
    except InvalidEvent as error:
        raise ValueError(f"{error.field} {error.reason}") from None
    return attributes


def _check_sender(text: str) -> str:
    try:
        UserFields(email=parseaddr(text)[1])
    except InvalidEvent:
        raise ValueError(
            f"must be a sender such as 'Parlons <hello@example.org>', not {text!r}"
        ) from None
    return text


def _check_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must be an address such as 'https://app.example.org', not {text!r}")
    return text


def _check_color(text: str) -> str:
    if not _COLOR.fullmatch(text):
        raise ValueError(f"must be a colour such as '#2457d6', not {_shown(text)}")
    return text.lower()


def check_language(text: str) -> str:
    """Return a language's tag. Raises ValueError."""
    if not _LANGUAGE.fullmatch(text):
        raise ValueError(f"must be a language such as 'en' or 'pt-BR', not {_shown(text)}")
    return text


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


Name = Annotated[str, Strict(), AfterValidator(check_name)]
"""The name of a thing: it goes into addresses and Redis keys."""
Text = Annotated[str, Strict(), AfterValidator(_check_text)]
Flag = Annotated[bool, Strict()]
Day = Annotated[date, Strict()]
Number = Annotated[
    Decimal,
    BeforeValidator(_read_number),
    PlainSerializer(decimal_text, return_type=str, when_used="json"),
]
Positive = Annotated[Number, AfterValidator(_over_zero)]
NotNegative = Annotated[Number, AfterValidator(_not_under_zero)]
Percent = Annotated[NotNegative, at_most(Decimal(100))]
Count = Annotated[int, Strict(), Field(ge=1, le=COUNT_MAX)]
CountOrZero = Annotated[int, Strict(), Field(ge=0, le=COUNT_MAX)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
]
"""A whole number with `m`, `h`, `d` or `w`: minutes, hours, days of 24 hours, weeks of 7 days."""
PositiveDuration = Annotated[Duration, AfterValidator(_over_zero)]
TimeOfDay = Annotated[
    time,
    BeforeValidator(_read_time),
    PlainSerializer(lambda moment: f"{moment:%H:%M}", return_type=str, when_used="json"),
]
Zone = Annotated[str, Strict(), AfterValidator(_check_zone)]
Clock = Annotated[str, Strict(), AfterValidator(_check_clock)]
"""A zone, or `user`: each user's own."""
Attributes = Annotated[dict[str, str], AfterValidator(_check_attributes)]
Sender = Annotated[Text, AfterValidator(_check_sender)]
Url = Annotated[Text, AfterValidator(_check_url)]
Color = Annotated[str, Strict(), AfterValidator(_check_color)]
Language = Annotated[str, Strict(), AfterValidator(check_language)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
