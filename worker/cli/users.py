"""`user show`: what a user has."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from jobs.show_user import show_user
from streakline.contract import decimal_text
from worker.cli.console import NO, Json, fail, open_console_runtime, out, print_json
from worker.clock import utc_now

app = typer.Typer(no_args_is_help=True, help="What a user has.")

CHAINS_SHOWN_MAX = 5


@app.callback()
def _user() -> None:
    """Keep `show` a command of its own: Typer would make the only one the group itself."""


@app.command()
def show(
    user_id: Annotated[str, typer.Argument(help="The user's id, as events name it.")],
    as_json: Json = False,
) -> None:
    """Print a user's metrics, streaks, points and places."""
    with open_console_runtime() as runtime:
        found = show_user(runtime.engine, runtime.rankings, user_id, utc_now())
    if found is None:
        reason = f"no user {user_id!r} was ever seen"
        if as_json:
            print_json({"error": reason})
        fail(reason, NO)
    if as_json:
        print_json(found)
    else:
        out.print(user_table(found))


def user_table(found: dict[str, Any]) -> Table:
    """Return a user's state as a table for people."""
    table = Table(title=f"{found['user_id']} ({found['tz']})", show_header=False)
    for name, metric in found["metrics"].items():
        table.add_row(f"metric {name}", decimal_text(metric["total"]))
    for name, streak in found["streaks"].items():
        now = f"{streak['length']} now" + (", active today" if streak["active"] else "")
        table.add_row(f"streak {name}", f"{now}; longest {streak['longest']}")
        for chain in sorted(streak["history"], key=lambda item: -item["length"])[:CHAINS_SHOWN_MAX]:
            table.add_row("", f"{chain['length']} from {chain['start']} to {chain['end']}")
    for name, points in found["points"].items():
        level = f", level {points['level']['key']}" if points["level"] else ""
        table.add_row(f"points {name}", f"{decimal_text(points['total'])}{level}")
    for name, place in found["leaderboards"].items():
        table.add_row(f"leaderboard {name}", f"{place['rank']} of {place['participants']}")
    return table
