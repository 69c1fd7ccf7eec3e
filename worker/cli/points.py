"""`points adjust`: give points, or take some, with a reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import typer

from jobs.change_users import adjust_points
from streakline.errors import InvalidEvent
from streakline.fields import read_value
from worker.cli.console import Json, fail
from worker.cli.orders import By, Reason, UserId, change_one

app = typer.Typer(no_args_is_help=True, help="Put points right.")


@app.callback()
def _points() -> None:
    """Keep `adjust` a command of its own: Typer would make the only one the group itself."""


@app.command(context_settings={"ignore_unknown_options": True})
def adjust(
    user_id: UserId,
    points: Annotated[str, typer.Argument(help="The points system's name in the program.")],
    amount: Annotated[str, typer.Argument(help="How many, such as 50 or -20.")],
    reason: Reason,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Add an entry to a user's ledger."""
    value = _read_amount(amount)
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: adjust_points(
            runtime.engine, runtime.rulebooks, users, points, value, order
        ),
        as_json,
    )


def _read_amount(text: str) -> Decimal:
    try:
        return read_value(text)
    except InvalidEvent as error:
        fail(f"amount: {error.reason}")
