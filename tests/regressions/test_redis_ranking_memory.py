"""A ranking in Redis, the plain way and ours: memory, what runs twice, and equal scores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis import Redis

from models.rankings import Rankings
from models.rules.rankings import Board, Score
from tests.applying import opened_rankings

MEMBERS = 20_000
PLAIN_BYTES_MAX = 130
"""76 in Valkey 9.1, 113 in Redis 7.0, for ids of 11 bytes."""
OURS_BYTES_MAX = 220
"""115 and 197."""
BOARD = Board(leaderboard="b", run="all", segment="all", since=1, ascending=False)
ONE_SECOND = timedelta(seconds=1)
SECONDS_BITS = 32
REACHED = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.fixture
def redis(every_redis_url: str) -> Iterator[Any]:
    with Redis.from_url(every_redis_url, decode_responses=True) as redis:
        yield redis


@pytest.fixture
def rankings(every_redis_url: str, namespace: str) -> Iterator[Rankings]:
    with opened_rankings(every_redis_url, namespace) as rankings:
        yield rankings


def user(number: int) -> str:
    return f"u{number:010d}"


def bytes_per_member(redis: Any, pattern: str) -> float:
    """Return the memory of all keys of a pattern, by member."""
    keys = list(redis.scan_iter(match=pattern, count=10_000))
    assert keys
    return float(sum(redis.memory_usage(key, samples=0) for key in keys) / MEMBERS)


def order(rankings: Rankings) -> list[str]:
    return [standing.user_id for standing in rankings.page(BOARD, limit=9)]


def test_a_member_takes_so_much_memory(redis: Any, rankings: Rankings, namespace: str) -> None:
    """The second key, which finds a member by its user, is the price of exact ties."""
    redis.zadd(f"{namespace}:plain", {user(n): n * 7919 for n in range(MEMBERS)})
    scores = {user(n): Score(Decimal(n * 7919 % 10_000), REACHED) for n in range(MEMBERS)}
    rankings.put(BOARD, scores)
    plain = bytes_per_member(redis, f"{namespace}:plain")
    ours = bytes_per_member(redis, f"{namespace}:ranking:*")
    assert plain < PLAIN_BYTES_MAX
    assert plain < ours < OURS_BYTES_MAX


def test_what_adds_twice_counts_double_and_here_it_is_written_as_it_is(
    redis: Any, rankings: Rankings, namespace: str
) -> None:
    for _ in range(2):
        redis.zincrby(f"{namespace}:plain", 5, "ann")
        rankings.put(BOARD, {"ann": Score(Decimal(5), REACHED)})
    assert redis.zscore(f"{namespace}:plain", "ann") == 10
    standing = rankings.standing(BOARD, "ann")
    assert standing is not None
    assert standing.score == 5


def test_of_equals_the_greater_id_is_first_and_here_the_earlier(
    redis: Any, rankings: Rankings, namespace: str
) -> None:
    redis.zadd(f"{namespace}:plain", {"ann": 5, "bob": 5, "cid": 5})
    assert redis.zrevrange(f"{namespace}:plain", 0, -1) == ["cid", "bob", "ann"]
    same = Score(Decimal(5), REACHED)
    rankings.put(BOARD, {"cid": same, "bob": Score(Decimal(5), REACHED + ONE_SECOND), "ann": same})
    assert order(rankings) == ["ann", "cid", "bob"]


def test_a_score_and_a_second_do_not_fit_into_a_double_and_here_need_not(
    redis: Any, rankings: Rankings, namespace: str
) -> None:
    """The plain way to break ties: the score in the upper bits, the time that is left below."""
    score, at = Decimal("123456.7891"), int(REACHED.timestamp())
    packed = [int(score * 10_000) * 2**SECONDS_BITS - at - late for late in (0, 1)]
    redis.zadd(f"{namespace}:plain", dict(zip(("bob", "ann"), packed, strict=True)))
    assert redis.zscore(f"{namespace}:plain", "ann") == redis.zscore(f"{namespace}:plain", "bob")
    late = Score(score, REACHED + ONE_SECOND)
    rankings.put(BOARD, {"bob": Score(score, REACHED), "ann": late})
    assert order(rankings) == ["bob", "ann"]
