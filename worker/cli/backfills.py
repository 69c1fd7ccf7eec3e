"""`backfill list|show|watch|pause|resume|cancel|throttle|refused`, and `start` with its kinds."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from jobs.backfills import (
    ACTIVE,
    Backfill,
    By,
    Context,
    NotPossible,
    cancel_backfill,
    pause_backfill,
    resume_backfill,
    throttle_backfill,
)
from jobs.backfills.showing import show_backfill, summary
from models.statements.backfills import LISTED_MAX, list_backfills
from models.statements.staged import read_refusals
from worker.cli import backfill_kinds
from worker.cli.backfill_kinds import Actor, Why
from worker.cli.console import NO, Json, err, open_console_runtime, out, print_json, refuse, when
from worker.clock import utc_now
from worker.runtime import Runtime

app = typer.Typer(no_args_is_help=True, help="What is done to the past: watched, stopped, resumed.")
app.add_typer(backfill_kinds.app, name="start")

POLL_SECONDS = 0.25
BackfillId = Annotated[int, typer.Argument(help="The number that `start` printed.")]
Change = Callable[[Context, By], Backfill]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = LISTED_MAX,
    as_json: Json = False,
) -> None:
    """List backfills, newest first."""
    with open_console_runtime() as runtime, runtime.engine.connect() as connection:
        found = list_backfills(connection, limit)
    if as_json:
        shown = [{**summary(one), "dry_run": one.dry_run, "error": one.error} for one in found]
        print_json({"backfills": shown})
        return
    table = Table("id", Column("kind", no_wrap=True), "state", "done", "rows/s", "planned (UTC)")
    for one in found:
        table.add_row(
            str(one.backfill_id),
            one.kind,
            one.state.value + (" (dry run)" if one.dry_run else ""),
            f"{one.done} of {'?' if one.total is None else one.total}",
            "" if one.rate is None else f"{one.rate:.0f}",
            when(one.planned_at),
        )
    out.print(table)
    for one in found:
        if one.error is not None:
            out.print(f"backfill {one.backfill_id}: {one.error}")


@app.command()
def show(backfill_id: BackfillId, as_json: Json = False) -> None:
    """Show how far one is, what it changes with examples, and who did what."""
    with open_console_runtime() as runtime:
        print_backfill(_find(runtime, backfill_id, as_json), as_json)


@app.command()
def watch(backfill_id: BackfillId, as_json: Json = False) -> None:
    """Draw its progress until it ends or stops; exit 1 if it was not done then."""
    with open_console_runtime() as runtime:
        found = follow(runtime, backfill_id, as_json)
    print_backfill(found, as_json)
    if found["state"] != "done":
        raise typer.Exit(NO)


@app.command()
def pause(
    backfill_id: BackfillId, reason: Why = None, by: Actor = None, as_json: Json = False
) -> None:
    """Stop after the chunk that runs."""
    _change(
        backfill_id,
        reason,
        by,
        lambda context, who: pause_backfill(context, backfill_id, who, utc_now()),
        as_json,
    )


@app.command()
def resume(
    backfill_id: BackfillId, reason: Why = None, by: Actor = None, as_json: Json = False
) -> None:
    """Go on where it was paused or has failed."""
    _change(
        backfill_id,
        reason,
        by,
        lambda context, who: resume_backfill(context, backfill_id, who, utc_now()),
        as_json,
    )


@app.command()
def cancel(
    backfill_id: BackfillId, reason: Why = None, by: Actor = None, as_json: Json = False
) -> None:
    """Stop for good; what is done stays."""
    _change(
        backfill_id,
        reason,
        by,
        lambda context, who: cancel_backfill(context, backfill_id, who, utc_now()),
        as_json,
    )


@app.command()
def throttle(
    backfill_id: BackfillId,
    rate: Annotated[
        float | None, typer.Option(help="Rows a second at the most; left out: no limit.")
    ] = None,
    reason: Why = None,
    by: Actor = None,
    as_json: Json = False,
) -> None:
    """Hold it to so many rows a second."""
    _change(
        backfill_id,
        reason,
        by,
        lambda context, who: throttle_backfill(context, backfill_id, rate, who, utc_now()),
        as_json,
    )


@app.command()
def refused(
    backfill_id: BackfillId,
    file: Annotated[
        Path | None, typer.Option("--out", help="Write them there; left out: to the terminal.")
    ] = None,
) -> None:
    """Write what could not be used as JSON lines: file, line, reason, and the row."""
    with open_console_runtime() as runtime, runtime.engine.connect() as connection:
        _find(runtime, backfill_id, as_json=False)
        lines = (
            json.dumps(
                {"file": one.file, "line": one.line, "reason": one.reason, "row": one.body},
                ensure_ascii=False,
            )
            + "\n"
            for one in read_refusals(connection, backfill_id)
        )
        if file is None:
            sys.stdout.writelines(lines)
            return
        with file.open("w", encoding="utf-8") as opened:
            opened.writelines(lines)


def follow(runtime: Runtime, backfill_id: int, as_json: bool) -> dict[str, Any]:
    """Draw a backfill's progress until it is not active any more; return it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    active = {state.value for state in ACTIVE}
    with Progress(*columns, console=err, transient=True, disable=as_json) as bar:
        task = bar.add_task("", total=None, rate="")
        while True:
            found = _find(runtime, backfill_id, as_json)
            rate = found["rate"]
            bar.update(
                task,
                description=f"{found['kind']}, {found['state']}",
                completed=found["done"],
                total=found["total"],
                rate="" if rate is None else f"{rate:.0f} {found['unit']}/s",
            )
            if found["state"] not in active:
                return found
            time.sleep(POLL_SECONDS)


