"""Which time zones are installed: those of the machine, or, where it has none, of the package."""

from __future__ import annotations

import zoneinfo
from pathlib import Path

import tzdata  # type: ignore[import-untyped] # it has no types

VERSION_FILES = ("tzdata.zi", "+VERSION")
"""Where systems keep the version: behind `# version ` in the first line, or alone in it."""


def tzdata_version() -> str:
    """Return the version of the zones that this process uses, such as `2026f`.

    Where a machine's own do not tell theirs it is that of the package.
    """
    for place in map(Path, zoneinfo.TZPATH):
        for name in VERSION_FILES:
            if (place / name).is_file():
                with (place / name).open(encoding="utf-8") as lines:
                    return lines.readline().removeprefix("# version").strip()
    return str(tzdata.IANA_VERSION)
