"""The small HTTP server: who is slow, who comes in crowds, and what every answer says."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry

from models.emails.templates import load_templates
from models.program import load_program
from tests.emailing import PROGRAM
from tests.servers import free_port
from worker import listening as module
from worker.listening import HEADERS, listening
from worker.mailing.page import BODY_BYTES_MAX, _form
from worker.monitor import serving_monitor
from worker.previewing.server import Previews, serving_previews

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"
BEGUN = b"GET / HTTP/1.1\r\nHost: a\r\n"
SECONDS_MAX = 30.0


def hello(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def connect(port: int) -> socket.socket:
    """Open a connection and begin a request that is not finished."""
    connection = socket.create_connection((HOST, port), timeout=SECONDS_MAX)
    connection.sendall(BEGUN)
    return connection


def is_ended(connection: socket.socket) -> bool:
    """Wait for the end, and tell that it came without an answer."""
    with connection:
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def ask(port: int) -> bytes:
    with urlopen(f"http://{HOST}:{port}/", timeout=SECONDS_MAX) as answer:
        found: bytes = answer.read()
        return found


def test_who_sends_slowly_is_cut_off_and_the_others_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CONNECTION_SECONDS_MAX", 0.2)
    with listening(hello, HOST, 0, remedy="") as port:
        slow = connect(port)
        assert ask(port) == b"hello"
        assert is_ended(slow)


def test_more_connections_than_there_is_room_for_are_closed_until_one_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)
    with listening(hello, HOST, 0, remedy="") as port:
        held = [connect(port), connect(port)]
        assert is_ended(connect(port))
        for one in held:
            one.sendall(b"\r\n")
            assert one.recv(4) == b"HTTP"
            while one.recv(1000):
                pass
            one.close()
        assert ask(port) == b"hello"


@pytest.mark.parametrize("length", ["-1", "-9999999", "99999999999", "many", ""])
def test_of_a_form_no_more_is_read_than_it_may_have(length: str) -> None:
    body = BytesIO(b"wanted=nothing&" + b"x" * (2 * BODY_BYTES_MAX))
    _form({"CONTENT_LENGTH": length, "wsgi.input": body})
    assert body.tell() <= BODY_BYTES_MAX


@pytest.fixture
def preview_url() -> Iterator[str]:
    program = load_program(PROGRAM, source="rowing.toml")
    previews = Previews(
        load=lambda: (program, load_templates(None)), watched=lambda: [Path(__file__)]
    )
    with serving_previews(previews, 0) as url:
        yield url


def test_every_answer_has_the_headers_and_names_no_version_of_ours(preview_url: str) -> None:
    port = free_port()
    with serving_monitor(
        HOST,
        port,
        registry=CollectorRegistry(),
        health=lambda: (True, {}),
        ready=lambda: (True, {}),
    ):
        base = f"http://{HOST}:{port}"
        for url in (f"{base}/metrics", f"{base}/health", preview_url, f"{preview_url}podium.html"):
            with urlopen(url, timeout=SECONDS_MAX) as answer:
                assert HEADERS.items() <= dict(answer.headers.items()).items(), url


def test_scripts_run_in_the_page_of_previews_alone(preview_url: str) -> None:
    policies = {}
    for path in ("", "podium.html", "podium.txt"):
        with urlopen(preview_url + path, timeout=SECONDS_MAX) as answer:
            policies[path] = answer.headers["Content-Security-Policy"]
            assert "<script>" not in answer.read().decode()
    assert "script-src 'self'" in policies[""]
    assert policies["podium.html"].startswith("default-src 'none'; ")
    assert policies["podium.html"].endswith("sandbox allow-popups")
    with urlopen(f"{preview_url}page.js", timeout=SECONDS_MAX) as script:
        assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("name", ["elsewhere.example.org", "", "127.0.0.1.example.org", "[::1"])
def test_previews_are_not_shown_to_a_page_that_gives_us_another_name(
    name: str, preview_url: str
) -> None:
    request = Request(preview_url, headers={"Host": name})
    with pytest.raises(HTTPError) as caught:
        urlopen(request, timeout=SECONDS_MAX)
    with caught.value as answer:
        assert answer.code == 403
        assert "Rowing" not in answer.read().decode()
