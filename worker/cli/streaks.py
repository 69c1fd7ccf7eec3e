"""`streak grant|pause|amnesty|reset|restore`: dated facts with a reason (S24, S27)."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from jobs.change_users import (
    grant_freezes,
    pause_streaks,
    reset_streak,
    restore_streak,
)
from worker.cli.console import Json, fail, read_attributes
from worker.cli.orders import By, Change, Reason, UserId, change_many, change_one

app = typer.Typer(no_args_is_help=True, help="Hold, end and restore streaks.")

FREEZES_MAX = 1000
Streak = Annotated[str, typer.Argument(help="The streak's name in the program.")]
From = Annotated[str, typer.Option("--from", help="The first local date, such as 2026-11-23.")]
Until = Annotated[str, typer.Option("--until", help="The last local date, inclusive.")]
OfStreak = Annotated[str | None, typer.Option("--streak", help="One streak; without it, all.")]


@app.command()
def grant(
    user_id: UserId,
    streak: Streak,
    reason: Reason,
    freezes: Annotated[int, typer.Option(min=1, max=FREEZES_MAX, help="How many.")] = 1,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Give freezes; over the maximum is clipped."""
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: grant_freezes(
            runtime.engine, runtime.rulebooks, users, streak, freezes, order
        ),
        as_json,
    )


@app.command()
def pause(
    user_id: UserId,
    from_: From,
    until: Until,
    reason: Reason,
    streak: OfStreak = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Hold streaks on local dates: nothing need be done on them."""
    first, last = _read_date("--from", from_), _read_date("--until", until)
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: pause_streaks(
            runtime.engine, runtime.rulebooks, users, first, last, order, streak
        ),
        as_json,
    )


@app.command()
def amnesty(
    from_: From,
    until: Until,
    reason: Reason,
    user: Annotated[str | None, typer.Option(help="One user alone.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Users with this attribute, such as country=FR; repeat it."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="All users.")] = False,
    streak: OfStreak = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Make past dates pauses, for an outage say: chains that broke on them are whole again."""
    first, last = _read_date("--from", from_), _read_date("--until", until)
    if sum((user is not None, bool(where), everyone)) != 1:
        fail("say for whom: one of --user, --where and --everyone")

    change: Change = lambda runtime, users, order: pause_streaks(  # noqa: E731 - has a type so
        runtime.engine, runtime.rulebooks, users, first, last, order, streak
    )
    if user is not None:
        change_one(user, reason, by, change, as_json)
    else:
        change_many(read_attributes(where or [], "--where"), reason, by, change, as_json)


@app.command()
def reset(
    user_id: UserId, streak: Streak, reason: Reason, by: By = None, as_json: Json = False
) -> None:
    """End the chain now."""
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: reset_streak(
            runtime.engine, runtime.rulebooks, users, streak, order
        ),
        as_json,
    )


@app.command()
def restore(
    user_id: UserId, streak: Streak, reason: Reason, by: By = None, as_json: Json = False
) -> None:
    """Undo the latest break or reset, by an amnesty over the gap."""
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: restore_streak(
            runtime.engine, runtime.rulebooks, users, streak, order
        ),
        as_json,
    )


def _read_date(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"{option} {text!r} is not a date such as 2026-11-23")
