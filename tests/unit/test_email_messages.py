"""What goes over the wire: headers that nobody can add to, bodies that come back as they were."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from models.emails.cleaning import clean_text
from models.emails.messages import Message, write_message

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)


def write(**changes: Any) -> Message:
    words: dict[str, Any] = {
        "sender": "Parlons <hello@parlons.example.org>",
        "address": "ann@example.org",
        "name": "Ann",
        "key": "ann:reminder:1",
        "subject": "Your streak",
        "html": "<p>Go on</p>\n",
        "text": "Go on\n",
        "unsubscribe_url": "https://example.org/u",
        "now": NOW,
    }
    return write_message(**words | changes)


def read(message: Message) -> EmailMessage:
    found = message_from_bytes(message.data, policy=default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "plain\n",
        "ümläut, 日本語, 🎉\n" * 50,
        ".\n..\n.dot at the beginning\n",
        "a line of " + "many words " * 200 + "\n",
        "spaces at the end   \n\ttabs\t\n= and =3D\n",
    ],
)
def test_bodies_come_back_as_they_were(text: str) -> None:
    found = read(write(text=text, html=f"<p>{text}</p>\n"))
    for kind, expected in (("plain", text), ("html", f"<p>{text}</p>\n")):
        part = found.get_body((kind,))
        assert part is not None
        assert part.get_content().replace("\r\n", "\n") == expected
    assert all(len(line) <= 998 for line in write(text=text).data.split(b"\r\n"))
    assert b"\n" not in write(text=text).data.replace(b"\r\n", b"")


@pytest.mark.parametrize("subject", ["Short", "Über 日本語 🎉", "long " * 29, "a=?utf-8?q?b?="])
def test_subjects_come_back_as_they_were(subject: str) -> None:
    assert read(write(subject=subject))["Subject"].strip() == subject.strip()


@pytest.mark.parametrize(
    "name",
    ["Ann", 'Ann "the best"', "Übermut, Ann", "Ann <eve@example.org>", "日本語", "ann@eve.org", ""],
)
def test_a_name_is_no_address(name: str) -> None:
    [to] = read(write(name=name))["To"].addresses
    assert (to.addr_spec, to.display_name) == ("ann@example.org", name)


HARM = "Ann\r\nBcc: eve@example.org\r\n\r\nbody"


def test_nobody_adds_a_header_s54() -> None:
    """Names and subjects are of one line before they come here (`cleaning`)."""
    found = read(write(name=clean_text(HARM), subject=clean_text(HARM)))
    assert found["Bcc"] is None
    assert len(found["To"].addresses) == 1
    assert {name for name, _ in found.items()} == {
        "Content-Type",
        "MIME-Version",
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
    }


@pytest.mark.parametrize(
    "address",
    ["ann@example.org\r\nBcc: eve@example.org", "ann@x, eve@x", "<ann@example.org>", "ann", "a@@b"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        write(address=address)


def test_the_same_email_is_the_same_message_for_ever_s53() -> None:
    one, again, other = write(), write(now=NOW.replace(hour=10)), write(key="ann:reminder:2")
    assert one.message_id == again.message_id != other.message_id
    assert one.message_id.endswith("@parlons.example.org>")


def test_one_click_is_offered_where_there_is_a_page() -> None:
    """RFC 8058, 3.1: over https."""
    assert read(write())["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    by_email = read(write(unsubscribe_url="mailto:hello@parlons.example.org"))
    assert by_email["List-Unsubscribe-Post"] is None
