"""What a process answers over HTTP while it runs: `/metrics`, `/health`, `/ready`.

`/health` says whether this process does its work, whatever the servers do: one that does not should
be started again. `/ready` says whether the servers are there and hold what it needs: where they are
not, starting again helps nobody. Both answer 200 or 503, with JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, make_wsgi_app

from worker.listening import listening

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Answer = tuple[bool, Mapping[str, Any]]
"""Whether all is well, and what is to be said of it."""


@contextmanager
def serving_monitor(
    host: str,
    port: int | None,
    *,
    registry: CollectorRegistry,
    health: Callable[[], Answer],
    ready: Callable[[], Answer],
) -> Iterator[None]:
    """Answer on this port until the end, if there is one. Raises ListenError."""
    if port is None:
        yield
        return
    app = _route(
        {"/metrics": make_wsgi_app(registry), "/health": _tell(health), "/ready": _tell(ready)}
    )
    remedy = (
        "another process may have it: set STREAKLINE_MONITOR_PORT to another one, for each "
        "process its own"
    )
    with listening(app, host, port, remedy=remedy):
        yield


def _route(apps: Mapping[str, WSGIApplication]) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = apps.get(environ.get("PATH_INFO", ""))
        if app is not None:
            return app(environ, start_response)
        return _respond(start_response, "404 Not Found", {"there_is": sorted(apps)})

    return answer


def _tell(ask: Callable[[], Answer]) -> WSGIApplication:
    def answer(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        well, about = ask()
        status = "200 OK" if well else "503 Service Unavailable"
        return _respond(start_response, status, {"ok": well, **about})

    return answer


def _respond(start_response: StartResponse, status: str, about: Mapping[str, Any]) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(about).encode() + b"\n"]
