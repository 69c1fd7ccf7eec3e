"""`program check|apply|show`: the rules of the app."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.apply_program import apply_program
from models.emails.templates import TemplatesError
from models.program import Program, ProgramError, compare_programs, read_program
from models.rulebooks import NoProgram, read_history
from models.statements import programs as statements
from models.statements.users import count_stale
from streakline.contract import instant_text
from worker.cli.console import NO, Json, fail, load_settings, open_console_runtime, out, print_json
from worker.clock import utc_now
from worker.runtime import Runtime
from worker.templates import check_emails

app = typer.Typer(no_args_is_help=True, help="The rules of the app, as TOML.")

File = Annotated[
    Path | None, typer.Argument(help="The program's TOML; without it, STREAKLINE_PROGRAM.")
]


@app.command()
def check(file: File = None, as_json: Json = False) -> None:
    """Say whether a program can be used, and its emails; exit 1 if not."""
    settings = load_settings()
    path = file or settings.program
    try:
        program = read_program(path)
        check_emails(settings, program, path)
    except (ProgramError, TemplatesError) as error:
        if as_json:
            print_json({"ok": False, "problems": _problems(error)})
        fail(str(error), NO)
    if as_json:
        print_json({"ok": True, "digest": program.digest})
    else:
        out.print(f"{program.app.name}: ok")


@app.command("apply")
def apply_(file: File = None, as_json: Json = False) -> None:
    """Put a program into force as the next version; one that says the same changes nothing."""
    with open_console_runtime() as runtime:
        path = file or runtime.settings.program
        program = read_program(path)
        changes, version, is_new = apply_file(runtime, program, path)
        with runtime.engine.connect() as connection:
            stamp = runtime.rulebooks.current(connection).stamp
            waiting = count_stale(connection, stamp)
    if as_json:
        print_json(
            {
                "version": version,
                "new": is_new,
                "changes": changes,
                "users_to_recompute": waiting,
            }
        )
        return
    what = "is now in force" if is_new else "is in force already; nothing changed"
    out.print(f"{program.app.name}: version {version} {what}")
    for change in changes:
        out.print(f"  {change}", soft_wrap=True)
    if waiting:
        out.print(
            f"{waiting} users will be folded anew in the background; what they have completed "
            "already is backdated, silently.",
        )


@app.command()
def show(as_json: Json = False) -> None:
    """Print the program in force as it was applied."""
    with open_console_runtime() as runtime, runtime.engine.connect() as connection:
        stored = statements.read_programs(connection)
    if not stored:
        raise NoProgram
    latest = stored[-1]
    if as_json:
        print_json(
            {"version": latest.version, "applied_at": latest.applied_at, "toml": latest.toml}
        )
        return
    out.print(f"# version {latest.version}, applied {instant_text(latest.applied_at)}")
    typer.echo(latest.toml, nl=not latest.toml.endswith("\n"))


def apply_file(runtime: Runtime, program: Program, path: Path) -> tuple[list[str], int, bool]:
    """Put a program into force; return what it changed, its version, and whether it is new.

    Raises TemplatesError where its emails could not be written.
    """
    check_emails(runtime.settings, program, path)
    with runtime.engine.connect() as connection:
        history = read_history(connection)
    changes = compare_programs(history[-1].program if history else None, program)
    applied = apply_program(runtime.engine, program, path.read_text("utf-8"), utc_now())
    return [str(change) for change in changes], applied.version, applied.is_new


def _problems(error: ProgramError | TemplatesError) -> list[dict[str, Any]]:
    errors = error.errors if isinstance(error, TemplatesError) else (error,)
    return [asdict(problem) | {"file": one.source} for one in errors for problem in one.problems]
