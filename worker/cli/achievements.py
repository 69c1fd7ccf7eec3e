"""`achievement complete`: the word that a manual achievement waits for (S34)."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.change_users import complete_achievement
from worker.cli.console import Json
from worker.cli.orders import By, Reason, UserId, change_one

app = typer.Typer(no_args_is_help=True, help="Complete achievements by hand.")


@app.callback()
def _achievements() -> None:
    """Keep `complete` a command of its own: Typer would make the only one the group itself."""


@app.command()
def complete(
    user_id: UserId,
    key: Annotated[str, typer.Argument(help="The achievement's name in the program.")],
    reason: Reason,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Complete an achievement with `on = "manual"`."""
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: complete_achievement(
            runtime.engine, runtime.rulebooks, users, key, order
        ),
        as_json,
    )
