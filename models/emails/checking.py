"""What is wrong with the emails of a program before any is sent (S54).

Every email that the program sends, and every template in its folder, is read against what its kind
knows, and then rendered with made-up variables: once with everything, once with everything left out
that may be missing. So a template that passes here is fit for every user.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from models.emails.blocks import TemplateTable
from models.emails.rendering import PROGRAM, Renderer, RenderError
from models.emails.samples import sample_variables, sparse_variables
from models.emails.templates import WORDS, Template, Templates, TemplatesError
from models.emails.variables import KINDS
from models.program.errors import Problem, ProgramError
from models.program.lines import Lines
from models.program.schema import Program


def check_templates(
    program: Program, templates: Templates, *, source: str, text: str
) -> list[ProgramError]:
    """Return what is wrong, an error for each file; nothing where all can be sent.

    `source` and `text` are the path and the text of the program's file, for its own subjects.
    """
    found: dict[tuple[str, str, str], tuple[str, Problem]] = {}
    for error in _errors(program, templates):
        for problem in error.problems:
            found.setdefault((error.source, problem.place, problem.text), (error.source, problem))
    lines = Lines(text) if any(where == PROGRAM for where, _ in found.values()) else None
    by_source: dict[str, list[Problem]] = {}
    for where, problem in found.values():
        if where == PROGRAM and lines is not None:
            line = lines.find(tuple(problem.place.split(".")))
            problem = Problem(place=problem.place, text=problem.text, line=line)
        by_source.setdefault(source if where == PROGRAM else where, []).append(problem)
    return [ProgramError(where, problems) for where, problems in by_source.items()]


def _errors(program: Program, templates: Templates) -> Iterator[ProgramError]:
    messages = program.emails.messages if program.emails else {}
    emails = {name: message.on for name, message in messages.items()}
    for template in templates.own.values():
        if template.name not in emails and template.name not in KINDS:
            text = _unknown_text(template.name, [*emails, *KINDS, WORDS])
            yield ProgramError(template.source, [Problem(place="", text=text)])
    for name, kind in emails.items():
        for language in _languages(templates, {name, kind}):
            yield from _try(program, templates, kind, name, language)
    for template in templates.own.values():
        if template.name in KINDS and template.name not in emails:
            yield from _try(program, templates, template.name, None, template.language)


def _languages(templates: Templates, names: set[str]) -> list[str | None]:
    """Return the languages in which an email is written, and none for the others."""
    own: list[Template[TemplateTable]] = list(templates.own.values())
    return [None, *sorted({one.language for one in own if one.language and one.name in names})]


def _try(
    program: Program, templates: Templates, kind: str, email: str | None, language: str | None
) -> Iterator[ProgramError]:
    renderer = Renderer(program, templates)
    full = sample_variables(program, kind, email, language=language)
    sparse = sparse_variables(program, kind, email, language=language)
    try:
        for variables in (full, sparse):
            renderer.render(variables, email=email)
    except TemplatesError as error:
        yield from error.errors
    except RenderError as error:
        missing = "for a user of whom little is known, " if variables is sparse else ""
        text = f"{missing}{error.reason}; guard what may be missing with an if"
        yield ProgramError(error.source, [Problem(place="", text=text)])


def _unknown_text(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known)}"
    return f"is called for no kind of email and no email of the program; {hint}"
