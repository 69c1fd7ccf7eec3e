"""JSON in the shapes of the interface: decimals and instants as texts."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from streakline.contract import decimal_text, instant_text


def plain(value: Any) -> Any:
    """Return what stands for a value that JSON does not know. Raises TypeError for any other."""
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
