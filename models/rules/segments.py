"""The boards of a leaderboard that a user stands on: the one of all, and that of a segment (S45).

A segment is one combination of user attributes, named `country=FR,plan=pro`: sorted by attribute,
both sides quoted as in addresses, so that the name of a segment can be read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

ALL = "all"
"""The board of everyone."""


def segments_of(
    segment_by: Sequence[str],
    where: Mapping[str, str],
    attributes: Mapping[str, str],
    suspended: bool,
) -> tuple[str, ...]:
    """Return the names of the boards on which a user with these attributes is ranked.

    There is none while the user is suspended (S48) or `where` does not hold. A user of whom one of
    the attributes is not known stands in no segment, only among all.
    """
    if suspended or any(attributes.get(name) != value for name, value in where.items()):
        return ()
    if not segment_by or any(name not in attributes for name in segment_by):
        return (ALL,)
    return (ALL, segment_name({name: attributes[name] for name in segment_by}))


def segment_name(values: Mapping[str, str]) -> str:
    """Return the name of the segment of users with these attributes.

    >>> segment_name({"plan": "pro", "country": "FR"})
    'country=FR,plan=pro'
    >>> segment_name({})
    'all'
    """
    parts = [f"{quote(name, safe='')}={quote(values[name], safe='')}" for name in sorted(values)]
    return ",".join(parts) or ALL


def read_segment(text: str) -> dict[str, str]:
    """Return the attributes that a segment's name stands for, in whichever order it has them.

    Raises ValueError, which says what a name looks like.

    >>> read_segment("country=FR,plan=pro")
    {'country': 'FR', 'plan': 'pro'}
    """
    if text == ALL:
        return {}
    values: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = map(_unquote, part.partition("="))
        if not name or not equals:
            raise ValueError(
                f"{text!r} is no segment; write 'all', or attributes with their values, "
                "such as 'country=FR' or 'country=FR,plan=pro'"
            )
        if name in values:
            raise ValueError(f"{text!r} has {name!r} twice; a user has one value of an attribute")
        values[name] = value
    return values


def _unquote(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{text!r} is not quoted UTF-8; write é as %C3%A9") from None
