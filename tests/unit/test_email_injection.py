"""What users are called, and what a template may try: harmless, each by a test (S54)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jinja2.exceptions import SecurityError, UndefinedError

from models.emails.cleaning import TEXT_LENGTH_MAX, clean_text
from models.emails.rendering import SUBJECT_LENGTH_MAX, Renderer, RenderError
from models.emails.sandbox import Sandbox
from models.emails.templates import TemplatesError, load_templates
from models.emails.variables import (
    CALENDAR_PERIODS_MAX,
    LIST_LENGTH_MAX,
    StandingVariables,
    UserVariables,
)
from models.emails.wording import read_locale
from tests.emailing import EMAILS, problems, render, rowing, sample

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
HEADING = 'subject = "S"\n[[blocks]]\ntype = "heading"\ntext = "{}"\n'


@pytest.mark.parametrize("email", EMAILS)
def test_a_name_with_markup_is_escaped_s54(email: str) -> None:
    found = render(email, name=MARKUP, attributes={"language": MARKUP})

    assert "<script" not in found.html
    assert "<img src=x" not in found.html
    if MARKUP in found.text:  # where the email says the name
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in found.html
    assert "&lt;" not in found.text


def test_names_of_others_are_escaped_s54() -> None:
    full: Any = sample("podium")
    standings = (StandingVariables(rank=1, name=MARKUP, score=Decimal(5)),)
    found = Renderer(rowing(), load_templates(None)).render(
        replace(full, leaderboard=replace(full.leaderboard, name=MARKUP, standings=standings))
    )

    assert "<script" not in found.html
    assert found.html.count("&lt;script&gt;") >= 3  # title, words, line
    assert f"1. {MARKUP}: 5" in found.text


def test_a_name_with_newlines_adds_no_header_s54() -> None:
    name = "Ann\r\nBcc: everyone@example.org\n\nbody\x00\x0b\x1b[31m\u2028\u2029\x85end"
    found = render("reminder", name=name)

    assert found.subject == "11 days, Ann Bcc: everyone@example.org body [31m end"
    assert "\nBcc" not in found.text


def test_a_name_that_is_a_template_is_only_text_s54() -> None:
    name = "{{ app.link_url }}{% for x in y %}{# @@1@@"
    found = render("reminder", name=name)

    assert found.subject == f"11 days, {name}"
    assert f"{name}, keep your streak alive" in found.text
    assert name in found.html


def test_marks_that_turn_text_around_are_taken_out_s54() -> None:
    found = render("reminder", name=f"a{BIDI}b\u200b\ufeff\u00adc")

    assert found.subject == "11 days, abc"
    for text in (found.html, found.text):
        assert not set(text) & set(BIDI)
        assert "abc, keep" in text


def test_names_in_other_scripts_stay_as_they_are() -> None:
    persian = "می\u200cخواهم"  # noqa: RUF001 - it is meant
    for name in ("שרה", "محمد", persian, "李小龙", "👩\u200d🚀", "Ægir Þór"):
        assert clean_text(name) == name


def test_a_name_of_10000_characters_is_cut_s54() -> None:
    found = render("reminder", name="x" * 10_000)

    assert "x" * (TEXT_LENGTH_MAX - 1) + "…" in found.html
    assert "x" * TEXT_LENGTH_MAX not in found.html
    assert "x" * TEXT_LENGTH_MAX not in found.text
    assert len(found.subject) <= SUBJECT_LENGTH_MAX


def test_a_subject_is_cut_s54(tmp_path: Path) -> None:
    (tmp_path / "lost.toml").write_text(HEADING.format("x").replace('"S"', f'"{"y" * 900}"'))

    assert render("lost", tmp_path).subject == "y" * (SUBJECT_LENGTH_MAX - 1) + "…"


def test_half_characters_and_attributes_are_cleaned_s54() -> None:
    user = UserVariables(id="\ud800u\n1", name="\udfff", attributes={"a\n": "\u202eb\r\nc"})

    assert (user.id, user.name, user.attributes) == ("u 1", "", {"a": "b c"})


def test_lists_are_short_s54() -> None:
    full: Any = sample("reminder")
    long = full.streak.calendar * 100
    assert replace(full.streak, calendar=long).calendar == long[-CALENDAR_PERIODS_MAX:]
    board: Any = sample("podium")
    many = board.leaderboard.standings * 100
    assert len(replace(board.leaderboard, standings=many).standings) == LIST_LENGTH_MAX


def test_an_attribute_cannot_lead_elsewhere_s54(tmp_path: Path) -> None:
    (tmp_path / "lost.toml").write_text(
        'subject = "S"\n[[blocks]]\ntype = "button"\ntext = "B"\n'
        'url = "https://row.example.org/{{ user.attributes.page }}"\n'
    )
    page = '"><script>x</script>/../" onclick="y'
    found = render("lost", tmp_path, attributes={"page": page})

    assert "<script" not in found.html
    assert 'onclick="' not in found.html
    assert 'href="https://row.example.org/&#34;&gt;' in found.html


def test_addresses_that_are_not_of_the_web_lead_nowhere_s54() -> None:
    found = Renderer(rowing(), load_templates(None)).render(
        replace(sample("lost"), unsubscribe_url="javascript:alert(1)")
    )

    assert "javascript" not in found.html
    assert "javascript" not in found.text


ENDLESS = [
    ("{% for a in range(1000000000) %}x{% endfor %}", "a call cannot stand"),
    (
        "{% for a in streak.calendar %}{% for b in streak.calendar %}x{% endfor %}{% endfor %}",
        "a loop stands in a loop",
    ),
    ("{% for a in streak.calendar recursive %}{{ loop(a) }}{% endfor %}", "a loop stands in"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "a macro cannot stand"),
    ("{{ 9 ** 9 ** 9 ** 9 }}", "a power cannot stand"),
    ("{{ 'x' * 1000000000 }}", "is for numbers"),
    ("{{ [1] * 1000000000 }}", "is for numbers"),
    ("{{ '%1000000000d' % 1 }}", "is for numbers"),
    ("{{ 'x'|center(1000000000) }}", "there is no filter 'center'"),
    ("{{ lipsum(n=1000000) }}", "a call cannot stand"),
    ("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "is nested too deeply"),
    ("{% extends 'lost' %}", "extends cannot stand"),
    ("{% include 'lost' %}", "an include cannot stand"),
]
CURIOUS = [
    ("{{ user.__class__ }}", "there is no variable 'user.__class__'"),
    ("{{ user.name.__class__.__mro__ }}", "nothing is below it"),
    ("{{ ''.__class__ }}", "has no attribute"),
    ("{{ user.attributes.__class__ }}", ""),
    ("{{ user['__dict__'] }}", "there is no variable 'user.__dict__'"),
    ("{{ (user.name or user).__init__ }}", "has no attribute"),
    ("{{ user.name|attr('__class__') }}", "there is no filter 'attr'"),
    ("{{ self.__init__.__globals__ }}", "there is no variable 'self'"),
    ("{{ streak.time_left.__reduce__ }}", "nothing is below it"),
    ("{{ streak.calendar.__len__ }}", "is a list"),
    ("{{ cycler.__init__.__globals__.os }}", "there is no variable 'cycler'"),
    ("{{ config }}", "there is no variable 'config'"),
    ("{% for a in streak.calendar %}{{ loop.cycle }}{% endfor %}", "has no attribute"),
    ("{{ '{0.__class__}'.format(user) }}", "a call cannot stand"),
    ("{{ user.name|safe }}", "there is no filter 'safe'"),
    ("{% autoescape false %}{{ user.name }}{% endautoescape %}", "cannot stand"),
    ("{% set app = 1 %}", "set cannot stand"),
    ("{% import 'os' as os %}", "an import cannot stand"),
    ("{% filter upper %}x{% endfilter %}", "a filter block cannot stand"),
    ("{{ user.name|address }}", "there is no filter 'address'"),
    ("{{ draw(0, 2) }}", "a call cannot stand"),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("source", "told"), [*ENDLESS, *CURIOUS])
def test_a_template_cannot_run_for_ever_or_read_what_it_must_not_s54(
    tmp_path: Path, source: str, told: str
) -> None:
    (tmp_path / "lost.toml").write_text(HEADING.format(source))
    if not told:  # an attribute that nobody has, by whatever name
        assert render("lost", tmp_path).html.count("class 'dict'") == 0
        assert problems(tmp_path) == []
        return
    assert any(told in problem[3] for problem in problems(tmp_path))

    with pytest.raises((TemplatesError, RenderError)):
        render("lost", tmp_path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ user.__class__ }}", UndefinedError),
        ("{{ user.name.upper }}", UndefinedError),
        ("{{ user.__init__.__globals__ }}", UndefinedError),
        ("{{ (1).__class__ }}", UndefinedError),
        ("{{ user.name * 1000000000 }}", SecurityError),
        ("{{ '%1000000000s' % user.name }}", SecurityError),
        ("{{ range(5) }}", UndefinedError),
        ("{{ lipsum() }}", UndefinedError),
        ("{{ nothing }}", UndefinedError),
    ],
)
def test_the_sandbox_holds_by_itself_s54(source: str, error: type[Exception]) -> None:
    template = Sandbox(read_locale("en"), escaped=True).from_string(source)

    with pytest.raises(error):
        template.render(user=sample("lost").user)


def test_values_are_escaped_whatever_filter_they_go_through_s54(tmp_path: Path) -> None:
    source = (
        "{{ user.name|upper }} {{ user.name|lower }} {{ user.name|title }} {{ user.name ~ 'x' }}"
        " {{ [user.name, user.name]|join('<br>') }} {{ '<b>' }} {{ user.name|trim }}"
        " {{ 1|plural(user.name, one=user.name) }} {{ user.name if user.name else '' }}"
    )
    (tmp_path / "lost.toml").write_text(HEADING.format(source))
    html = render("lost", tmp_path, name="<i>&</i>").html

    for tag in ("<i>", "<I>", "<b>", "</i>"):
        assert tag not in html
    assert html.count("&lt;") >= 9
