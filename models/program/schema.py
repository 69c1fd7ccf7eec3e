"""The program as a whole: its sections, and the one spelling that all texts of it share."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from pydantic import Field, model_validator

from models.program.achievements import Achievement
from models.program.app import App, Metric
from models.program.emails import Emails
from models.program.leaderboards import Leaderboard
from models.program.points import PointsSystem
from models.program.streaks import Streak
from models.program.table import Table
from models.program.values import Name
from streakline.contract import zone_names


class Program(Table):
    """An app's rules. Made by `load_program`, which also checks what pydantic cannot."""

    app: App
    """The app as a whole."""
    metrics: dict[Name, Metric] = Field(default_factory=dict)
    """What is counted, by name."""
    streaks: dict[Name, Streak] = Field(default_factory=dict)
    """Streaks by name."""
    points: dict[Name, PointsSystem] = Field(default_factory=dict)
    """Points systems by name."""
    achievements: dict[Name, Achievement] = Field(default_factory=dict)
    """Achievements by name."""
    leaderboards: dict[Name, Leaderboard] = Field(default_factory=dict)
    """Leaderboards by name."""
    emails: Emails | None = None
    """Left out, no emails are sent."""

    @model_validator(mode="before")
    @classmethod
    def _default_clocks(cls, data: Any) -> Any:
        """Give the program's zone to every leaderboard with runs that names no clock."""
        boards = data.get("leaderboards") if isinstance(data, dict) else None
        if not isinstance(boards, dict):
            return data
        zone = _zone_of(data)
        return data | {"leaderboards": {key: _clocked(boards[key], zone) for key in boards}}

    def canonical(self) -> dict[str, Any]:
        """Return the program as JSON values in the file's own shape, without what is default.

        So a key that a later version adds changes nothing for programs that do not use it.
        """
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def canonical_json(self) -> str:
        """Return a text that is the same for every program of the same meaning."""
        data = self.canonical()
        return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text, in hexadecimal."""
        return sha256(self.canonical_json().encode()).hexdigest()


def _zone_of(data: dict[str, Any]) -> str:
    app = data.get("app")
    zone = app.get("timezone") if isinstance(app, dict) else None
    # An unknown zone is told once, where it stands, and not again for every leaderboard.
    return zone if isinstance(zone, str) and zone in zone_names() else "UTC"


def _clocked(board: Any, zone: str) -> Any:
    if isinstance(board, dict) and board.get("period") != "all":
        return {"clock": zone} | board
    return board
