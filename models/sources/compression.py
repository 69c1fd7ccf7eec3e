"""Files that may be compressed with gzip or zstd; which is told by how they begin."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from models.sources.records import SourceError

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading raises where a compressed file breaks off or is damaged, zstd left out."""


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file as it was before it was compressed. Raises OSError."""
    with path.open("rb") as file:
        begins = file.read(len(ZSTD_MAGIC))
    if begins.startswith(GZIP_MAGIC):
        return cast(BinaryIO, gzip.open(path, "rb"))
    if begins == ZSTD_MAGIC:
        import pyarrow  # type: ignore[import-untyped] # has no types

        stream = pyarrow.input_stream(str(path), compression="zstd")
        return cast(BinaryIO, io.BufferedReader(stream))
    return path.open("rb")


def broken_off(path: Path, error: Exception) -> str:
    """Return the reason where a compressed file breaks off. Raises SourceError for another error.

    Of zstd a break is an OSError without a number: no system call has failed.
    """
    if isinstance(error, OSError) and error.errno is not None:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    return f"the compressed file breaks off here ({error}); what came before was read"
