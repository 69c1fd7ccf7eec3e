"""What the commands that change users share: whom, why and who, and what comes of it."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from jobs.change_users import NotPossible, Order, find_users
from jobs.show_user import show_user
from worker.cli.console import open_console_runtime, out, print_json, refuse
from worker.cli.user_table import user_table
from worker.clock import utc_now
from worker.runtime import Runtime

UserId = Annotated[str, typer.Argument(help="The user's id, as events name it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the fact.")]
By = Annotated[str | None, typer.Option("--by", help="Who wants it; without it, who is logged in.")]
Change = Callable[[Runtime, Iterable[str], Order], None]


def change_one(user_id: str, reason: str, by: str | None, change: Change, as_json: bool) -> None:
    """Change a user, and print what the user has then."""
    with _ordering(reason, by, as_json) as (runtime, order):
        change(runtime, [user_id], order)
        runtime.projector.project()
        found = show_user(runtime.engine, runtime.rankings, user_id, utc_now())
    assert found is not None
    if as_json:
        print_json(found)
    else:
        out.print(user_table(found))


def change_many(
    attributes: dict[str, str], reason: str, by: str | None, change: Change, as_json: bool
) -> None:
    """Change the users of a segment, or everyone, and print how many that were."""
    with _ordering(reason, by, as_json) as (runtime, order):
        counted = _Counted(find_users(runtime.engine, runtime.rulebooks, attributes))
        change(runtime, counted, order)
        runtime.projector.project()
    if as_json:
        print_json({"users": counted.count})
    else:
        out.print(f"{counted.count} users")


class _Counted:
    """Users, counted as they go by."""

    def __init__(self, user_ids: Iterable[str]) -> None:
        self._user_ids = user_ids
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for user_id in self._user_ids:
            self.count += 1
            yield user_id


@contextmanager
def _ordering(reason: str, by: str | None, as_json: bool) -> Iterator[tuple[Runtime, Order]]:
    order = Order(actor=by or getpass.getuser(), reason=reason, given_at=utc_now())
    with open_console_runtime() as runtime:
        try:
            yield runtime, order
        except NotPossible as error:
            refuse(str(error), as_json)
