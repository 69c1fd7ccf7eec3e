"""Reading a board of a million members: one user's standing, a page, the neighbours; its memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import quantiles

from redis import Redis

from models.rankings import Rankings
from models.rules.rankings import Board, Score
from tests.benchmarks.harness import SEED, Figure, open_bench

CHUNK_USERS = 1_000
BOARD = Board(leaderboard="million", run="all", segment="all", since=1, ascending=False)


def run(quick: bool) -> Iterator[Figure]:
    """Yield the times of reads by random users, and the memory that a member takes."""
    members, reads = (50_000, 1_000) if quick else (1_000_000, 5_000)
    with open_bench() as bench:
        before = _used_bytes(bench.redis)
        rate = _fill(bench.rankings, members)
        taken = _used_bytes(bench.redis) - before
        yield from _time_reads(bench.rankings, members, reads)
    yield Figure(name=f"write a board of {members:,}", value=rate, unit="members/s")
    yield Figure(
        name=f"memory on a board of {members:,}",
        value=taken / members,
        unit="bytes/member",
        note="exact order with ties, ids such as user-123456",
    )


def _fill(rankings: Rankings, members: int) -> float:
    chance = random.Random(SEED)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    began = time.perf_counter()
    for first in range(0, members, CHUNK_USERS):
        scores = {
            f"user-{number}": Score(
                Decimal(chance.randrange(100_000)),
                start + timedelta(seconds=chance.randrange(20_000_000)),
            )
            for number in range(first, first + CHUNK_USERS)
        }
        rankings.put(BOARD, scores)
    return members / (time.perf_counter() - began)


def _time_reads(rankings: Rankings, members: int, reads: int) -> Iterator[Figure]:
    chance = random.Random(SEED)

    def user() -> str:
        return f"user-{chance.randrange(members)}"

    kinds: dict[str, Callable[[], object]] = {
        "a user's standing": lambda: rankings.standing(BOARD, user()),
        "a page of 100": lambda: rankings.page(BOARD, offset=chance.randrange(members), limit=100),
        "10 before and after a user": lambda: rankings.around(BOARD, user(), 10),
    }
    for kind, read in kinds.items():
        percentiles = quantiles(_milliseconds(read, reads), n=100)
        for percent in (50, 99):
            yield Figure(
                name=f"{kind} among {members:,}, {percent} % within",
                value=percentiles[percent - 1],
                unit="ms",
                note=f"{reads:,} reads, from anywhere on the board",
                goal="2" if percent == 99 and "standing" in kind else "",
            )


def _milliseconds(read: Callable[[], object], reads: int) -> list[float]:
    found = []
    for _ in range(reads):
        began = time.perf_counter()
        read()
        found.append((time.perf_counter() - began) * 1000)
    return found


def _used_bytes(redis: Redis) -> int:
    return int(redis.info("memory")["used_memory"])
