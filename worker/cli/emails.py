"""`email preview`: what the emails look like, in files or in a browser."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from models.emails.templates import Templates
from models.program import Program, read_program
from worker.cli.console import load_settings, out
from worker.previewing.previews import Preview, previewed_names, render_preview
from worker.previewing.server import Previews, serving_previews, watched_files
from worker.settings import Settings
from worker.templates import check_emails, load_own_templates, templates_folder

app = typer.Typer(no_args_is_help=True, help="The emails that go out.")

PORT = 8025


@app.callback()
def emails() -> None:
    """Group the commands about emails, were there only one."""


@app.command()
def preview(
    kind: Annotated[
        str | None,
        typer.Argument(help="A kind, or an email of the program by its name; without it, all."),
    ] = None,
    language: Annotated[str | None, typer.Option(help="The reader's language: de, pt-BR.")] = None,
    out_dir: Annotated[
        Path, typer.Option("--out", help="The folder for the files; it is made if need be.")
    ] = Path("emails"),
    open_: Annotated[bool, typer.Option("--open", help="Open the HTML in a browser.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show all in a browser, anew after each change.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 is any free.")] = PORT,
) -> None:
    """Write emails with made-up data as HTML and text, or show them all and follow changes."""
    settings = load_settings()
    if serve:
        _serve(settings, port, open_)
        return
    program, templates = _load(settings)
    names = [kind] if kind is not None else list(previewed_names(program))
    for found in [render_preview(program, templates, name, language) for name in names]:
        path = _write(found, out_dir)
        if open_:
            webbrowser.open(path.resolve().as_uri())


def _load(settings: Settings) -> tuple[Program, Templates]:
    program = read_program(settings.program)
    check_emails(settings, program, settings.program)
    return program, load_own_templates(settings, program, settings.program)


def _write(found: Preview, out_dir: Path) -> Path:
    """Write an email as two files, print their paths, and return that of the HTML."""
    out_dir.mkdir(parents=True, exist_ok=True)
    html, text = out_dir / f"{found.name}.html", out_dir / f"{found.name}.txt"
    html.write_text(found.rendered.html, encoding="utf-8")
    text.write_text(f"{found.rendered.subject}\n\n{found.rendered.text}", encoding="utf-8")
    out.print(f"{html}\n{text}", soft_wrap=True)
    return html


def _serve(settings: Settings, port: int, open_: bool) -> None:
    previews = Previews(
        load=lambda: _load(settings),
        watched=lambda: watched_files(
            settings.program, templates_folder(settings, settings.program)
        ),
    )
    with serving_previews(previews, port) as url:
        out.print(f"{url} (Ctrl-C ends it)", soft_wrap=True)
        if open_:
            webbrowser.open(url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
