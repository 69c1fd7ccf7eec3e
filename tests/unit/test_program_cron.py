"""Cron expressions of five fields are checked and brought into one spelling (S41)."""

import re

import pytest

from models.program.cron import read_cron


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("0 18 * * fri", "0 18 * * 5"),
        ("0  18 * *\tFRI", "0 18 * * 5"),
        ("*/20 0 1 JAN,jul *", "0,20,40 0 1 1,7 *"),
        ("0-30/10 9-11 * * mon-wed,fri", "0,10,20,30 9,10,11 * * 1,2,3,5"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * fri-7", "0 0 * * 0,5,6"),
        ("0 0 * * */2", "0 0 * * 0,2,4,6"),
        ("59 23 31 12 6", "59 23 31 12 6"),
        ("0 0 29 2 *", "0 0 29 2 *"),  # in leap years
        ("0 0 30 2 fri", "0 0 30 2 5"),  # on Fridays
    ],
)
def test_one_meaning_has_one_spelling(text: str, spelling: str) -> None:
    assert read_cron(text) == spelling
    assert read_cron(spelling) == spelling


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 fields"),
        ("0 18 * *", "has 4 fields"),
        ("@daily", "has 1 fields"),
        ("60 * * * *", "minute: '60' is not between 0 and 59"),
        ("* 24 * * *", "hour: '24'"),
        ("* * 0 * *", "day of the month: '0'"),
        ("* * * 13 *", "month: '13'"),
        ("* * * * 8", "day of the week: '8'"),
        ("* * * * frii", "did you mean 'fri'?"),
        ("* * * augu *", "did you mean 'aug'?"),
        ("*/0 * * * *", "a step of 0"),
        ("5/15 * * * *", "a step but no range"),
        ("5-5/15 9-8 * * *", "hour: '9-8' ends before it begins"),
        ("1, * * * *", "minute: ''"),
        ("-1 * * * *", "minute: '-1'"),
        ("*-5 * * * *", "minute: '*-5'"),
        ("? * * * *", "minute: '?'"),
        ("٣ * * * *", "is not between 0 and 59"),
        ("0 0 * * 5#2", "day of the week: '5#2'"),
        ("0 0 30 2 *", "'0 0 30 2 *' never fires: there is no day 30 in month 2; change one"),
        ("0 0 31 apr,jun *", "never fires: there is no day 31 in month apr,jun"),
    ],
)
def test_what_is_no_cron_expression_is_refused_by_field(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_cron(text)
