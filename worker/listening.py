"""A small HTTP server in a thread, for what a process tells or is asked while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from streakline.errors import StreaklineError

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class ListenError(StreaklineError, OSError):
    """A port cannot be listened on; the message names the address and what to do."""


@contextmanager
def listening(app: WSGIApplication, host: str, port: int, *, remedy: str) -> Iterator[int]:
    """Answer requests until the end; yield the port, which 0 lets the machine choose.

    `remedy` says what to do where another process has it. Raises ListenError.
    """
    try:
        server = make_server(host, port, app, server_class=_Server, handler_class=_Handler)
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


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: it is asked every few seconds."""
