"""`report`: what the warehouse knows of everybody, as a page with charts and tables, or as JSON."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, get_args

import typer

from models.program.values import Weekday
from models.rulebooks import NoProgram, read_history
from worker.cli.console import Json, fail, open_console_runtime, out, print_json

PAGE = "report.html"


def report(
    out_dir: Annotated[
        Path, typer.Option("--out", help="The folder of report.html; it is made if need be.")
    ] = Path("report"),
    until: Annotated[
        str | None, typer.Option(help="The last day that counts; without it, the last with events.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Active users, retention, streaks, points, achievements: a page, each figure defined."""
    last = None if until is None else _read_day(until)
    with open_console_runtime() as runtime:
        with runtime.engine.connect() as connection:
            history = read_history(connection)
        if not history:
            raise NoProgram
        app = history[-1].program.app
        control = app.control_group_percent
        found = runtime.questions.ask(
            "report",
            # Texts: the question may travel to the process that has the warehouse.
            until=None if last is None else last.isoformat(),
            control_percent=f"{control}" if control else None,
            week_starts_on=get_args(Weekday).index(app.week_starts_on),
        )
    if as_json:
        print_json(found)
        return
    from worker.reporting.page import render_page  # jinja2 and plotly, for this command alone

    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / PAGE
    path.write_text(render_page(found, app.name), encoding="utf-8")
    out.print(str(path), soft_wrap=True)


def _read_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"--until {text!r} is not a date such as 2026-11-23")
