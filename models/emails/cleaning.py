"""What others have written (names, attributes), made harmless before it meets any template.

One line, no control characters, nothing that turns the direction of the text around it, no half
characters, and no longer than a layout bears. Markup is not touched: HTML escapes it where it is
written, and in plain text it is just text.
"""

from __future__ import annotations

import unicodedata

TEXT_LENGTH_MAX = 100
"""Longer ones are cut, and end in an ellipsis."""
WHOLE_LENGTH_MAX = 4000
"""For what is of no use when it is cut: addresses, ids."""

_JOINERS = "\u200c\u200d"
"""Persian words and composed emoji need them; they turn nothing around."""
_ELLIPSIS = "…"


def clean_text(text: str, length_max: int = TEXT_LENGTH_MAX) -> str:
    """Return a text as one harmless line of at most so many characters.

    >>> clean_text(" Ann\\nBcc: x@example.org\\u202e ")
    'Ann Bcc: x@example.org'
    """
    if len(text) > length_max:
        text = text[: length_max * 2]  # before the work, which may shorten it
    if not text.isprintable():
        text = "".join(map(_harmless, text))
    text = " ".join(text.split())
    if len(text) > length_max:
        text = text[: length_max - 1].rstrip() + _ELLIPSIS
    return text


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp", "Zs"}:
        return " "
    if category in {"Cf", "Cs", "Co", "Cn"} and character not in _JOINERS:
        return ""
    return character
