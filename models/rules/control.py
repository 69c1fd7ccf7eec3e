"""The control group: who gets no emails, so that what emails do can be seen (S53)."""

from __future__ import annotations

from hashlib import blake2b

BUCKETS = 10_000
"""Users are divided into so many parts, so that a percentage may have two places."""


def bucket_of(user_id: str) -> int:
    """Return a user's part, 0 to 9,999: always the same one, and as good as random among users.

    >>> bucket_of("ann") == bucket_of("ann")
    True
    """
    digest = blake2b(user_id.encode(), digest_size=8, person=b"control").digest()
    return int.from_bytes(digest) % BUCKETS
