"""From a rendered email to what goes over the wire: headers, plain text and HTML (RFC 5322).

By the older half of the standard library's `email`: its newer one reads every header that it
writes, which takes three times as long as all the rest of sending.
"""

from __future__ import annotations

from binascii import b2a_qp
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr
from hashlib import blake2b

from streakline.fields import check_email

_POLICY = compat32.clone(linesep="\r\n", max_line_length=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An email, ready for a server: `data` is what follows SMTP's DATA, with CRLF.

    `address` is the recipient's as it was told, `recipient` as it goes over the wire.
    """

    message_id: str
    sender: str
    address: str
    recipient: str
    data: bytes


def write_message(
    *,
    sender: str,
    address: str,
    name: str | None,
    key: str,
    subject: str,
    html: str,
    text: str,
    unsubscribe_url: str,
    now: datetime,
) -> Message:
    """Return the message. Raises ValueError where it cannot be sent to an address.

    `name` and `subject` are of one line (`models.emails.cleaning`). The Message-ID follows from
    `key` alone: the same email, sent again, is the same message to whoever gets it. Mail services
    offer one click to unsubscribe where the link is one of https (RFC 8058).
    """
    recipient = _on_the_wire(address)
    sender_name, sender_address = parseaddr(sender)
    digest = blake2b(key.encode(), digest_size=16, person=b"message-id").hexdigest()
    message_id = f"<{digest}@{sender_address.rpartition('@')[2]}>"
    message = MIMEMultipart(
        "alternative", None, [_part(text, "plain"), _part(html, "html")], policy=_POLICY
    )
    message["From"] = formataddr((sender_name, sender_address))
    message["To"] = formataddr((name or "", recipient))
    message["Subject"] = Header(subject, "utf-8", header_name="Subject").encode()
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message["List-Unsubscribe"] = f"<{unsubscribe_url}>"
    if unsubscribe_url.startswith("https://"):
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return Message(
        message_id=message_id,
        sender=sender_address,
        address=address,
        recipient=recipient,
        data=message.as_bytes(),
    )


def _on_the_wire(address: str) -> str:
    """Return an address in ASCII: domains have a way to be so (RFC 5891), what is before has none.

    >>> _on_the_wire("ann@bücher.example.org")
    'ann@xn--bcher-kva.example.org'
    """
    check_email("email", address)
    user, _, domain = address.rpartition("@")
    if not user.isascii():
        raise ValueError("letters beyond ASCII before the @, which few servers take")
    return f"{user}@{domain.encode('idna').decode()}"


def _part(text: str, kind: str) -> MIMENonMultipart:
    """Return a text in quoted-printable: most of it is ASCII, and stays so."""
    part = MIMENonMultipart("text", kind, policy=_POLICY, charset="utf-8")
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(b2a_qp(text.encode(), istext=True).decode("ascii"))
    return part
