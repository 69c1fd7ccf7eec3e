"""The page behind the links that unsubscribe: a button for people, one request for mail services.

    GET   /unsubscribe/<token>                      what it would do, and a button
    POST  /unsubscribe/<token>                      it is done, as RFC 8058 asks
    POST  /unsubscribe/<token>, wanted=everything   emails come again
    POST  /unsubscribe/<token>, wanted=nothing      none of any kind comes

A GET changes nothing: mail services open links before people do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import jinja2
import structlog
from sqlalchemy import Engine

from models.program import Program
from models.statements.recipients import ALL_EMAILS, choose
from worker.clock import utc_now
from worker.mailing.links import PATH, BadLink, Links

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

BODY_BYTES_MAX = 10_000
ALLOW = ("Allow", "GET, HEAD, POST")
log = structlog.get_logger(__name__)

_HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
    ),
]
_PAGE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    (Path(__file__).parent / "page.html.j2").read_text(encoding="utf-8")
)


class UnsubscribePage:
    """Answers requests, as a WSGI application."""

    def __init__(self, engine: Engine, links: Links, program: Callable[[], Program]) -> None:
        self._engine = engine
        self._links = links
        self._program = program

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PATH):
            return self._show(start_response, "404 Not Found", "unknown")
        try:
            user_id, name = self._links.read(path)
        except BadLink:
            return self._show(start_response, "404 Not Found", "unknown")
        method = environ.get("REQUEST_METHOD", "GET")
        if method in {"GET", "HEAD"}:
            return self._show(start_response, "200 OK", "ask")
        if method != "POST":
            return self._show(start_response, "405 Method Not Allowed", "ask", ALLOW)
        return self._show(start_response, "200 OK", self._choose(user_id, name, _form(environ)))

    def _choose(self, user_id: str, name: str, form: str | None) -> str:
        done = {"everything": "again", "nothing": "nothing"}.get(form or "", "done")
        with self._engine.begin() as connection:
            now = utc_now()
            if done == "again":
                choose(connection, user_id, ALL_EMAILS, True, now)
                choose(connection, user_id, name, True, now)
            else:
                choose(connection, user_id, ALL_EMAILS if done == "nothing" else name, False, now)
        log.info("email_choice", user_id=user_id, email=name, choice=done)
        return done

    def _show(
        self, start_response: StartResponse, status: str, what: str, *headers: tuple[str, str]
    ) -> list[bytes]:
        app = self._program().app
        start_response(status, [*_HEADERS, *headers])
        return [_PAGE.render(what=what, app=app.name).encode()]


def _form(environ: WSGIEnvironment) -> str | None:
    """Return what the form's button says, None where there is no such field."""
    try:
        # Read would take a negative one for all that ever comes.
        length = max(0, min(int(environ.get("CONTENT_LENGTH") or 0), BODY_BYTES_MAX))
    except ValueError:
        return None
    body: bytes = environ["wsgi.input"].read(length)
    return parse_qs(body.decode("utf-8", "replace")).get("wanted", [None])[0]
