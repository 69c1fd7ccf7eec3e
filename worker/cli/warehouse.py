"""`warehouse reload`: everything anew, where the warehouse was lost."""

from __future__ import annotations

import typer

from worker.cli.console import Json, open_console_runtime, out, print_json

app = typer.Typer(no_args_is_help=True, help="What ClickHouse holds of Postgres.")


@app.callback()
def group() -> None:
    """Make a group of one command."""


@app.command()
def reload(as_json: Json = False) -> None:
    """Empty the warehouse's tables and load all of Postgres anew; the history of ranks stays.

    So do events, once some have left Postgres: the warehouse has them alone.
    """
    with open_console_runtime() as runtime:
        left = runtime.questions.ask("reload")
    if as_json:
        print_json({"reloading": True, "events_stay": bool(left)})
        return
    out.print("The warehouse is empty; the tick load-warehouse loads it: streakline drain")
    if left:
        out.print(f"But for events: {left} have left Postgres, so these stay as they are.")
