"""What stands at a place of a source, before and after it was judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streakline.contract import Event
from streakline.errors import StreaklineError


class SourceError(StreaklineError):
    """A source cannot be read at all; the message names it and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was read at a line, or row, that counts from 1; with a `reason` it cannot be used."""

    line: int
    data: Any = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A line that is not imported, and why; `row` is what stands there as far as it can be read."""

    file: str
    line: int
    reason: str
    row: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLine:
    """What a file tells about a user, checked, as the message carries it."""

    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event, with its key, and where it stands."""

    file: str
    line: int
    item: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """What is told about a user, and where it stands."""

    file: str
    line: int
    item: UserLine


Row = EventRow | UserRow | Refused
