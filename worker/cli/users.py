"""`user show|set|suspend|clear`: what a user has, and what operators say about them."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.change_users import set_fields, suspend_users
from jobs.show_user import show_user
from models.folding import LedgerClosed
from streakline.contract import UserFields
from streakline.errors import InvalidEvent
from worker.cli.console import (
    Json,
    fail,
    open_console_runtime,
    out,
    print_json,
    read_attributes,
    read_when,
    refuse,
)
from worker.cli.orders import By, Reason, UserId, change_one
from worker.cli.user_table import user_table
from worker.clock import utc_now

app = typer.Typer(no_args_is_help=True, help="What a user has, and what is known of them.")


@app.command()
def show(
    user_id: UserId,
    as_of: Annotated[
        str | None, typer.Option(help="As of an instant in the past, such as 2026-11-23T09:00:00Z.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a user's metrics, streaks, points, achievements and places."""
    instant = read_when(as_of)
    with open_console_runtime() as runtime:
        try:
            found = show_user(runtime.engine, runtime.rankings, user_id, utc_now(), instant)
        except LedgerClosed as error:
            refuse(str(error), as_json)
    if found is None:
        by = f" by {as_of}" if as_of else ""
        refuse(f"no user {user_id!r} was ever seen{by}", as_json)
    if as_json:
        print_json(found)
    else:
        out.print(user_table(found))


@app.command("set")
def set_(
    user_id: UserId,
    reason: Reason,
    tz: Annotated[str | None, typer.Option(help="The zone from now on.")] = None,
    email: Annotated[str | None, typer.Option(help="The address for emails.")] = None,
    name: Annotated[str | None, typer.Option(help="The name for emails.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="An attribute, such as plan=pro; repeat it.")
    ] = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Tell about a user what `identify` would, from now on."""
    attributes = read_attributes(attribute or [], "--attribute")
    try:
        fields = UserFields(tz=tz, email=email, name=name, attributes=attributes)
    except InvalidEvent as error:
        fail(str(error))
    if fields == UserFields():
        fail("nothing to set: name one of --tz, --email, --name, --attribute")
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: set_fields(
            runtime.engine, runtime.rulebooks, users, fields, order
        ),
        as_json,
    )


@app.command()
def suspend(user_id: UserId, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Take a user off all rankings; everything else goes on (S48)."""
    _suspend(user_id, True, reason, by, as_json)


@app.command()
def clear(user_id: UserId, reason: Reason, by: By = None, as_json: Json = False) -> None:
    """Let a suspended user return to the rankings."""
    _suspend(user_id, False, reason, by, as_json)


def _suspend(user_id: str, suspended: bool, reason: str, by: str | None, as_json: bool) -> None:
    change_one(
        user_id,
        reason,
        by,
        lambda runtime, users, order: suspend_users(
            runtime.engine, runtime.rulebooks, users, suspended, order
        ),
        as_json,
    )
