"""A real SMTP server for tests: it keeps what it takes, and misbehaves as it is told."""

from __future__ import annotations

from asyncio import Event
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.servers import free_port

OK = "250 OK"
DROP = "drop"
"""Instead of a reply: the connection ends."""
STALL = "stall"
"""Instead of a reply: nothing, as long as the connection is there."""
TAKE_AND_DROP = "take and drop"
"""The email is taken, and the connection ends before the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An email that the server took."""

    sender: str
    recipient: str
    message: EmailMessage

    def text(self, kind: str = "plain") -> str:
        """Return the body as it is read: `plain` or `html`."""
        part = self.message.get_body((kind,))
        assert part is not None
        return str(part.get_content())


class MailServer:
    """Listens on a port of its own. `replies` are what it says next, in turn; then it takes all.

    `refused` are addresses that it does not know.
    """

    def __init__(self, host: str = "127.0.0.1", **options: Any) -> None:
        self.received: list[Received] = []
        self.rcpt_replies: list[str] = []
        self.data_replies: list[str] = []
        self.refused: set[str] = set()
        self.connections = 0
        self.address = f"{host}:{free_port()}"
        port = int(self.address.rpartition(":")[2])
        self._controller = Controller(self, hostname=host, port=port, **options)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"smtp://{self.address}"

    def start(self) -> None:
        """Listen."""
        self._controller.start()

    def stop(self) -> None:
        """Listen no more, and end all connections; again does nothing."""
        if self._controller.server is not None:
            self._controller.stop()

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's names
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Count connections."""
        session.host_name = hostname
        self.connections += 1
        return responses

    async def handle_RCPT(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Say whether the address is known, or what is to be said."""
        reply = self.rcpt_replies.pop(0) if self.rcpt_replies else OK
        if reply == DROP:
            cast(Any, server).transport.abort()
        if reply == STALL:
            await Event().wait()
        if address in self.refused:
            return "550 5.1.1 no such user"
        if reply == OK:
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(  # noqa: N802
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
    ) -> str:
        """Take the email, or do what is to be done."""
        reply = self.data_replies.pop(0) if self.data_replies else OK
        if reply in {OK, TAKE_AND_DROP}:
            content = envelope.content
            assert isinstance(content, bytes)
            message = message_from_bytes(content, policy=default)
            for address in envelope.rcpt_tos:
                self.received.append(
                    Received(
                        sender=envelope.mail_from or "",
                        recipient=address,
                        message=message,
                    )
                )
        if reply == STALL:
            await Event().wait()
        if reply in {DROP, TAKE_AND_DROP}:
            cast(Any, server).transport.abort()
        return reply


class Passwords:
    """Lets one user in."""

    def __init__(self, user: bytes, password: bytes) -> None:
        self._known = (user, password)

    def __call__(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        mechanism: str,
        data: Any,
    ) -> AuthResult:
        """Say whether the password is right."""
        return AuthResult(success=(data.login, data.password) == self._known, handled=False)


@contextmanager
def mail_server(**options: Any) -> Iterator[MailServer]:
    """Yield a server that listens."""
    server = MailServer(**options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
