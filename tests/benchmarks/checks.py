"""How fast `verify` folds users from nothing and compares."""

from __future__ import annotations

import time
from collections.abc import Iterator

from jobs.verify import Verified, verify_users
from models.rulebooks import Rulebooks
from tests.benchmarks.batches import apply_in_batches
from tests.benchmarks.harness import Figure, make_app_events, open_bench
from tests.benchmarks.rates import LANGUAGE_APP

EVENTS_PER_USER = 8


def run(quick: bool) -> Iterator[Figure]:
    """Yield the users that one process verifies in a minute."""
    users = 1_000 if quick else 10_000
    with open_bench(LANGUAGE_APP.read_text("utf-8")) as bench:
        events = make_app_events(users * EVENTS_PER_USER, users, "checked")
        apply_in_batches(bench.addresses.database_url, [event.to_json() for event in events])
        verified = Verified()
        began = time.perf_counter()
        verify_users(bench.engine, Rulebooks(), verified)
        seconds = time.perf_counter() - began
    if verified.samples or not verified.users_checked:
        raise RuntimeError(f"what was applied does not verify: {verified}")
    yield Figure(
        name="verify everyone",
        value=60 * verified.users_checked / seconds,
        unit="users/min",
        note=f"one process; {LANGUAGE_APP.name}, about {EVENTS_PER_USER} events a user",
        goal="20,000",
    )
