"""The control group: who gets no emails, so that what emails do can be seen (S53)."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
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


def control_buckets(percent: Decimal) -> int:
    """Return how many parts are the control group: users whose part is below this number.

    A part that begins within the percentage counts whole.

    >>> control_buckets(Decimal(5)), control_buckets(Decimal("0.25")), control_buckets(Decimal(0))
    (500, 25, 0)
    """
    return int((percent * BUCKETS / 100).to_integral_value(ROUND_CEILING))
