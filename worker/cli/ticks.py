"""`tick list|run`: the timetable, and one tick by hand."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from models.statements.ticks import read_last_runs
from streakline.contract import instant_text
from worker.cli.console import Json, fail, open_console_runtime, out, print_json, read_when, when
from worker.clock import utc_now
from worker.schedule import TICKS

app = typer.Typer(no_args_is_help=True, help="What the scheduler rings, and when.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the ticks: how often each rings, when it last ran, and when it rings next."""
    now = utc_now()
    with open_console_runtime() as runtime, runtime.engine.connect() as connection:
        last = read_last_runs(connection)
    if as_json:
        ticks = [
            {
                "name": tick.name,
                "every_seconds": tick.every.total_seconds(),
                "last": last.get(tick.name),
                "next": tick.next_slot(now),
            }
            for tick in TICKS
        ]
        print_json({"ticks": ticks})
        return
    table = Table("tick", "every", "last (UTC)", "next (UTC)")
    for tick in TICKS:
        every = f"{tick.every.total_seconds():g} s"
        table.add_row(tick.name, every, when(last.get(tick.name)), when(tick.next_slot(now)))
    out.print(table)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The tick's name, as `tick list` has it.")],
    now: Annotated[
        str | None, typer.Option("--now", help="Do what was due by this instant; not later ones.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Do here and now what a tick asks of workers; what is not due yet stays so."""
    present = utc_now()
    asked = read_when(now, "--now") or present
    if name not in {tick.name for tick in TICKS}:
        fail(f"there is no tick {name!r}; there are {', '.join(tick.name for tick in TICKS)}")
    instant = min(asked, present)
    with open_console_runtime() as runtime:
        done = dict(runtime.sweeps[name](instant))
        runtime.projector.project()
    if as_json:
        print_json({"tick": name, "now": instant, "done": done})
        return
    if instant < asked:
        out.print(f"{instant_text(asked)} has not come: what is due by now was done.")
    counts = ", ".join(f"{count} {what}" for what, count in done.items())
    out.print(f"{name} as of {instant_text(instant)}: {counts}")
