"""Where an app's own email templates are, and what is wrong with them before they are used."""

from __future__ import annotations

from pathlib import Path

from models.emails.checking import check_templates
from models.emails.templates import Templates, TemplatesError, load_templates
from models.program import Program
from models.program.emails import DEFAULT_LANGUAGE
from models.program.loading import read_text
from worker.settings import Settings

FOLDER = "templates"


def templates_folder(settings: Settings, program_path: Path) -> Path | None:
    """Return the folder of own templates: the one that is set, or `templates` by the program."""
    if settings.templates is not None:
        return settings.templates
    beside = program_path.parent / FOLDER
    return beside if beside.is_dir() else None


def load_own_templates(settings: Settings, program: Program, program_path: Path) -> Templates:
    """Return the templates that a program's emails are made of. Raises TemplatesError."""
    language = program.emails.language if program.emails else DEFAULT_LANGUAGE
    return load_templates(templates_folder(settings, program_path), language)


def check_emails(settings: Settings, program: Program, program_path: Path) -> None:
    """Raise TemplatesError with everything that is wrong with what a program would send."""
    errors = check_templates(
        program,
        load_own_templates(settings, program, program_path),
        source=str(program_path),
        text=read_text(program_path),
    )
    if errors:
        raise TemplatesError(errors)
