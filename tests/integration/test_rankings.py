"""The live rankings in Redis: their order to the last place, and the same one in Postgres (S44)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from models.rankings import Rankings
from models.rules.rankings import Board, Score, Standing, rank
from streakline.contract import VALUE_MAX
from tests.applying import opened_rankings

MOST = Board(leaderboard="Läufe", run="all", segment="all", since=1, ascending=False)
LEAST = MOST._replace(leaderboard="golf", ascending=True)
BOARDS = pytest.mark.parametrize("board", [MOST, LEAST], ids=["most", "least"])
REACHED = datetime(2026, 11, 23, 9, tzinfo=UTC)
NEXT_DAY = REACHED + timedelta(days=1)
UNIT = Decimal("0.0001")
IDS = ("", "1", "\x01", "é", "\uffff", "\U0001f600")
"""Ends of ids: a prefix of another, and those that UTF-16 would order otherwise than UTF-8."""


@pytest.fixture
def rankings(every_rankings_url: str, namespace: str) -> Iterator[Rankings]:
    """Rankings that hold nothing yet, on Valkey, on Redis and on a cluster."""
    with opened_rankings(every_rankings_url, namespace) as rankings:
        yield rankings


def score(
    user_id: str, value: str | int | Decimal, reached_at: datetime = REACHED
) -> tuple[str, Score]:
    return user_id, Score(Decimal(value), reached_at)


def order(standings: Sequence[Standing]) -> str:
    """Return the ids of users in order; each has one letter."""
    return "".join(standing.user_id for standing in standings)


@BOARDS
def test_of_equal_scores_the_earlier_is_better_and_of_equal_seconds_the_lesser_id_s44(
    rankings: Rankings, board: Board
) -> None:
    same_second = REACHED + timedelta(microseconds=999_999)
    rankings.put(board, dict([score("c", 5), score("a", 5, REACHED + timedelta(seconds=1))]))
    rankings.put(board, dict([score("b", 5, same_second), score("é", 5), score("Z", 5)]))
    assert order(rankings.page(board, limit=9)) == "Zbcéa"
    assert [found.rank for found in rankings.page(board, limit=9)] == [1, 2, 3, 4, 5]


def test_more_is_better_unless_the_board_ascends_s40(rankings: Rankings) -> None:
    scores = [score("a", "-0.5"), score("b", "0"), score("c", "2.25"), score("d", "-7")]
    for board in (MOST, LEAST):
        rankings.put(board, dict(scores))
    assert order(rankings.page(MOST, limit=9)) == "cbad"
    assert order(rankings.page(LEAST, limit=9)) == "dabc"
    assert [found.score for found in rankings.page(LEAST, limit=9)] == [
        Decimal(text) for text in ("-7", "-0.5", "0", "2.25")
    ]


@BOARDS
@pytest.mark.parametrize("sign", [1, -1])
def test_scores_near_2_to_the_53_units_differ_by_one_unit_s44(
    rankings: Rankings, board: Board, sign: int
) -> None:
    by_user = {user: sign * (VALUE_MAX - UNIT * place) for place, user in enumerate("abcd")}
    rankings.put(board, dict([score(user, value) for user, value in by_user.items()]))
    best_first = "abcd" if (sign > 0) is not board.ascending else "dcba"
    page = rankings.page(board, limit=9)
    assert order(page) == best_first
    assert {found.user_id: found.score for found in page} == by_user
    assert order(rankings.around(board, best_first[1], 1)) == best_first[:3]
    assert rankings.standing(board, best_first[2]) == page[2]
    assert rankings.around(board, best_first[1], 1) == page[:3]


@BOARDS
def test_instants_decades_apart_rank_and_come_back_to_the_second_s44(
    rankings: Rankings, board: Board
) -> None:
    instants = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1901, 12, 13, 20, 45, 52, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 58, 999_999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 23, tzinfo=UTC),
        datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    late_first = [score(chr(ord("z") - place), 1, at) for place, at in enumerate(instants)]
    rankings.put(board, dict(reversed(late_first)))
    page = rankings.page(board, limit=99)
    assert [found.reached_at for found in page] == [at.replace(microsecond=0) for at in instants]
    assert order(page) == "zyxwvuts"


def test_scores_put_twice_or_an_old_one_before_the_new_leave_one_place_s44(
    rankings: Rankings,
) -> None:
    old, new = score("a", 9), score("a", 3, NEXT_DAY)
    rankings.put(MOST, dict([old, score("b", 5)]))
    rankings.put(MOST, dict([new]))
    rankings.put(MOST, dict([new, score("b", 5)]))
    assert order(rankings.page(MOST, limit=9)) == "ba"
    assert rankings.count(MOST) == 2
    rankings.put(MOST, dict([score("a", 6, NEXT_DAY)]))
    assert rankings.standing(MOST, "a") == Standing(
        rank=1, user_id="a", score=Decimal(6), reached_at=NEXT_DAY
    )
    assert rankings.count(MOST) == 2


def test_a_removed_user_has_no_place_and_those_behind_move_up(rankings: Rankings) -> None:
    rankings.put(MOST, dict([score("a", 3), score("b", 2), score("c", 1)]))
    rankings.put(MOST, {"a": None, "never there": None})
    rankings.put(MOST, {"a": None})
    assert (rankings.standing(MOST, "a"), rankings.around(MOST, "a", 5)) == (None, [])
    assert [(found.rank, found.user_id) for found in rankings.page(MOST, limit=9)] == [
        (1, "b"),
        (2, "c"),
    ]
    rankings.put(MOST, dict([score("a", 3)]))
    assert order(rankings.page(MOST, limit=9)) == "abc"


def test_pages_and_neighbours_end_where_the_board_ends_s47(rankings: Rankings) -> None:
    assert (rankings.count(MOST), rankings.page(MOST, limit=9)) == (0, [])
    rankings.put(MOST, dict([score(user, 9 - place) for place, user in enumerate("abcde")]))
    everyone = rankings.page(MOST, limit=5)
    assert order(everyone) == "abcde"
    assert rankings.page(MOST, offset=3, limit=9) == everyone[3:]
    assert rankings.page(MOST, offset=5, limit=9) == []
    assert rankings.page(MOST, limit=0) == []
    assert rankings.around(MOST, "a", 1) == everyone[:2]
    assert rankings.around(MOST, "c", 1) == everyone[1:4]
    assert rankings.around(MOST, "e", 99) == everyone
    assert rankings.around(MOST, "c", 0) == everyone[2:3]
    assert [rankings.standing(MOST, user) for user in "abcde"] == everyone


def test_boards_that_differ_in_one_part_of_their_name_hold_their_own_scores_s43(
    rankings: Rankings,
) -> None:
    boards = [
        MOST,
        MOST._replace(leaderboard="other"),
        MOST._replace(run="2026-W48"),
        MOST._replace(segment="fr"),
        MOST._replace(since=2),
    ]
    for place, board in enumerate(boards):
        rankings.put(board, dict([score("a", place)]))
    found = [rankings.standing(board, "a") for board in boards]
    assert [standing and standing.score for standing in found] == [0, 1, 2, 3, 4]


@BOARDS
@pytest.mark.parametrize("sign", [1, -1])
def test_a_score_beyond_the_exact_range_is_an_error_and_writes_nothing_s44(
    rankings: Rankings, board: Board, sign: int
) -> None:
    beyond = score("b", sign * (VALUE_MAX + UNIT))
    with pytest.raises(ValueError, match="is beyond 900719925474"):
        rankings.put(board, dict([score("a", 1), beyond]))
    assert rankings.count(board) == 0


@BOARDS
def test_redis_has_the_order_of_the_rule_to_the_last_place_s44(
    rankings: Rankings, board: Board
) -> None:
    scores = dict(_many_scores())
    rankings.put(board, scores)
    standings = rank(scores, ascending=board.ascending)
    assert len(standings) == len(scores)
    assert rankings.page(board, limit=len(scores)) == standings
    assert rankings.page(board, offset=100, limit=7) == standings[100:107]
    assert rankings.standing(board, standings[200].user_id) == standings[200]


def test_more_users_than_one_call_of_redis_takes_are_written_and_taken_off(
    rankings: Rankings,
) -> None:
    users = [f"user-{number}" for number in range(2_345)]
    rankings.put(MOST, dict(score(user, number) for number, user in enumerate(users)))
    assert [found.user_id for found in rankings.page(MOST, limit=9_999)] == users[::-1]
    rankings.put(MOST, dict.fromkeys(users[1:]))
    assert [found.user_id for found in rankings.page(MOST, limit=9)] == users[:1]


def _many_scores() -> list[tuple[str, Score]]:
    """Scores that are often equal, reached in few seconds, before 1970 and after, in any order."""
    chance = random.Random(44)
    values = [sign * value for sign in (1, -1) for value in (VALUE_MAX, VALUE_MAX - UNIT, UNIT, 0)]
    seconds = [REACHED, REACHED + timedelta(seconds=1), datetime(1969, 12, 31, 23, 59, tzinfo=UTC)]
    scores = [
        score(
            f"u{number:02}{end}",
            Decimal(chance.choice(values)),
            chance.choice(seconds) + timedelta(microseconds=chance.randrange(1_000_000)),
        )
        for number in range(60)
        for end in IDS
    ]
    return chance.sample(scores, len(scores))