def print_backfill(found: dict[str, Any], as_json: bool) -> None:
    """Print a backfill in the shape of the interface, or for people."""
    if as_json:
        print_json(found)
        return
    total = "?" if found["total"] is None else found["total"]
    dry = " (dry run: nothing is changed)" if found["dry_run"] else ""
    out.print(f"backfill {found['id']}: {found['kind']}{dry}, {found['state']}")
    out.print(f"  {found['done']} of {total} {found['unit']}, {found['rate'] or 0:g} a second")
    if found["error"]:
        out.print(f"  error: {found['error']}")
    if found["refused"]:
        rows = "1 row" if found["refused"] == 1 else f"{found['refused']} rows"
        out.print(
            f"  {rows} could not be used: streakline backfill refused {found['id']} --out FILE",
            soft_wrap=True,
        )
    for one in found["actions"]:
        why = f": {one['reason']}" if one["reason"] else ""
        out.print(f"  {when(one['at'])} {one['action']} by {one['actor']}{why}")
    if not found["changes"]:
        return
    table = Table("what", "added", "removed", "changed", "for example")
    for name, change in sorted(found["changes"].items()):
        counts = [str(change.get(how, "")) for how in ("added", "removed", "changed")]
        sample = next(iter(change.get("samples", ())), None)
        table.add_row(name, *counts, json.dumps(sample, ensure_ascii=False) if sample else "")
    out.print(table)


def _change(
    backfill_id: int, reason: str | None, by: str | None, change: Change, as_json: bool
) -> None:
    with open_console_runtime() as runtime:
        who = By(actor=by or getpass.getuser(), reason=reason)
        try:
            backfill = change(runtime.backfills.context, who)
        except NotPossible as error:
            refuse(str(error), as_json)
        if backfill.state in ACTIVE:
            runtime.backfills.send(backfill)
        print_backfill(_find(runtime, backfill_id, as_json), as_json)


def _find(runtime: Runtime, backfill_id: int, as_json: bool) -> dict[str, Any]:
    found = show_backfill(runtime.engine, backfill_id)
    if found is None:
        refuse(f"there is no backfill {backfill_id}; see: streakline backfill list", as_json)
    return found
