"""From a template and variables to an email: subject, HTML and plain text.

A template is compiled once, for one program and one language: that is where MJML is made, and where
what must not be written is refused. An email is then three fillings of compiled templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any

import jinja2

from models.emails.blocks import TemplateTable
from models.emails.cleaning import clean_text
from models.emails.expressions import find_faults
from models.emails.look import make_look
from models.emails.mjml import Page, write_html
from models.emails.plain import tidy, write_subject, write_text
from models.emails.reading import Found, check_table
from models.emails.sandbox import Sandbox, fields_of
from models.emails.sources import DRAW
from models.emails.templates import Template, Templates, TemplatesError
from models.emails.variables import KINDS, EmailVariables, app_variables
from models.emails.wording import read_locale
from models.program.errors import Problem, ProgramError
from models.program.schema import Program
from streakline.errors import StreaklineError

SUBJECT_LENGTH_MAX = 150
EMAIL_BYTES_MAX = 100 * 1024
"""Mail services cut longer HTML, with the link that unsubscribes at its end."""


PROGRAM = "the program"
"""The source of subjects that the program has, in errors."""


class RenderError(StreaklineError, ValueError):
    """An email cannot be made of a template and these variables; trying again will not help."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An email as it is read. `language` is the tag of the one it is written in."""

    subject: str
    html: str
    text: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    source: str
    language: str
    subject: jinja2.Template
    html: jinja2.Template
    text: jinja2.Template


class Renderer:
    """Renders the emails of one program. Keep it: it keeps what it has compiled.

    May be used from several threads: two may compile the same template, to the same end.
    """

    def __init__(self, program: Program, templates: Templates) -> None:
        self.program = program
        self._templates = templates
        self._compiled: dict[tuple[str, str | None, str, str], _Compiled] = {}

    def render(
        self, variables: EmailVariables, *, email: str | None = None, seed: str = ""
    ) -> Rendered:
        """Return an email in the language of its user (attribute `language`).

        `email` is its name in the program, which may have a subject and a template of its own;
        without one it is what its kind has. What is drawn follows `seed` alone: give the email's
        key, and the email that is sent again is the same. Raises RenderError, and TemplatesError
        where the template is not fit for the kind (which `check_templates` tells beforehand).
        """
        language = variables.user.attributes.get("language")
        template = self._templates.choose(variables.kind, email, language)
        compiled = self._compile(template, variables.kind, email)
        context: dict[str, Any] = {
            one.name: getattr(variables, one.name) for one in fields(variables)
        }
        context[DRAW] = _drawing(seed)
        try:
            subject = compiled.subject.render(context)
            html = compiled.html.render(context)
            text = tidy(compiled.text.render(context))
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError) as error:
            raise RenderError(compiled.source, f"{error}") from error
        size = len(html.encode())
        if size > EMAIL_BYTES_MAX:
            reason = f"the HTML has {size} bytes, and {EMAIL_BYTES_MAX} is the most; say less"
            raise RenderError(compiled.source, reason)
        return Rendered(
            subject=clean_text(subject, SUBJECT_LENGTH_MAX),
            html=html,
            text=text,
            language=compiled.language,
        )

    def _compile(
        self, template: Template[TemplateTable], kind: str, email: str | None
    ) -> _Compiled:
        key = (kind, email, template.source, template.language or "")
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self._compile_anew(template, kind, email)
        return found

    def _compile_anew(
        self, template: Template[TemplateTable], kind: str, email: str | None
    ) -> _Compiled:
        language = self._templates.language_of(template)
        locale, words = read_locale(language), self._templates.words(language)
        html, text = Sandbox(locale, escaped=True), Sandbox(locale, escaped=False)
        check: list[tuple[Template[Any], Iterator[Found]]] = [
            (template, check_table(template.table, text, KINDS[kind]))
        ]
        check += [(words, check_table(words.table, text))]
        errors = [
            ProgramError(one.source, problems)
            for one, found in check
            if (problems := [one.problem(loc, fault) for loc, fault in found])
        ]
        subject = own_subject(self.program, self._templates, template, email)
        if subject is not None:
            faults = find_faults(text, subject, fields_of(KINDS[kind]))
            problems = [Problem(place=f"emails.{email}.subject", text=fault) for fault in faults]
            errors += [ProgramError(PROGRAM, problems)] if problems else []
        if errors:
            raise TemplatesError(errors)
        table = template.table
        if subject is not None:
            table = table.model_copy(update={"subject": (subject,)})
        page = Page(
            app=app_variables(self.program),
            look=make_look(app_variables(self.program).color),
            words=words.table,
            locale=locale,
        )
        return _Compiled(
            source=template.source,
            language=language,
            subject=text.from_string(write_subject(table)),
            html=html.from_string(write_html(table, page, html)),
            text=text.from_string(write_text(table, page)),
        )


def own_subject(
    program: Program, templates: Templates, template: Template[TemplateTable], email: str | None
) -> str | None:
    """Return the subject that the program has for an email, if it is to stand over a template.

    It is in the program's language, and stands only over a template in that.
    """
    messages = program.emails.messages if program.emails else {}
    message = messages.get(email) if email is not None else None
    if message is None or templates.language_of(template).lower() != templates.language.lower():
        return None
    return message.subject


def _drawing(seed: str) -> Callable[[int, int], int]:
    def draw(point: int, choices: int) -> int:
        digest = blake2b(f"{point} {seed}".encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(digest) % choices

    return draw
