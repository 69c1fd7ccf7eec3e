"""Which boards a user stands on, and the names of segments (S45, S48)."""

from __future__ import annotations

import re

import pytest

from models.rules.segments import read_segment, segment_name, segments_of


@pytest.mark.parametrize(
    ("segment_by", "where", "attributes", "boards"),
    [
        ((), {}, {}, ("all",)),
        ((), {}, {"country": "FR"}, ("all",)),
        (("country",), {}, {"country": "FR", "plan": "pro"}, ("all", "country=FR")),
        (("plan", "country"), {}, {"country": "FR", "plan": "pro"}, ("all", "country=FR,plan=pro")),
        (("country", "plan"), {}, {"country": "FR"}, ("all",)),
        ((), {"plan": "pro"}, {"plan": "pro"}, ("all",)),
        ((), {"plan": "pro"}, {"plan": "free"}, ()),
        (("country",), {"plan": "pro"}, {"country": "FR"}, ()),
    ],
)
def test_a_user_stands_among_all_and_in_the_segment_of_their_attributes_s45(
    segment_by: tuple[str, ...],
    where: dict[str, str],
    attributes: dict[str, str],
    boards: tuple[str, ...],
) -> None:
    assert segments_of(segment_by, where, attributes, suspended=False) == boards


def test_a_suspended_user_stands_nowhere_s48() -> None:
    assert segments_of(("country",), {}, {"country": "FR"}, suspended=True) == ()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "all"),
        ({"plan": "pro", "country": "FR"}, "country=FR,plan=pro"),
        ({"a=b": "c,d"}, "a%3Db=c%2Cd"),
        ({"city": "Besançon/Doubs: 25000"}, "city=Besan%C3%A7on%2FDoubs%3A%2025000"),
        ({"plan": ""}, "plan="),
        ({"all": "100%"}, "all=100%25"),
    ],
)
def test_a_name_is_read_back(values: dict[str, str], name: str) -> None:
    assert segment_name(values) == name
    assert read_segment(name) == values


def test_a_name_is_read_in_any_order() -> None:
    assert read_segment("plan=pro,country=FR") == {"country": "FR", "plan": "pro"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "such as 'country=FR'"),
        ("FR", "such as 'country=FR'"),
        ("=FR", "such as 'country=FR'"),
        ("country=FR,", "such as 'country=FR'"),
        ("country=FR,country=DE", "has 'country' twice"),
        ("country=%FF", "is not quoted UTF-8"),
    ],
)
def test_what_is_no_segment_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_segment(text)
