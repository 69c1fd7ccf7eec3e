"""The `streakline` command."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from worker.cli import (
    achievements,
    backfills,
    checks,
    demo,
    doctor,
    emails,
    events,
    leaderboards,
    points,
    programs,
    report,
    servers,
    status,
    streaks,
    ticks,
    users,
    warehouse,
)
from worker.cli.console import WRONG_USE, err
from worker.outages import reason_of

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Streaks, points, levels, achievements and leaderboards from an app's events.",
)
app.command(rich_help_panel="Run")(servers.up)
app.command(rich_help_panel="Run")(demo.demo)
app.command(rich_help_panel="Run")(servers.worker)
app.command(rich_help_panel="Run")(servers.scheduler)
app.command(rich_help_panel="Run")(servers.web)
app.command(rich_help_panel="Look after it")(servers.migrate)
app.command(rich_help_panel="Look after it")(doctor.doctor)
app.command(rich_help_panel="Look after it")(status.status)
app.command(rich_help_panel="Look after it")(status.drain)
app.add_typer(programs.app, name="program", rich_help_panel="Rules and state")
app.add_typer(events.app, name="events", rich_help_panel="Rules and state")
app.add_typer(users.app, name="user", rich_help_panel="Rules and state")
app.add_typer(leaderboards.app, name="leaderboard", rich_help_panel="Rules and state")
app.command(rich_help_panel="Rules and state")(checks.explain)
app.command(rich_help_panel="Look after it")(checks.verify)
app.command(rich_help_panel="Look after it")(checks.recompute)
app.add_typer(warehouse.app, name="warehouse", rich_help_panel="Look after it")
app.command(rich_help_panel="Look after it")(report.report)
app.add_typer(emails.app, name="email", rich_help_panel="Look after it")
app.add_typer(backfills.app, name="backfill", rich_help_panel="Put right")
app.add_typer(ticks.app, name="tick", rich_help_panel="Look after it")
app.add_typer(streaks.app, name="streak", rich_help_panel="Put right")
app.add_typer(points.app, name="points", rich_help_panel="Put right")
app.add_typer(achievements.app, name="achievement", rich_help_panel="Put right")


def main() -> None:
    """Run the command; what is no bug of ours ends as one line that says the way out."""
    try:
        app()
    except Exception as error:
        reason = reason_of(error)
        if reason is None:
            raise
        err.print(f"[red]error:[/red] {escape(reason)}", soft_wrap=True)
        sys.exit(WRONG_USE)
