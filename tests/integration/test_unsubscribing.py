"""The links that unsubscribe: signed, read by people and by mail services."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import Engine

from models import tables
from models.program import Program, load_program
from models.statements.recipients import ALL_EMAILS
from tests.applying import opened, read_table
from worker.listening import listening
from worker.mailing.links import BadLink, Links
from worker.mailing.page import UnsubscribePage

KEY = b"k" * 32
PROGRAM = """
[app]
name = "Parlons & Co"
[metrics.lessons]
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        yield engine


@pytest.fixture
def link(engine: Engine) -> Iterator[str]:
    """The link of ann's reminders, on a page that listens."""
    page = UnsubscribePage(engine, _links("http://unused"), _program)
    with listening(page, "127.0.0.1", 0, remedy="") as port:
        yield _links(f"http://127.0.0.1:{port}").unsubscribe("ann", "reminder")


def _program() -> Program:
    return load_program(PROGRAM, source="the test's program")


def _links(public_url: str | None) -> Links:
    return Links(public_url=public_url, sender="hello@example.org", key=KEY)


def ask(url: str, **form: str) -> tuple[int, str]:
    """Return the status and the page; a form is posted."""
    request = Request(url, data=urlencode(form).encode() if form else None)
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def choices(engine: Engine) -> dict[str, bool]:
    return {row["name"]: row["wanted"] for row in read_table(engine, tables.email_choices)}


def test_looking_at_a_link_changes_nothing_s53(engine: Engine, link: str) -> None:
    status, page = ask(link)
    assert (status, "Parlons &amp; Co" in page, "<button>" in page) == (200, True, True)
    assert choices(engine) == {}


def test_one_request_is_enough_for_mail_services_s53(engine: Engine, link: str) -> None:
    """RFC 8058, 3.1: the body of the POST is List-Unsubscribe=One-Click."""
    assert ask(link, **{"List-Unsubscribe": "One-Click"})[0] == 200
    assert choices(engine) == {"reminder": False}
    assert ask(link, **{"List-Unsubscribe": "One-Click"})[0] == 200


def test_people_choose_between_one_kind_and_all_and_may_come_back_s53(
    engine: Engine, link: str
) -> None:
    assert "no more emails." in ask(link, wanted="nothing")[1]
    assert choices(engine) == {ALL_EMAILS: False}
    assert "again" in ask(link, wanted="everything")[1]
    assert choices(engine) == {ALL_EMAILS: True, "reminder": True}
    assert "like this one" in ask(link, wanted="something else")[1]
    assert choices(engine) == {ALL_EMAILS: True, "reminder": False}


@pytest.mark.parametrize("change", ["shortened", "lengthened", "another key", "nothing", "no path"])
def test_a_link_that_is_not_ours_says_so_and_does_nothing(
    change: str, engine: Engine, link: str
) -> None:
    base = link.partition("/unsubscribe/")[0]
    changed = {
        "shortened": link[:-4],
        "lengthened": link + "AAAA",
        "another key": Links(public_url=base, sender="", key=b"x" * 32).unsubscribe("ann", "all"),
        "nothing": f"{base}/unsubscribe/",
        "no path": f"{base}/",
    }[change]
    status, page = ask(changed, wanted="nothing")
    assert (status, "not complete" in page) == (404, True)
    assert choices(engine) == {}


@pytest.mark.parametrize("user_id", ["ann", "Ä/ö?&=", "x" * 200, '"; drop table users'])
def test_a_link_says_whom_and_what_it_is_about(user_id: str) -> None:
    links = _links("https://example.org/mail/")
    link = links.unsubscribe(user_id, "come-back")
    assert link.startswith("https://example.org/mail/unsubscribe/")
    assert links.read(link) == (user_id, "come-back")
    with pytest.raises(BadLink):
        Links(public_url=None, sender="", key=b"other").read(link)


def test_without_a_page_one_unsubscribes_by_email() -> None:
    assert _links(None).unsubscribe("ann", "reminder") == (
        "mailto:hello@example.org?subject=unsubscribe%20reminder"
    )
