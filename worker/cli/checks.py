"""`verify`, `explain`, `recompute`: is what is stored right, why is it so, and folding anew."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jobs import explain as explaining
from jobs.recompute_users import recompute_stale, recompute_users
from jobs.verify import Verified, count_users, every_id, verify_boards, verify_users
from models.folding import LedgerClosed
from models.rules.segments import segment_name
from streakline.contract import decimal_text, instant_text
from worker.cli.console import (
    NO,
    Json,
    err,
    open_console_runtime,
    out,
    print_json,
    read_when,
    refuse,
)
from worker.cli.orders import UserId
from worker.clock import utc_now

STEPS_SHOWN = 40
_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
)


def verify(
    sample: Annotated[
        int | None, typer.Option(min=1, help="So many users picked at random; without it, all.")
    ] = None,
    without_warehouse: Annotated[
        bool, typer.Option("--without-warehouse", help="Leave the warehouse out.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold users from nothing, rank boards, sum what is loaded; exit 1 where anything differs."""
    verified = Verified()
    with (
        open_console_runtime() as runtime,
        Progress(*_COLUMNS, console=err, transient=True, disable=as_json) as bar,
    ):
        task = bar.add_task("users", total=sample or count_users(runtime.engine))
        verify_users(
            runtime.engine,
            runtime.rulebooks,
            verified,
            sample=sample,
            progress=lambda done: bar.advance(task, done),
        )
        bar.update(task, description="boards")
        verify_boards(runtime.engine, runtime.rankings, runtime.rulebooks, verified)
        bar.update(task, description="warehouse")
        loaded = None if without_warehouse else runtime.questions.ask("compare")
    if as_json:
        print_json(_shape(verified, loaded))
    else:
        _print_verified(verified, loaded)
    if verified.user_mismatches or verified.board_mismatches or (loaded and loaded["mismatches"]):
        raise typer.Exit(NO)


def explain(
    user_id: UserId,
    what: Annotated[
        str,
        typer.Argument(
            help="points.xp, streak.daily, metric.lessons, achievement.scholar, "
            "leaderboard.weekly or leaderboard.weekly/2026-W48."
        ),
    ],
    as_of: Annotated[str | None, typer.Option(help="As of an instant in the past.")] = None,
    as_json: Json = False,
) -> None:
    """Derive what a user has from the facts, step by step."""
    with open_console_runtime() as runtime:
        try:
            found = explaining.explain(runtime.engine, user_id, what, utc_now(), read_when(as_of))
            reason = f"no user {user_id!r} was ever seen" if found is None else None
        except (explaining.Unexplained, LedgerClosed) as error:
            found, reason = None, str(error)
    if found is None:
        refuse(str(reason), as_json)
    if as_json:
        print_json(found)
    else:
        _print_explained(found)


def recompute(
    everyone: Annotated[
        bool, typer.Option("--everyone", help="All users, not only those that are due.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold anew whoever is due: new achievements are backdated, silently. Processes do so too."""
    with (
        open_console_runtime() as runtime,
        Progress(*_COLUMNS, console=err, transient=True, disable=as_json) as bar,
    ):
        task = bar.add_task("users", total=count_users(runtime.engine))
        if everyone:
            done = recompute_users(
                runtime.engine,
                runtime.rulebooks,
                bar.track(every_id(runtime.engine), task_id=task),
                utc_now(),
            )
        else:
            done = recompute_stale(
                runtime.engine,
                runtime.rulebooks,
                utc_now(),
                progress=lambda some: bar.advance(task, some),
            )
        runtime.projector.project()
    if as_json:
        print_json({"users": done})
    else:
        out.print(f"{done} users folded anew")


def _shape(verified: Verified, loaded: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "users_checked": verified.users_checked,
        "users_waiting": verified.users_waiting,
        "users_closed": verified.users_closed,
        "user_mismatches": verified.user_mismatches,
        "boards_checked": verified.boards_checked,
        "board_mismatches": verified.board_mismatches,
        "warehouse_compared": loaded["compared"] if loaded else 0,
        "warehouse_mismatches": loaded["mismatches"] if loaded else 0,
        "warehouse_unfinished": loaded["unfinished"] if loaded else [],
        "samples": [*verified.samples, *(loaded["samples"] if loaded else ())],
    }


def _print_verified(verified: Verified, loaded: dict[str, Any] | None) -> None:
    out.print(
        f"{verified.users_checked} users, {verified.user_mismatches} differ; "
        f"{verified.boards_checked} boards, {verified.board_mismatches} differ.",
    )
    if verified.users_waiting:
        out.print(
            f"{verified.users_waiting} users are to be folded anew first: streakline recompute",
        )
    if verified.users_closed:
        out.print(
            f"{verified.users_closed} users from their openings: earlier events have left Postgres",
        )
    if loaded is not None:
        compared, differ = loaded["compared"], loaded["mismatches"]
        out.print(f"warehouse: {compared} counts and sums by day, {differ} differ.")
        if loaded["unfinished"]:
            out.print(f"  not compared, being loaded: {', '.join(loaded['unfinished'])}")
    for sample in [*verified.samples, *(loaded["samples"] if loaded else ())]:
        out.print(", ".join(f"{name} {value}" for name, value in sample.items()))


def _print_explained(found: dict[str, Any]) -> None:
    shown_apart = {"user_id", "what", "steps", "value", "runs", "standings"}
    about = {
        name: value
        for name, value in found.items()
        if name not in shown_apart and value not in (None, {}, [])
    }
    out.print(f"{found['what']} of {found['user_id']}: {_text(found['value'])}")
    for name, value in about.items():
        out.print(f"  {name}: {_text(value)}")
    for standing in found.get("standings", ()):
        _print_standing(standing)
    steps = found["steps"]
    if not steps:
        return
    table = Table()
    columns = list(dict.fromkeys(name for step in steps for name in step))
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for step in steps[-STEPS_SHOWN:]:
        table.add_row(*(_text(step.get(name)) for name in columns))
    if len(steps) > STEPS_SHOWN:
        out.print(f"  the last {STEPS_SHOWN} of {len(steps)} steps; all with --json")
    out.print(table)


def _print_standing(standing: dict[str, Any]) -> None:
    out.print(
        f"  rank {standing['rank']} of {standing['participants']} "
        f"in {segment_name(standing['segment'])}: {standing['better']} with a better score, "
        f"{standing['earlier']} with the same one before"
    )
    for one in standing["ahead"]:
        reached = instant_text(one["reached_at"])
        out.print(f"    {one['rank']}. {one['user_id']}: {_text(one['score'])}, since {reached}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items() if inner != {})
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if hasattr(value, "as_tuple"):
        return decimal_text(value)
    if hasattr(value, "tzinfo"):
        return instant_text(value)
    return "" if value is None else str(value)
