"""One look for every email: its colours in light and dark, worked out from the app's own.

Text has at least the contrast of WCAG 2 AA on what it stands on (4.5 to 1), whatever colour an app
has: where it does not give it, it is darkened or lightened until it does.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTRAST_MIN = 4.5
STEPS = 100
WHITE, BLACK = "#ffffff", "#10151c"
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_LINEAR_MAX = 0.03928


@dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """The colours of one of the two, each as `#rrggbb`."""

    ground: str
    """Around the card."""
    card: str
    ink: str
    faint: str
    """Small print; readable on the ground and on the card."""
    line: str
    empty: str
    """What is not filled of a bar or a calendar."""
    cold: str
    """Behind a period that was held."""
    accent: str
    """The app's colour as text on the card."""
    own: str
    """Behind the reader's own line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colours in light and dark; buttons are the same in both."""

    light: Colors
    dark: Colors
    button: str
    on_button: str


def make_look(color: str) -> Look:
    """Return the look of an app with this colour, `#rrggbb`."""
    on_button = max(WHITE, BLACK, key=lambda text: contrast(text, color))
    return Look(
        light=Colors(
            ground="#f3f5f8",
            card=WHITE,
            ink="#1b2430",
            faint="#5c6878",
            line="#e1e5ea",
            empty="#e8ecf1",
            cold="#d7ebfb",
            accent=readable(color, WHITE, towards=BLACK),
            own="#f3f5f8",
        ),
        dark=Colors(
            ground="#12161c",
            card="#1b2129",
            ink="#e7ebf0",
            faint="#9aa6b5",
            line="#2d3641",
            empty="#2d3641",
            cold="#1f4460",
            accent=readable(color, "#1b2129", towards=WHITE),
            own="#252d38",
        ),
        # A middle grey is neither dark enough for white nor light enough for black.
        button=readable(color, on_button, towards=BLACK if on_button == WHITE else WHITE),
        on_button=on_button,
    )


def readable(color: str, ground: str, *, towards: str) -> str:
    """Return a colour, moved towards another as far as text of it on the ground needs.

    >>> readable("#ffe000", "#ffffff", towards="#000000")
    '#857400'
    """
    for step in range(STEPS):
        mixed = _mix(color, towards, step / STEPS)
        if contrast(mixed, ground) >= CONTRAST_MIN:
            return mixed
    return towards


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it, 1 to 21.

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= _LINEAR_MAX else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(color: str, other: str, share: float) -> str:
    parts = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in parts)


def _channels(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.removeprefix("#")))
