"""Emails over SMTP (RFC 5321): one connection, kept while there is something to send.

What a server says decides what becomes of an email, and where in the exchange it says so: before it
has the message nothing can have been sent; once it may have all of it and does not answer, nobody
can know.
"""

from __future__ import annotations

import re
import smtplib
import ssl
import time
from dataclasses import dataclass
from threading import Lock
from urllib.parse import unquote, urlsplit

from jobs.send_emails import Delivery, Reply
from models.emails.messages import Message

SECONDS_MAX = 60.0
"""For each answer. RFC 5321, 4.5.3.2, asks for minutes; a sender that waits so long is stuck."""
IDLE_SECONDS_MAX = 20.0
"""A connection that nothing was sent over for so long is opened anew."""
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_READY_FOR_DATA = 354
_GOING_AWAY = 421
_LINE_WITH_DOT = re.compile(rb"(?m)^\.")


class NotEncrypted(smtplib.SMTPException):
    """The password would go in clear text; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpAddress:
    """A server: `smtps://` is encrypted from the start, `smtp://` as soon as the server offers."""

    host: str
    port: int
    encrypted: bool
    user: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> SmtpAddress:
        """Read a URL such as `smtp://user:password@host:587`.

        >>> SmtpAddress.parse("smtp://localhost").port, SmtpAddress.parse("smtps://mx").port
        (587, 465)
        """
        parts = urlsplit(url)
        encrypted = parts.scheme == "smtps"
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or (465 if encrypted else 587),
            encrypted=encrypted,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )


class SmtpServer:
    """Hands emails to a server. Thread-safe: one at a time, at most so many a second."""

    def __init__(
        self, url: str, *, per_second: float | None = None, seconds_max: float = SECONDS_MAX
    ) -> None:
        self._address = SmtpAddress.parse(url)
        self._apart = 1 / per_second if per_second else 0.0
        self._seconds_max = seconds_max
        self._lock = Lock()
        self._connection: smtplib.SMTP | None = None
        self._next_at = 0.0
        self._used_at = 0.0

    def deliver(self, message: Message) -> Delivery:
        """Hand an email to the server; return what it says. Raises nothing but what is a bug."""
        with self._lock:
            time.sleep(max(0.0, self._next_at - time.monotonic()))
            self._next_at = time.monotonic() + self._apart
            try:
                connection = self._connect()
            except (OSError, smtplib.SMTPException) as error:
                self._drop()
                return Delivery(reply=Reply.LATER, words=_words(error))
            delivery = _hand_over(connection, message)
            self._used_at = time.monotonic()
            if delivery.reply in {Reply.UNKNOWN, Reply.LATER}:
                self._drop()
            return delivery

    def greet(self) -> str:
        """Return how the server presents itself. Raises OSError and smtplib.SMTPException."""
        with self._lock:
            connection = self._connect()
            encrypted = ", encrypted" if isinstance(connection.sock, ssl.SSLSocket) else ""
            return f"{self._address.host}:{self._address.port}{encrypted}"

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._drop()

    def _connect(self) -> smtplib.SMTP:
        if time.monotonic() > self._used_at + IDLE_SECONDS_MAX:
            self._drop()
        if self._connection is None:
            self._connection = self._open()
            self._used_at = time.monotonic()
        return self._connection

    def _open(self) -> smtplib.SMTP:
        address, context = self._address, ssl.create_default_context()
        if address.encrypted:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                address.host, address.port, timeout=self._seconds_max, context=context
            )
        else:
            connection = smtplib.SMTP(address.host, address.port, timeout=self._seconds_max)
        try:
            connection.ehlo_or_helo_if_needed()
            encrypted = address.encrypted
            if not encrypted and connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
                encrypted = True
            if address.user is not None:
                if not encrypted and address.host not in LOCAL_HOSTS:
                    raise NotEncrypted(
                        f"{address.host} offers no encryption, and the password would go in clear "
                        "text: use smtps://, or a server that offers STARTTLS"
                    )
                connection.login(address.user, address.password or "")
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            try:
                self._connection.quit()
            except (OSError, smtplib.SMTPException):
                self._connection.close()
            self._connection = None


def _hand_over(connection: smtplib.SMTP, message: Message) -> Delivery:
    try:
        code, words = connection.mail(message.sender)
        if code >= 400:
            return _refused(connection, code, words, Reply.NEVER)
        code, words = connection.rcpt(message.recipient)
        if code >= 400:
            return _refused(connection, code, words, Reply.NO_SUCH_ADDRESS)
        connection.putcmd("data")
        code, words = connection.getreply()
        if code != _READY_FOR_DATA:
            return _refused(connection, code, words, Reply.NEVER)
        # Its end is the last that is sent: without all of it the server has no message.
        connection.send(_LINE_WITH_DOT.sub(b"..", message.data) + b".\r\n")
    except (OSError, smtplib.SMTPException) as error:
        return Delivery(reply=Reply.LATER, words=_words(error))
    try:
        code, words = connection.getreply()
    except (OSError, smtplib.SMTPException) as error:
        return Delivery(reply=Reply.UNKNOWN, words=f"no answer to the message: {_words(error)}")
    if code >= 400:
        return _refused(connection, code, words, Reply.NEVER)
    return Delivery(reply=Reply.TAKEN, words=_reply(code, words))


def _refused(connection: smtplib.SMTP, code: int, words: bytes, for_good: Reply) -> Delivery:
    if code != _GOING_AWAY:
        connection.rset()
    reply = for_good if code >= 500 else Reply.LATER
    return Delivery(reply=reply, words=_reply(code, words))


def _reply(code: int, words: bytes) -> str:
    return f"{code} {words.decode('utf-8', 'replace')}"


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error
        text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
        return f"{error.smtp_code} {text}"
    return str(error) or type(error).__name__
