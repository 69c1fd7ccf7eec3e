"""The live rankings in Redis: a projection of users' states that can be thrown away and built anew.

    <namespace>:ranking:{<leaderboard>/<run>/<segment>/<since>}:order    sorted set
    <namespace>:ranking:{<leaderboard>/<run>/<segment>/<since>}:members  hash
    <namespace>:build:<build>:{<leaderboard>/<run>/<segment>/<since>}:…  both of a board that is
                                                                         made anew, beside it

What the keys hold stands on top of `rankings.lua`. The braces put all keys of a board on one node
of a Redis Cluster, and what is done with many boards goes to all nodes at once. Scores are written
as absolute values, so that writing one twice, or an old one before a new one, does no harm. A score
is a double there: exact up to 2**53 units of 0.0001, and one beyond is an error rather than a
rounded rank (S44).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeAlias, cast

import msgspec
from redis.exceptions import NoScriptError

from models.rules.rankings import Board, Score, Scores, Standing
from streakline.contract import VALUE_MAX, VALUE_PLACES_MAX
from streakline.redis_connection import AnyRedis

_Call: TypeAlias = tuple[Sequence[str], Sequence[str | bytes | int]]
"""Keys and arguments of the script."""

KEPT = timedelta(days=1)
"""How long a board stays that nobody changes any more."""
BUILD_KEPT = timedelta(days=1)
"""How long a board that is being made anew stays when nobody writes into it any more."""
BUILD_FIELD = "\0build"
"""As in `rankings.lua`; no user's id, for Postgres holds no NUL."""
KEYS_AT_ONCE = 1_000
REACHED_BYTES = 5
"""Seconds since year 1 reach 2**38 in the year 9999."""

_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400
_UNITS_MAX = int(VALUE_MAX.scaleb(VALUE_PLACES_MAX))
_SCRIPT = Path(__file__).with_suffix(".lua").read_text()
_SCRIPT_NAME = sha1(_SCRIPT.encode()).hexdigest()
"""As Redis names a script: by its digest."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How users' scores differ from what is on a board.

    `there` counts those who stand on it, `added` those who do not, `changed` those who stand there
    with another score. `before` has some of the latter two, with what they have there.
    """

    there: int
    added: int
    changed: int
    before: Mapping[str, Score | None]


