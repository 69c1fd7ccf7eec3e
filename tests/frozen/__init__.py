"""Rows and messages as a release wrote them: every later version must read them as they are.

A file for each release, and never changed; `python -m tests.frozen NAME` writes the next one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What one release left behind.

    `tables` are rows at a `revision` of the migrations; `messages` wait on queues, each with its
    `queue` and `body`; `becomes` is what users have once those are applied, by the user's id, and
    `counts` how many events had each outcome by then.
    """

    release: str
    revision: str
    tables: dict[str, list[dict[str, Any]]]
    messages: list[dict[str, str]]
    becomes: dict[str, dict[str, Any]]
    counts: dict[str, int]

    def __str__(self) -> str:
        return self.release

    def write(self) -> Path:
        """Write the release's file; return it."""
        path = HERE / f"{self.release}.json"
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n", "utf-8")
        return path


def read_frozen() -> list[Frozen]:
    """Return what is kept of each release."""
    return [Frozen(**json.loads(path.read_text("utf-8"))) for path in sorted(HERE.glob("*.json"))]
