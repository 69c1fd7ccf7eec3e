"""How a user's state is shown to people."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from streakline.contract import decimal_text

CHAINS_SHOWN_MAX = 5


def user_table(found: dict[str, Any]) -> Table:
    """Return a user's state as a table for people."""
    table = Table(title=f"{found['user_id']} ({found['tz']})", show_header=False)
    for name, metric in found["metrics"].items():
        table.add_row(f"metric {name}", decimal_text(metric["total"]))
    for name, streak in found["streaks"].items():
        now = f"{streak['length']} now" + (", active" if streak["active"] else "")
        freezes = f"; freezes {streak['freezes']}" if streak["freezes"] else ""
        table.add_row(f"streak {name}", f"{now}; longest {streak['longest']}{freezes}")
        for chain in sorted(streak["history"], key=lambda item: -item["length"])[:CHAINS_SHOWN_MAX]:
            table.add_row("", f"{chain['length']} from {chain['start']} to {chain['end']}")
    for name, points in found["points"].items():
        level = f", level {points['level']['key']}" if points["level"] else ""
        table.add_row(f"points {name}", f"{decimal_text(points['total'])}{level}")
    for one in found["achievements"]:
        table.add_row(f"achievement {one['key']}", f"{one['completed_at']:%Y-%m-%d %H:%M} UTC")
    for name, place in found["leaderboards"].items():
        table.add_row(f"leaderboard {name}", f"{place['rank']} of {place['participants']}")
    return table
