"""`email preview --serve` over HTTP, on a port of its own."""

from __future__ import annotations

from pathlib import Path
from urllib.request import urlopen

import pytest

from models.emails.templates import load_templates
from models.program import load_program
from tests.emailing import PROGRAM
from worker.listening import ListenError
from worker.previewing.server import Previews, serving_previews


def test_the_page_and_its_emails_are_served_until_the_end() -> None:
    program = load_program(PROGRAM, source="rowing.toml")
    previews = Previews(
        load=lambda: (program, load_templates(None)), watched=lambda: [Path(__file__)]
    )
    with serving_previews(previews, 0) as url:
        port = int(url.rsplit(":", 1)[1].strip("/"))
        with urlopen(url) as page, urlopen(f"{url}podium.html?scheme=dark") as email:
            assert page.headers["Content-Type"] == "text/html; charset=utf-8"
            assert "Emails of Rowing &amp; Co" in page.read().decode()
            assert "Amélie (you)" in email.read().decode()
        with (
            pytest.raises(ListenError, match="give another --port"),
            serving_previews(previews, port),
        ):
            pass
    with pytest.raises(OSError, match="refused"):
        urlopen(url)
