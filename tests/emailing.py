"""A program with an email of every kind, and templates written for one test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from models.emails.checking import check_templates
from models.emails.rendering import Rendered, Renderer
from models.emails.samples import sample_variables
from models.emails.templates import load_templates
from models.emails.variables import EmailVariables
from models.program import Program, load_program

PROGRAM = """
[app]
name = "Rowing & Co"
link_url = "https://row.example.org/app"

[metrics.metres]
[streaks.daily]
frequency = "daily"
metrics = { metres = 2000 }
milestones = [7, 30]
freezes = { max = 2, start = 1 }
[streaks.monthly]
frequency = "monthly"
metrics = { metres = 90000 }
[points.pulls.triggers.rowed]
on = "metric"
metric = "metres"
points = 3
[[points.pulls.levels]]
key = "novice"
at = 0
[[points.pulls.levels]]
key = "oar"
at = 1000
[[points.pulls.levels]]
key = "stroke"
at = 5000
[achievements.first]
on = "metric"
metric = "metres"
at = 1
[leaderboards.weekly]
rank_by = { metric = "metres" }
period = "week"

[emails]
from = "Rowing <crew@example.org>"
logo_url = "https://row.example.org/logo.png"
color = "#0b7285"
[emails.reminder]
on = "streak-reminder"
streak = "daily"
subject = "{{ streak.length }} days, {{ user.name or 'rower' }}"
[emails.lost]
on = "streak-lost"
streak = "monthly"
[emails.held]
on = "freeze-used"
streak = "daily"
[emails.mark]
on = "milestone"
streak = "daily"
[emails.achieved]
on = "achievement"
[emails.up]
on = "level"
points = "pulls"
[emails.week]
on = "recap"
every = "week"
[emails.back]
on = "inactive"
[emails.podium]
on = "leaderboard-finished"
leaderboard = "weekly"
"""
EMAILS = {
    "reminder": "streak-reminder",
    "lost": "streak-lost",
    "held": "freeze-used",
    "mark": "milestone",
    "achieved": "achievement",
    "up": "level",
    "week": "recap",
    "back": "inactive",
    "podium": "leaderboard-finished",
}


def rowing(text: str = PROGRAM) -> Program:
    return load_program(text, source="rowing.toml")


def sample(email: str, **user: Any) -> EmailVariables:
    """Return the sample of an email, with the fields of its user changed."""
    found = sample_variables(rowing(), EMAILS[email], email)
    return replace(found, user=replace(found.user, **user))


def render(email: str, folder: Path | None = None, *, seed: str = "", **user: Any) -> Rendered:
    renderer = Renderer(rowing(), load_templates(folder))
    return renderer.render(sample(email, **user), email=email, seed=seed)


def problems(folder: Path | None, text: str = PROGRAM) -> list[tuple[str, int | None, str, str]]:
    """Return the file, line, place and text of everything that is wrong."""
    program = rowing(text)
    errors = check_templates(program, load_templates(folder), source="rowing.toml", text=text)
    return [
        (Path(error.source).name, one.line, one.place, one.text)
        for error in errors
        for one in error.problems
    ]
