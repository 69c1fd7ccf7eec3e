"""How often the same content came: of any number of lines in a bounded memory."""

from __future__ import annotations

import sqlite3

CACHE_KILOBYTES = 16_000
"""What is kept in memory; the rest lies in a temporary file, which goes with it."""

_MAKE = "create table counted (content blob primary key, times integer not null) without rowid"
_ADD = "insert or ignore into counted values (?, 1)"
_COUNT = "update counted set times = times + 1 where content = ?"
_READ = "select times from counted where content = ?"


class Repeats:
    """Counts contents by their fingerprints; of one thread."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # SQLite's name for such a file
        self._database.execute(f"pragma cache_size = -{CACHE_KILOBYTES}")
        self._database.execute("pragma journal_mode = off")
        self._database.execute(_MAKE)
        self._database.execute("begin")

    def count(self, fingerprint: bytes) -> int:
        """Return how often it came by now, this time included."""
        asked = (fingerprint,)
        if self._database.execute(_ADD, asked).rowcount:
            return 1
        self._database.execute(_COUNT, asked)
        times: int = self._database.execute(_READ, asked).fetchone()[0]
        return times

    def close(self) -> None:
        """Forget all."""
        self._database.close()
