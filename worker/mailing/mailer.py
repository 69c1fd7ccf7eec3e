"""What a process needs to send emails, made when the first is sent: templates, server, links."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from email.utils import parseaddr
from functools import cache
from threading import Lock

from sqlalchemy import Connection, Engine

from jobs.send_emails import Delivery, Sending, Unsure, send_emails
from models.emails.messages import Message
from models.emails.rendering import Renderer
from models.program import Program
from models.rulebooks import Rulebooks
from models.statements.emails import Settled
from models.statements.recipients import read_key
from worker.mailing.files import EmailFiles
from worker.mailing.links import KEY_BYTES, PURPOSE, Links
from worker.mailing.smtp import SmtpServer
from worker.settings import Settings
from worker.templates import load_own_templates


class Mailer:
    """Sends the emails that are due. Thread-safe."""

    def __init__(self, engine: Engine, rulebooks: Rulebooks, settings: Settings) -> None:
        self._engine = engine
        self._rulebooks = rulebooks
        self._settings = settings
        self._making = Lock()
        self._renderer: Renderer | None = None
        self._server: SmtpServer | EmailFiles | None = None

    def send(self, now: Callable[[], datetime]) -> Iterator[Sequence[Settled]]:
        """Send what is due, some at a time. Raises NoProgram and TemplatesError."""
        links = cache(self.links)  # asked for when there is an email, not every second

        sending = Sending(
            renderer=self.renderer,
            deliver=self.deliver,
            unsubscribe_url=lambda user_id, name: links().unsubscribe(user_id, name),
            unsure=Unsure(self._settings.email_unsure),
        )
        return send_emails(self._engine, self._rulebooks, sending, now)

    def renderer(self, connection: Connection) -> Renderer:
        """Return what renders the emails of the program in force."""
        program = self._rulebooks.program(connection)
        with self._making:
            if self._renderer is None or self._renderer.program is not program:
                templates = load_own_templates(self._settings, program, self._settings.program)
                self._renderer = Renderer(program, templates)
            return self._renderer

    def deliver(self, message: Message) -> Delivery:
        """Hand an email to the server, or write it into a file."""
        return self.server().deliver(message)

    def server(self) -> SmtpServer | EmailFiles:
        """Return where emails go."""
        with self._making:
            if self._server is None:
                url = self._settings.smtp_url
                self._server = (
                    EmailFiles(self._settings.home)
                    if url is None
                    else SmtpServer(
                        url.get_secret_value(), per_second=self._settings.emails_per_second
                    )
                )
            return self._server

    def links(self) -> Links:
        """Return what makes links and reads them; the key is the same in every process.

        Raises NoProgram.
        """
        with self._engine.begin() as connection:
            key = read_key(connection, PURPOSE, secrets.token_bytes(KEY_BYTES))
            sender = sender_of(self._rulebooks.program(connection))
        return Links(public_url=self._settings.public_url, sender=sender, key=key)

    def close(self) -> None:
        """End the connection."""
        with self._making:
            if self._server is not None:
                self._server.close()
                self._server = None


def sender_of(program: Program) -> str:
    """Return the address that a program's emails come from, nothing where it has none."""
    return parseaddr(program.emails.from_)[1] if program.emails is not None else ""
