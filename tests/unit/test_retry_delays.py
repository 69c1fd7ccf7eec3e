"""How long a failed message waits: twice as long each time, and not long once a server is back."""

from __future__ import annotations

import pytest

from worker.retries import RETRIES_MAX, delay_milliseconds


@pytest.mark.parametrize(
    ("retries", "after_a_failure", "in_an_outage"),
    [
        (0, 1_000, 1_000),
        (1, 2_000, 2_000),
        (3, 8_000, 8_000),
        (4, 16_000, 10_000),
        (7, 60_000, 10_000),
        (1_000_000, 60_000, 10_000),
    ],
)
def test_it_doubles_up_to_the_longest(
    retries: int, after_a_failure: int, in_an_outage: int
) -> None:
    assert delay_milliseconds(retries, is_outage=False) == after_a_failure
    assert delay_milliseconds(retries, is_outage=True) == in_an_outage


def test_a_message_is_tried_for_about_two_minutes_before_it_is_given_up() -> None:
    waits = [delay_milliseconds(retries, is_outage=False) for retries in range(RETRIES_MAX)]
    assert 120_000 <= sum(waits) <= 200_000
