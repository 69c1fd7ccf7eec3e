"""Events and users from files of JSON lines, plain or compressed with gzip.

Every line is judged for itself: what is wrong with one is told with its file and number, and the
next one is read. What stands after the point at which a compressed file breaks off is lost to us,
and that is told as well.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from streakline.contract import Event, UserFields
from streakline.errors import InvalidEvent, StreaklineError
from streakline.fields import check_text, shown

LINE_BYTES_MAX = 1 << 20
"""An event is at most some 6 KiB; a longer line is no event, and is not read into memory whole."""
GZIP_MAGIC = b"\x1f\x8b"

Read = TypeVar("Read")


class SourceError(StreaklineError):
    """A source cannot be read at all; the message names it and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A line that was not imported, and why; `line` counts from 1."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLine:
    """What a file tells about a user, checked, as the message carries it."""

    data: dict[str, Any]


def read_events(path: Path) -> Iterator[Event | Refused]:
    """Read events, one a line, in the shape of the wire. Raises SourceError.

    A line without `key` gets one made of its content and of how many lines like it came before in
    the file, so that the same file gives the same keys. One without `occurred_at` happens when it
    is imported for the first time: an instant left to default is not content (S11).
    """
    like_it: Counter[bytes] = Counter()

    def event(data: Any) -> Event:
        read = Event.from_json(data)
        if read.key is not None:
            return read
        like_it[read.fingerprint] += 1
        key = f"line-{read.fingerprint.hex()}-{like_it[read.fingerprint]}"
        return Event.from_json(read.to_json() | {"key": key})

    return _read_lines(path, event)


def read_users(path: Path) -> Iterator[UserLine | Refused]:
    """Read users, one a line: `user_id` and fields as in an event's `user`. Raises SourceError."""

    def user(data: Any) -> UserLine:
        if not isinstance(data, dict):
            raise InvalidEvent("user", f"must be an object with fields, not {shown(data)}")
        check_text("user_id", data.get("user_id"))
        told = {name: value for name, value in data.items() if name != "user_id"}
        fields = UserFields.from_json(told).to_json()
        return UserLine(data={"user_id": data["user_id"], **fields})

    return _read_lines(path, user)


def count_lines(path: Path) -> int:
    """Count the lines of a file, as far as it can be read. Raises SourceError."""
    lines = 0
    try:
        with path.open("rb") as raw, closing(_decompressed(raw)) as file:
            while piece := file.read(LINE_BYTES_MAX):
                lines += piece.count(b"\n")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return lines
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    return lines


def _read_lines(path: Path, read: Callable[[Any], Read]) -> Iterator[Read | Refused]:
    number = 0
    try:
        with path.open("rb") as raw, closing(_decompressed(raw)) as file:
            while line := file.readline(LINE_BYTES_MAX):
                number += 1
                if not line.endswith(b"\n") and len(line) == LINE_BYTES_MAX:
                    _skip_rest(file)
                    yield _refused(path, number, f"is longer than {LINE_BYTES_MAX} bytes")
                elif line.strip():
                    yield _read_line(path, number, line, read)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = f"the compressed file breaks off here ({error}); what came before was read"
        yield _refused(path, number + 1, reason)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_line(path: Path, number: int, line: bytes, read: Callable[[Any], Read]) -> Read | Refused:
    try:
        return read(json.loads(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        return _refused(path, number, f"is not UTF-8 (byte {error.start + 1})")
    except json.JSONDecodeError as error:
        return _refused(path, number, f"is no JSON: {error.msg} at column {error.colno}")
    except (InvalidEvent, RecursionError) as error:
        return _refused(path, number, str(error))
    except ValueError as error:  # such as a number of more digits than Python reads
        return _refused(path, number, f"is no JSON that can be read: {error}")


def _decompressed(file: BinaryIO) -> BinaryIO:
    is_gzip = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_gzip else file


def _skip_rest(file: BinaryIO) -> None:
    while (rest := file.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
        pass


def _refused(path: Path, number: int, reason: str) -> Refused:
    return Refused(file=str(path), line=number, reason=reason)
