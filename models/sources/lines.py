"""Records from JSON lines, each judged for itself, plain or compressed.

What stands after the point at which a compressed file breaks off is lost to us, and that is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from models.sources.compression import BROKEN, broken_off, open_decompressed
from models.sources.records import Record, SourceError

LINE_BYTES_MAX = 1 << 20
"""An event is at most some 6 KiB; a longer line is no event, and is not read into memory whole."""
SHOWN_CHARACTERS_MAX = 1_000
"""Of a line that is no JSON, as it is kept among those refused."""


def read_lines(path: Path) -> Iterator[Record]:
    """Read a value of JSON from each line that is not blank. Raises SourceError."""
    number = 0
    try:
        with closing(open_decompressed(path)) as file:
            while line := begin_line(file):
                number += 1
                if is_too_long(file, line):
                    yield long_line(number, line)
                elif line.strip():
                    yield _read_line(number, line)
    except (*BROKEN, OSError) as error:
        yield Record(line=number + 1, reason=broken_off(path, error))


def count_lines(path: Path) -> int:
    """Count the lines of a file, as far as it can be read. Raises SourceError."""
    lines = 0
    try:
        with closing(open_decompressed(path)) as file:
            while piece := file.read(LINE_BYTES_MAX):
                lines += piece.count(b"\n")
    except (*BROKEN, OSError) as error:
        broken_off(path, error)
    return lines


def _read_line(number: int, line: bytes) -> Record:
    try:
        return Record(line=number, data=json.loads(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start + 1})"
    except json.JSONDecodeError as error:
        reason = f"is no JSON: {error.msg} at column {error.colno}"
    except RecursionError as error:
        reason = str(error)
    except ValueError as error:  # such as a number of more digits than Python reads
        reason = f"is no JSON that can be read: {error}"
    return Record(line=number, data=shown_line(line), reason=reason)


def shown_line(line: bytes) -> str:
    """Return a line that cannot be read, so that a person finds it and Postgres can keep it."""
    text = line[:SHOWN_CHARACTERS_MAX].decode(errors="backslashreplace").rstrip("\r\n")
    return text.replace("\x00", "\\x00")


def begin_line(file: BinaryIO) -> bytes:
    """Return the next line, of one that is too long how it begins; nothing at the end."""
    return file.readline(LINE_BYTES_MAX)


def is_too_long(file: BinaryIO, line: bytes) -> bool:
    """Tell whether a line was only begun, and read over the rest of it."""
    if line.endswith(b"\n") or len(line) < LINE_BYTES_MAX:
        return False
    while (rest := begin_line(file)) and not rest.endswith(b"\n"):
        pass
    return True


def long_line(number: int, line: bytes) -> Record:
    """Return what stands for a line that is too long."""
    reason = f"is longer than {LINE_BYTES_MAX} bytes"
    return Record(line=number, data=shown_line(line), reason=reason)


def check_readable(path: Path) -> None:
    """Raise SourceError where a path is no file that can be read."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
