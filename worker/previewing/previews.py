"""The emails of a program, rendered with made-up variables."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from models.emails.rendering import Rendered, Renderer
from models.emails.samples import sample_variables
from models.emails.templates import Templates
from models.emails.variables import KINDS
from models.program import Program
from streakline.errors import StreaklineError


class PreviewError(StreaklineError, ValueError):
    """There is no such email; the message says which there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """An email of the program, or a kind of which the program has none."""

    name: str
    kind: str
    rendered: Rendered


def previewed_names(program: Program) -> dict[str, str]:
    """Return what can be previewed, with its kind: the program's emails, then all other kinds."""
    messages = program.emails.messages if program.emails else {}
    emails: dict[str, str] = {name: message.on for name, message in messages.items()}
    rest = {kind: kind for kind in KINDS if kind not in emails and kind not in emails.values()}
    return emails | rest


def render_preview(
    program: Program, templates: Templates, name: str, language: str | None = None
) -> Preview:
    """Return the preview of an email of the program, or of a kind.

    Of a kind of which the program has several emails it is the first one's. Raises PreviewError
    where there is neither, RenderError and TemplatesError.
    """
    messages = program.emails.messages if program.emails else {}
    email: str | None = name
    if name not in messages:
        if name not in KINDS:
            raise PreviewError(_unknown_text(name, [*messages, *KINDS]))
        email = next((one for one, message in messages.items() if message.on == name), None)
    kind = messages[email].on if email is not None else name
    variables = sample_variables(program, kind, email, language=language)
    rendered = Renderer(program, templates).render(variables, email=email)
    return Preview(name=name, kind=kind, rendered=rendered)


def _unknown_text(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(dict.fromkeys(known))}"
    return f"there is no email and no kind {name!r}; {hint}"
