"""Numbers, dates and counted units in the words of a language, for templates (filters of Jinja).

A language is known by its tag (`de`, `pt-BR`); what is known of it is Unicode's CLDR, by babel.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Literal

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

MINUTES_PER_HOUR = 60
HOURS_PER_DAY = 24
CACHED_MAX = 4096

_LENGTHS: tuple[Literal["long"], Literal["short"]] = ("long", "short")
"""Where a language's long words are as its short ones, only these are written down."""
_UNITS = ("minute", "hour", "day", "week", "month", "year")


def read_locale(language: str) -> Locale:
    """Return what is known of a language. Raises ValueError for one that is unknown."""
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        raise ValueError(f"there is no language {language!r}; use a tag like 'de' or 'pt-BR'")  # noqa: B904 - babel's words add nothing


def filters(locale: Locale) -> dict[str, Callable[..., Any]]:
    """Return the filters that templates of a language may use."""
    functions: dict[str, Callable[..., Any]] = {
        "date": date_text,
        "day": day_text,
        "time": time_text,
        "weekday": weekday_text,
        "number": number_text,
        "percent": percent_text,
        "units": units_text,
        "plural": plural,
        "duration": duration_text,
    }
    return {name: partial(function, locale) for name, function in functions.items()}


def shown(locale: Locale, value: Any) -> Any:
    """Return what stands for a value in a text: nothing for none, numbers and dates in words."""
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | Decimal):
        return number_text(locale, value)
    if isinstance(value, datetime):
        return f"{day_text(locale, value)}, {time_text(locale, value)}"
    if isinstance(value, date):
        return day_text(locale, value)
    if isinstance(value, timedelta):
        return duration_text(locale, value)
    return value


@lru_cache(maxsize=CACHED_MAX)
def number_text(locale: Locale, value: int | float | Decimal) -> str:
    """Return a number with the language's separators.

    >>> number_text(read_locale("de"), Decimal("1234.5"))
    '1.234,5'
    """
    return format_decimal(value, locale=locale, decimal_quantization=isinstance(value, float))


def percent_text(locale: Locale, share: float | Decimal) -> str:
    """Return a share of 0 to 1 in percent.

    >>> percent_text(read_locale("en"), 0.624)
    '62%'
    """
    return format_percent(share, locale=locale)


@lru_cache(maxsize=CACHED_MAX)
def units_text(locale: Locale, count: int | Decimal, unit: str) -> str:
    """Return so many minutes, hours, days, weeks, months or years.

    >>> units_text(read_locale("en"), 1, "day"), units_text(read_locale("de"), 7, "day")
    ('1 day', '7 Tage')
    """
    if unit not in _UNITS:
        raise ValueError(f"units({unit!r}): must be one of {', '.join(_UNITS)}")
    named = f"duration-{unit}"
    for length in _LENGTHS:
        text = format_unit(count, named, length, locale=locale)
        if named not in text:  # babel's way to say that it has no words
            return text
    return number_text(locale, count)


def duration_text(locale: Locale, duration: timedelta) -> str:
    """Return whole days, hours or minutes, of which at least that much is left.

    >>> duration_text(read_locale("en"), timedelta(hours=3, minutes=59))
    '3 hours'
    """
    minutes = max(0, duration // timedelta(minutes=1))
    hours = minutes // MINUTES_PER_HOUR
    if hours >= 2 * HOURS_PER_DAY:
        return units_text(locale, hours // HOURS_PER_DAY, "day")
    return units_text(locale, hours, "hour") if hours else units_text(locale, minutes, "minute")


def plural(locale: Locale, count: int, other: str, **forms: str) -> str:
    """Return the form of a word that goes with a count.

    >>> plural(read_locale("en"), 1, "friends", one="friend")
    'friend'
    """
    return forms.get(locale.plural_form(count), other)


@lru_cache(maxsize=CACHED_MAX)
def day_text(locale: Locale, day: date) -> str:
    """Return a date without its year.

    >>> day_text(read_locale("de"), date(2026, 11, 3))
    '3. November'
    """
    return format_skeleton("MMMMd", day, locale=locale)


def date_text(locale: Locale, day: date) -> str:
    """Return a date with its year.

    >>> date_text(read_locale("en"), date(2026, 11, 3))
    'November 3, 2026'
    """
    return format_date(day, "long", locale=locale)


def weekday_text(locale: Locale, day: date) -> str:
    """Return the day of the week.

    >>> weekday_text(read_locale("en"), date(2026, 11, 3))
    'Tuesday'
    """
    return format_date(day, "EEEE", locale=locale)


def time_text(locale: Locale, moment: datetime) -> str:
    """Return a time of day as it stands in the value, whatever its zone.

    >>> time_text(read_locale("de"), datetime(2026, 11, 3, 23, 30))
    '23:30'
    """
    # Unicode's narrow space is a box in many a mail reader.
    return format_time(moment.time(), "short", locale=locale).replace("\u202f", " ")


@lru_cache(maxsize=CACHED_MAX)
def period_text(locale: Locale, first: date, unit: str) -> str:
    """Return the label of a period in a calendar.

    >>> period_text(read_locale("en"), date(2026, 11, 3), "day")
    'Tue 3'
    """
    if unit == "day":
        return f"{format_date(first, 'EEE', locale=locale).rstrip('.')} {first.day}"
    if unit == "week":
        return format_skeleton("MMMd", first, locale=locale)
    return format_date(first, "LLL", locale=locale)
