"""Emails as files, for want of a server: `<home>/emails/<message id>.eml`."""

from __future__ import annotations

from pathlib import Path

from jobs.send_emails import Delivery, Reply
from models.emails.messages import Message

FOLDER = "emails"


class EmailFiles:
    """Writes each email into a file of its own, which mail programs and browsers open."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def deliver(self, message: Message) -> Delivery:
        """Write an email; the same one again writes the same file. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = message.message_id.strip("<>").partition("@")[0]
        path = self._folder / f"{name}.eml"
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(message.data)
        unfinished.replace(path)
        return Delivery(reply=Reply.TAKEN, words=f"written to {path.name}")

    def close(self) -> None:
        """Nothing is open between two emails."""
