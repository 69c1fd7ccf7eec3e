"""A small proxy before a server that loses answers: the server acts, and nobody hears of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from urllib.parse import unquote, urlsplit


class Proxy:
    """Passes bytes on to the server or the Unix socket of a URL; loses as many answers as told.

    An answer is lost by cutting the connection when it comes: by then the server has acted.
    """

    def __init__(self, server_url: str) -> None:
        self._server = urlsplit(server_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.answers_to_lose = 0
        self.answers_to_pass = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients find it: a URL as that of the server, for a socket one of Redis."""
        if self._server.hostname is None:
            return f"redis://127.0.0.1:{self.port}/0"
        user, _, _ = self._server.netloc.rpartition("@")
        return self._server._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    def lose_answers(self, count: int, *, after: int = 0) -> None:
        """Lose so many answers, after so many that pass."""
        self.answers_to_pass, self.answers_to_lose = after, count

    def close(self) -> None:
        """End all connections and listen no more."""
        for one in (self._listener, *self._open):
            _cut(one)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = self._connect()
                self._open += [near, far]
                for pump in (self._pass_requests, self._pass_answers):
                    threading.Thread(target=pump, args=(near, far), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._server.hostname is not None:
            return socket.create_connection((self._server.hostname, self._server.port or 0))
        far = socket.socket(socket.AF_UNIX)
        far.connect(unquote(self._server.path))
        return far

    def _pass_requests(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(1 << 16):
                far.sendall(data)
        _cut(far)

    def _pass_answers(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(1 << 16):
                if self.answers_to_lose and not self.answers_to_pass:
                    self.answers_to_lose -= 1
                    break
                self.answers_to_pass = max(0, self.answers_to_pass - 1)
                near.sendall(data)
        _cut(near)
        _cut(far)


def _cut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