class Rankings:
    """Reads and writes boards over one client of Redis or of a cluster; answers must be bytes."""

    def __init__(self, redis: AnyRedis, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace

    def put(self, board: Board, scores: Scores) -> None:
        """Write users' scores as they now are, and take those without one off the board.

        Raises ValueError for a score beyond the exact range.
        """
        self.put_all({board: scores})

    def put_all(
        self,
        scores: Mapping[Board, Scores],
        *,
        expected: Collection[Board] = (),
        build: str | None = None,
    ) -> list[Board]:
        """Write scores on many boards: as many as fit go out in one round trip.

        Boards that are expected and not there were lost: nothing is written on them, for they would
        be boards of few, and they are returned. With a `build` it is the boards being made anew,
        which `swap` puts into place; what is not within a day vanishes.
        """
        written = [board for board, of_board in scores.items() if of_board]
        done = self._run(
            self._put(board, _pack(board, scores[board]), board in expected, build)
            for board in written
        )
        return [board for board, was_there in zip(written, done, strict=True) if not was_there]

    def swap(self, boards: Collection[Board], build: str) -> list[Board]:
        """Put boards that were made anew into place, each in one step; return those that are lost.

        It may run again: what is in place stays so.
        """
        done = self._run(
            ([*self._keys(board), *self._keys(board, build)], ["swap", build]) for board in boards
        )
        return [board for board, is_there in zip(boards, done, strict=True) if not is_there]

    def drop(self, boards: Iterable[Board]) -> None:
        """Take boards away on which nobody is, or whose definition is not in force any more."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for board in boards:
                pipeline.execute_command("DEL", *self._keys(board))
            pipeline.execute()

    def find_lost(self, boards: Collection[Board]) -> list[Board]:
        """Return those of the boards that are not there, not even empty."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for board in boards:
                pipeline.hexists(self._key(board, "members"), BUILD_FIELD)
            done = pipeline.execute()
        return [board for board, is_there in zip(boards, done, strict=True) if not is_there]

    def compare(
        self, scores: Mapping[Board, Mapping[str, Score]], *, samples: int
    ) -> dict[Board, Compared]:
        """Tell how users' scores differ from what is on boards; `samples` of each are shown."""
        done = self._run(
            self._compare(board, _pack(board, of_board), samples)
            for board, of_board in scores.items()
        )
        return {board: _compared(board, found) for board, found in zip(scores, done, strict=True)}

    def compare_and_put(
        self,
        scores: Mapping[Board, Mapping[str, Score]],
        *,
        expected: Collection[Board],
        build: str,
        samples: int,
    ) -> tuple[dict[Board, Compared], list[Board]]:
        """Do `compare` with the boards that are read and `put_all` into a build in one go."""
        calls: list[_Call] = []
        for board, of_board in scores.items():
            packed = _pack(board, of_board)
            calls.append(self._compare(board, packed, samples))
            calls.append(self._put(board, packed, board in expected, build))
        done = self._run(calls)
        compared = zip(scores, done[::2], strict=True)
        put = zip(scores, done[1::2], strict=True)
        return (
            {board: _compared(board, found) for board, found in compared},
            [board for board, was_there in put if not was_there],
        )

    def expire(self, boards: Iterable[Board]) -> None:
        """Let boards vanish after a while: nobody will change them any more, some read them yet."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for board in boards:
                for key in self._keys(board):
                    pipeline.expire(key, KEPT)
            pipeline.execute()

    def count(self, board: Board) -> int:
        """Return how many users have a score."""
        return self._redis.zcard(self._key(board, "order"))

    def list_boards(self) -> list[tuple[str, str, str, int]]:
        """Return the boards that anybody is on: (leaderboard, run, segment, since), in order.

        It looks at every key of the database: for once a day, not for once an event.
        """
        before, after = f"{self._namespace}:ranking:{{", "}:order"
        found = []
        for key in self._redis.scan_iter(match=f"{before}*{after}", count=KEYS_AT_ONCE):
            leaderboard, run, rest = key.decode()[len(before) : -len(after)].split("/", 2)
            segment, _, since = rest.rpartition("/")
            found.append((leaderboard, run, segment, int(since)))
        return sorted(found)

    def page(self, board: Board, *, offset: int = 0, limit: int) -> list[Standing]:
        """Return standings in order, from the place `offset` on (0 is the best)."""
        if limit <= 0:
            return []
        found = cast(
            list[tuple[bytes, float]],
            self._redis.zrange(
                self._key(board, "order"), offset, offset + limit - 1, withscores=True
            ),
        )
        return [
            _standing(board, offset + place, member, int(sort_score))
            for place, (member, sort_score) in enumerate(found)
        ]

    def standing(self, board: Board, user_id: str) -> Standing | None:
        """Return a user's place, or None where the user has no score."""
        [found] = self._run([(self._keys(board), ["standing", user_id])])
        if not found:
            return None
        place, member, sort_score = found
        return _standing(board, place, member, int(float(sort_score)))

    def around(self, board: Board, user_id: str, reach: int) -> list[Standing]:
        """Return a user's place with up to `reach` before and after; empty without a score."""
        [found] = self._run([(self._keys(board), ["around", user_id, reach])])
        if not found:
            return []
        first, *pairs = found
        return [
            _standing(board, first + place, member, int(float(sort_score)))
            for place, (member, sort_score) in enumerate(zip(pairs[::2], pairs[1::2], strict=True))
        ]

    def _compare(self, board: Board, packed: bytes, samples: int) -> _Call:
        return self._keys(board), ["compare", packed, samples]

    def _put(self, board: Board, packed: bytes, is_expected: bool, build: str | None) -> _Call:
        how = "expected" if is_expected else "new"
        kept = 0 if build is None else int(BUILD_KEPT.total_seconds())
        return self._keys(board, build), ["put", packed, build or "", how, kept]

    def _run(self, calls: Iterable[_Call]) -> list[Any]:
        """Run the script for each call, all in one round trip, and return the answers.

        Where a server does not know the script it is told, and all is run once more.
        """
        calls = list(calls)
        try:
            return self._send(calls)
        except NoScriptError:
            self._redis.script_load(_SCRIPT)
            return self._send(calls)

    def _send(self, calls: Sequence[_Call]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for keys, words in calls:
                # redis-py's pipelines over a cluster have no method for it.
                pipeline.execute_command("EVALSHA", _SCRIPT_NAME, len(keys), *keys, *words)
            return list(pipeline.execute())

    def _keys(self, board: Board, build: str | None = None) -> list[str]:
        return [self._key(board, "order", build), self._key(board, "members", build)]

    def _key(self, board: Board, part: str, build: str | None = None) -> str:
        name = f"{board.leaderboard}/{board.run}/{board.segment}/{board.since}"
        where = "ranking" if build is None else f"build:{build}"
        return f"{self._namespace}:{where}:{{{name}}}:{part}"


def _pack(board: Board, scores: Scores) -> bytes:
    packed: list[str | int] = []
    sign = 1 if board.ascending else -1
    for user_id, score in scores.items():
        if score is None:
            packed += (user_id, "", 0)
        else:
            since = score.reached_at - _YEAR_ONE
            reached_seconds = since.days * _DAY_SECONDS + since.seconds
            packed += (user_id, sign * _units(score.score), reached_seconds)
    return msgspec.msgpack.encode(packed)


def _units(score: Decimal) -> int:
    units = int(score.scaleb(VALUE_PLACES_MAX))
    if not -_UNITS_MAX <= units <= _UNITS_MAX:
        raise ValueError(f"score {score} is beyond {VALUE_MAX}, the largest that ranks exactly")
    return units


def _compared(board: Board, found: Sequence[Any]) -> Compared:
    there, added, changed, *samples = found
    before = {
        user_id.decode(): _score(board, reached, int(float(sort_score))) if reached else None
        for user_id, reached, sort_score in zip(
            samples[::3], samples[1::3], samples[2::3], strict=True
        )
    }
    return Compared(there, added, changed, before)


def _standing(board: Board, place: int, member: bytes, sort_score: int) -> Standing:
    score = _score(board, member[:REACHED_BYTES], sort_score)
    return Standing(
        rank=place + 1,
        user_id=member[REACHED_BYTES:].decode(),
        score=score.score,
        reached_at=score.reached_at,
    )


def _score(board: Board, reached: bytes, sort_score: int) -> Score:
    units = sort_score if board.ascending else -sort_score
    seconds = int.from_bytes(reached, "big")
    return Score(Decimal(units).scaleb(-VALUE_PLACES_MAX), _YEAR_ONE + timedelta(seconds=seconds))
