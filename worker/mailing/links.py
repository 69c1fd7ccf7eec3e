"""Links that unsubscribe: signed, so that nobody can speak for somebody else.

    <public url>/unsubscribe/<user and email>.<signature>

Both parts are base64url. A link is good for ever: an email may be read years later.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from urllib.parse import quote

PATH = "/unsubscribe/"
KEY_BYTES = 32
PURPOSE = "unsubscribe"
SIGNATURE_BYTES = 16
"""Half of HMAC-SHA-256, as RFC 2104, section 5, allows."""


class BadLink(ValueError):
    """A link is not one that we have made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Makes links and reads them. Without a `public_url` they are addresses of the sender."""

    public_url: str | None
    sender: str
    key: bytes = field(repr=False)

    def unsubscribe(self, user_id: str, name: str) -> str:
        """Return the link that ends emails of this name for a user."""
        if self.public_url is None:
            return f"mailto:{quote(self.sender, safe='@')}?subject={quote(f'unsubscribe {name}')}"
        token = _encode(json.dumps([user_id, name], ensure_ascii=False).encode())
        return f"{self.public_url.rstrip('/')}{PATH}{token}.{_encode(self._sign(token))}"

    def read(self, link: str) -> tuple[str, str]:
        """Return the user's id and the email's name of a link, or of its path. Raises BadLink."""
        token, _, signature = link.rpartition(PATH)[2].partition(".")
        try:
            if not hmac.compare_digest(_decode(signature), self._sign(token)):
                raise BadLink("the signature is not ours")
            user_id, name = json.loads(_decode(token))
        except ValueError as error:
            raise BadLink(str(error)) from None
        return user_id, name

    def _sign(self, token: str) -> bytes:
        return hmac.digest(self.key, token.encode(), "sha256")[:SIGNATURE_BYTES]


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
