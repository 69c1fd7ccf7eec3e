"""From a rendered email to what goes over the wire: headers, plain text and HTML (RFC 5322)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from hashlib import blake2b

from streakline.fields import check_email

POLICY = SMTP.clone(max_line_length=998)
"""Headers are folded by the standard library only where they must be (RFC 5322, 2.1.1)."""


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

    The Message-ID follows from `key` alone: the same email, sent again, is the same message to
    whoever gets it. Mail services offer one click to unsubscribe where the link is one of
    https (RFC 8058).
    """
    check_email("email", address)
    username, _, domain = address.rpartition("@")
    host = domain.encode("idna").decode()
    recipient = f"{username}@{host}"
    sender_name, sender_address = parseaddr(sender)
    digest = blake2b(key.encode(), digest_size=16, person=b"message-id").hexdigest()
    message_id = f"<{digest}@{sender_address.rpartition('@')[2]}>"
    message = EmailMessage(policy=POLICY if recipient.isascii() else POLICY.clone(utf8=True))
    message["From"] = Address(display_name=sender_name, addr_spec=sender_address)
    message["To"] = Address(display_name=name or "", username=username, domain=host)
    message["Subject"] = subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message["List-Unsubscribe"] = f"<{unsubscribe_url}>"
    if unsubscribe_url.startswith("https://"):
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return Message(
        message_id=message_id,
        sender=sender_address,
        address=address,
        recipient=recipient,
        data=message.as_bytes(),
    )
