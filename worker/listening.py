"""A small HTTP server in a thread, for what a process tells or is asked while it runs.

It answers one request for each connection, of which it holds so many, each for so long: who sends
slowly, or opens many, keeps nobody else waiting for more than that. Bodies are read by the
application, which limits them. No answer is kept by a cache, taken for another type than it names,
or shown in a frame of another site, unless the application says so itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR, socket
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread, Timer
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog

from streakline.errors import StreaklineError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

CONNECTION_SECONDS_MAX = 20.0
CONNECTIONS_MAX = 100
"""Each has a thread. One more is closed unheard."""
HEADERS = {
    "Server": "streakline",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}
"""On every answer that does not say otherwise."""

log = structlog.get_logger(__name__)


class ListenError(StreaklineError, OSError):
    """A port cannot be listened on; the message names the address and what to do."""


@contextmanager
def listening(app: WSGIApplication, host: str, port: int, *, remedy: str) -> Iterator[int]:
    """Answer requests until the end; yield the port, which 0 lets the machine choose.

    `remedy` says what to do where another process has it. Raises ListenError.
    """
    try:
        server = make_server(
            host, port, _guarded(app), server_class=_Server, handler_class=_Handler
        )
    except OSError as error:
        raise ListenError(
            f"{host}:{port} cannot be listened on ({error.strerror}); {remedy}"
        ) from error
    thread = Thread(target=server.serve_forever, name=f"http-{port}", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _guarded(app: WSGIApplication) -> WSGIApplication:
    """Put the headers on each answer that the application has not put there."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], *more: Any
        ) -> Callable[[bytes], object]:
            named = {name.lower() for name, _ in headers}
            ours = [one for one in HEADERS.items() if one[0].lower() not in named]
            return start_response(status, [*headers, *ours], *more)

        return app(environ, start)

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._room = BoundedSemaphore(CONNECTIONS_MAX)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        ending = Timer(CONNECTION_SECONDS_MAX, _end, [request])
        ending.daemon = True
        ending.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            ending.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's
        """Say in the log, and not by a bare traceback, that a connection broke."""
        log.info("http_connection_broke", port=self.server_port)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: it is asked every few seconds."""


def _end(request: socket) -> None:
    with suppress(OSError):  # it may have ended by itself
        request.shutdown(SHUT_RDWR)
