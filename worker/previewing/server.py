"""All emails in a browser: narrow and wide, light and dark, anew when a file changes.

It listens on 127.0.0.1 alone, answers nobody who calls it by another name (a page elsewhere could
give one to this address), and shows made-up data. Scripts run in its own page alone. What is wrong
with the program or a template is shown in place of the emails, and goes when it is put right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from models.emails.templates import SUFFIXES, Templates
from models.program import Program, ProgramError
from streakline.errors import StreaklineError
from worker.listening import listening
from worker.previewing.previews import PreviewError, previewed_names, render_preview

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"
NAMES = frozenset({HOST, "localhost"})
SCRIPT = "/page.js"
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'"
)
EMAIL_POLICY = (
    "default-src 'none'; style-src * 'unsafe-inline'; img-src * data:; font-src * data:; "
    "sandbox allow-popups"
)
DARK_QUERY = "@media (prefers-color-scheme: dark)"

_SCRIPT_FILE = Path(__file__).with_name("page.js")

Load = Callable[[], tuple[Program, Templates]]
"""Reads the program and its templates anew. Raises ProgramError and TemplatesError."""
Content = tuple[int, str, str]
"""Status, media type, body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """Answers paths: `/`, `/page.js`, `/version`, `/NAME.html` and `/NAME.txt`."""

    load: Load
    watched: Callable[[], list[Path]]
    """Files whose change makes everything new."""

    def answer(self, target: str) -> Content:
        """Return what is at a path with its query."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/version":
            return 200, "application/json", json.dumps({"version": self.version()})
        if parts.path == SCRIPT:
            return 200, "text/javascript", _SCRIPT_FILE.read_text("utf-8")
        try:
            program, templates = self.load()
            if parts.path == "/":
                return 200, "text/html", self._index(program, templates, query)
            name, _, suffix = parts.path.removeprefix("/").rpartition(".")
            found = render_preview(program, templates, name, query.get("language") or None)
        except PreviewError as error:
            return 404, "text/plain", f"{error}\n"
        except (StreaklineError, ProgramError) as error:
            return 200, "text/html", _page(problems=str(error), version=self.version())
        if suffix == "txt":
            return 200, "text/plain", found.rendered.text
        dark = query.get("scheme") == "dark"
        html = found.rendered.html.replace(DARK_QUERY, "@media all" if dark else "@media not all")
        return 200, "text/html", html

    def version(self) -> str:
        """Return a text that changes when a watched file does."""
        digest = blake2b(digest_size=8)
        for path in self.watched():
            try:
                found = path.stat()
            except OSError:  # it may have gone meanwhile
                continue
            digest.update(f"{path} {found.st_mtime_ns} {found.st_size}\n".encode())
        return digest.hexdigest()

    def _index(self, program: Program, templates: Templates, query: dict[str, str]) -> str:
        language = query.get("language") or None
        shown = [
            render_preview(program, templates, name, language) for name in previewed_names(program)
        ]
        return _page(
            problems="",
            version=self.version(),
            app_name=program.app.name,
            previews=shown,
            language=language or "",
        )


def watched_files(program_path: Path, folder: Path | None) -> list[Path]:
    """Return the files that emails are made of."""
    own = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
    return [program_path, *(path for path in own if path.suffix in SUFFIXES)]


@contextmanager
def serving_previews(previews: Previews, port: int) -> Iterator[str]:
    """Yield the address at which previews are shown until the end. Raises ListenError."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        path = environ.get("PATH_INFO", "")
        status, kind, body = 403, "text/plain", f"call it {HOST}\n"
        if environ.get("HTTP_HOST", "").partition(":")[0] in NAMES:
            status, kind, body = previews.answer(f"{path}?{environ.get('QUERY_STRING', '')}")
        headers = [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Security-Policy", PAGE_POLICY if path == "/" else EMAIL_POLICY),
        ]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [body.encode()]

    with listening(app, HOST, port, remedy="give another --port") as listened:
        yield f"http://{HOST}:{listened}/"


def _page(**values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("worker.previewing", ""), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.j2").render(**values)
