"""How single fields are read, checked and written: texts, decimals, instants, zones, attributes.

`streakline.contract` is built of these and is where others import from. Every reader and check
raises InvalidEvent, which names the field and says what would be right. Nothing is rounded,
cut off or replaced quietly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from difflib import get_close_matches
from functools import cache, lru_cache
from re import compile as pattern
from zoneinfo import available_timezones

from streakline.errors import InvalidEvent

ID_LENGTH_MAX = 255
ATTRIBUTES_MAX = 20
ATTRIBUTES_BYTES_MAX = 4096
VALUE_PLACES_MAX = 4
VALUE_MAX = Decimal(2**53).scaleb(-VALUE_PLACES_MAX)
"""2**53 units of 0.0001: the largest number that a ranking holds exactly (a double has 53 bits)."""
TEXTS_CACHED_MAX = 1024
EMAIL_LENGTH_MAX = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets

_NUMBER = pattern(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_EMAIL = pattern(r"[^\s@<>,;\x00-\x1f\x7f]+@[^\s@<>,;\x00-\x1f\x7f]+")
_UNIT = Decimal(1).scaleb(-VALUE_PLACES_MAX)
# A context of our own: the caller's may have any precision, and rounds without a word.
_EXACT = Context(prec=40, traps=[Inexact, InvalidOperation])


def decimal_text(value: Decimal) -> str:
    """Write a decimal as JSON carries it: no exponent, no needless zeros.

    >>> decimal_text(Decimal("12.500")), decimal_text(Decimal("1E+2")), decimal_text(Decimal("-0"))
    ('12.5', '100', '0')
    """
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def instant_text(instant: datetime) -> str:
    """Write an aware instant as JSON carries it: ISO 8601 in UTC with `Z`.

    >>> instant_text(datetime(2026, 11, 23, 9, tzinfo=UTC))
    '2026-11-23T09:00:00Z'
    """
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return utc.isoformat().replace("+00:00", "Z")


def read_instant(field: str, text: object) -> datetime:
    """Read an instant with an offset. Raises InvalidEvent that names `field`."""
    if not isinstance(text, str):
        raise InvalidEvent(field, f"must be text such as 2026-11-23T09:00:00Z, not {shown(text)}")
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(
            field, f"{shown(text)} is not an instant such as 2026-11-23T09:00:00Z"
        ) from None
    return in_utc(field, instant)


def in_utc(field: str, instant: object) -> datetime:
    """Return an aware datetime in UTC; a naive one is refused, never guessed at."""
    if not isinstance(instant, datetime):
        raise InvalidEvent(field, f"must be a datetime, not {shown(instant)}")
    if instant.tzinfo is UTC:
        return instant
    if instant.utcoffset() is None:
        raise InvalidEvent(
            field, f"{instant.isoformat()} has no UTC offset; say which zone it is in"
        )
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent(field, f"{shown(instant.isoformat())} is out of range") from None


def read_value(value: object) -> Decimal:
    """Read a number of at most 4 places and at most VALUE_MAX, exactly (S10, S44)."""
    return _read_text(value) if isinstance(value, str) else _read_value(value)


@lru_cache(maxsize=TEXTS_CACHED_MAX)
def _read_text(value: str) -> Decimal:
    """Read a number as it comes on the wire, where most events carry one of a few."""
    return _read_value(value)


def _read_value(value: object) -> Decimal:
    number = _read_decimal(value)
    if not number.is_finite():
        raise InvalidEvent("value", f"{shown(value)} is not a number that can be counted")
    # copy_abs, because abs() would round to the caller's decimal context.
    if number.copy_abs() > VALUE_MAX:
        raise InvalidEvent("value", f"{shown(value)} is beyond {VALUE_MAX}, the largest exact one")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -VALUE_PLACES_MAX:
        try:
            return number.quantize(_UNIT, context=_EXACT)
        except Inexact:
            raise InvalidEvent(
                "value", f"{shown(value)} has more than {VALUE_PLACES_MAX} decimal places"
            ) from None
    return number


def check_text(field: str, text: object) -> None:
    """Raise InvalidEvent unless `text` is 1 to 255 characters that Postgres can store."""
    if not isinstance(text, str):
        raise InvalidEvent(field, f"must be text, not {shown(text)}")
    if not text:
        raise InvalidEvent(field, "must not be empty")
    if len(text) > ID_LENGTH_MAX:
        raise InvalidEvent(
            field, f"has {len(text)} characters; at most {ID_LENGTH_MAX} are allowed"
        )
    _check_storable(field, text)


def check_email(field: str, address: object) -> None:
    """Raise InvalidEvent unless `address` looks like one; only a delivery proves more."""
    if not (
        isinstance(address, str)
        and len(address) <= EMAIL_LENGTH_MAX
        and _EMAIL.fullmatch(address)
        and _is_storable(address)
    ):
        raise InvalidEvent(field, f"{shown(address)} is not an address like a@example.org")


def check_attributes(attributes: object) -> None:
    """Raise InvalidEvent unless these are at most 20 texts by name, 4 KiB of UTF-8 in all (S17)."""
    if not isinstance(attributes, (dict, Mapping)):  # the ABC alone takes ten times as long
        raise InvalidEvent("attributes", f"must map text to text, not be {shown(attributes)}")
    if len(attributes) > ATTRIBUTES_MAX:
        raise InvalidEvent(
            "attributes", f"are {len(attributes)}; at most {ATTRIBUTES_MAX} are allowed"
        )
    size_bytes = 0
    for name, value in attributes.items():
        check_text("attributes", name)
        if not isinstance(value, str):
            raise InvalidEvent(f"attributes.{name}", f"must be text, not {shown(value)}")
        _check_storable(f"attributes.{name}", value)
        size_bytes += len(name.encode()) + len(value.encode())
    if size_bytes > ATTRIBUTES_BYTES_MAX:
        raise InvalidEvent(
            "attributes", f"take {size_bytes} bytes; at most {ATTRIBUTES_BYTES_MAX} are allowed"
        )


def check_zone(field: str, name: object) -> None:
    """Raise InvalidEvent where `name` is no IANA zone, with the nearest one suggested (S6).

    Where the machine has no time-zone data at all nothing can be known, and every name passes.
    """
    zones = zone_names()
    if not isinstance(name, str):
        raise InvalidEvent(field, f"must be a zone such as Europe/Paris, not {shown(name)}")
    if not zones:
        check_text(field, name)
    elif name not in zones:
        raise InvalidEvent(field, f"unknown zone {shown(name)}{nearest(name, zones)}")


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones that this machine knows."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name nearest to `name`, or nothing.

    >>> nearest("lesons", ["lessons", "minutes"])
    "; did you mean 'lessons'?"
    """
    by_folded = {other.casefold(): other for other in sorted(known)}
    found = get_close_matches(name.casefold()[:ID_LENGTH_MAX], by_folded, n=1)
    return f"; did you mean {by_folded[found[0]]!r}?" if found else ""


def shown(value: object) -> str:
    """Return a value as an error shows it: never longer than a line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return Decimal(float.__repr__(value))  # a subclass (numpy's) may write itself otherwise
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value)
    raise InvalidEvent("value", f"{shown(value)} is not a number such as 1 or '2.5'")


def _check_storable(field: str, text: str) -> None:
    if not _is_storable(text):
        raise InvalidEvent(field, f"{shown(text)} has a character that no text can hold")


def _is_storable(text: str) -> bool:
    """Tell whether Postgres can store it: no NUL, no half of a surrogate pair."""
    if "\x00" in text:
        return False
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
