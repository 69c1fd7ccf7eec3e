"""Emails as they are written: every kind, in HTML and text, checked before any is sent (S54)."""

from __future__ import annotations

import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from models.emails import wording
from models.emails.blocks import TemplateTable
from models.emails.look import CONTRAST_MIN, contrast, make_look
from models.emails.mjml import Page, write_mjml
from models.emails.rendering import EMAIL_BYTES_MAX, Renderer
from models.emails.samples import sample_variables, sparse_variables
from models.emails.sandbox import Sandbox
from models.emails.templates import TemplatesError, load_templates
from models.emails.variables import KINDS, app_variables
from models.emails.wording import read_locale
from tests.emailing import EMAILS, PROGRAM, problems, render, rowing, sample

VOID = {"meta", "img", "br"}
LANGUAGES = (None, "de")
MJML: dict[str, str] = {
    # Element: the attributes that MJML's own validator allows and that we use.
    "mjml": "lang dir",
    "mj-head": "",
    "mj-title": "",
    "mj-preview": "",
    "mj-style": "",
    "mj-raw": "",
    "meta": "name content",
    "mj-attributes": "",
    "mj-all": "font-family",
    "mj-body": "width background-color css-class",
    "mj-section": "background-color border-radius direction padding css-class",
    "mj-column": "",
    "mj-text": "align color font-size font-weight line-height padding css-class",
    "mj-button": "align background-color border border-radius color font-size font-weight href"
    " inner-padding padding",
    "mj-image": "align alt font-size href padding src width css-class",
    "mj-table": "color font-size line-height padding role css-class",
    "mj-divider": "border-color border-width padding css-class",
    "mj-spacer": "height",
    "br": "",
    "a": "href class style",
}
EVERY_BLOCK = """
subject = ["One", "Two"]
preheader = "Before"
[[blocks]]
type = "heading"
text = "Head"
if = "user.name"
[[blocks]]
type = "text"
text = '''First line

Second {% for one in streak.calendar %}{{ one.date }} {% endfor %}'''
[[blocks]]
type = "button"
text = "Go"
url = "https://row.example.org/?u={{ user.id|urlencode }}&v=1"
[[blocks]]
type = "image"
url = "https://row.example.org/boat.png"
alt = "A boat"
width = 200
[[blocks]]
type = "progress"
value = "streak.length / streak.longest"
text = "of your longest"
[[blocks]]
type = "calendar"
[[blocks]]
type = "rows"
each = "streak.calendar"
left = "{{ item.date }}"
right = "{{ item.state }}"
[[blocks]]
type = "divider"
[[blocks]]
type = "random"
of = [{ type = "text", text = "Heads" }, { type = "text", text = "Tails" }]
[[blocks]]
type = "columns"
if = "streak.length > 5"
columns = [
  { blocks = [{ type = "text", text = "Left" }] },
  { blocks = [{ type = "random", of = [{ type = "text", text = "R" }, { type = "divider" }] }] },
]
[[blocks]]
type = "text"
text = "After"
"""


class Tags(HTMLParser):
    """Holds that every element is closed where it should be, and keeps what a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        hidden = tag == "head" or "display:none" in (dict(attrs).get("style") or "")
        self.text += " "
        if tag not in VOID:
            self.open.append(f"{tag} hidden" if hidden else tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().split()[0] == tag
        self.text += " "

    def handle_data(self, data: str) -> None:
        if not any(one.endswith(" hidden") for one in self.open):
            self.text += data


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("email", EMAILS)
def test_every_kind_is_html_and_text_s54(email: str, language: str | None) -> None:
    program, kind = rowing(), EMAILS[email]
    renderer = Renderer(program, load_templates(None))
    for make in (sample_variables, sparse_variables):
        found = renderer.render(make(program, kind, email, language=language), email=email)
        tags = Tags(found.html)

        assert found.language == (language or "en")
        assert found.subject
        assert "\n" not in found.subject
        assert len(found.html.encode()) < EMAIL_BYTES_MAX
        for text in (found.html, found.text, found.subject):
            assert not re.search(r"\{\{|\{%|@@|None|Undefined", text)
        for url in ("https://row.example.org/app", f"{program.app.link_url}/unsubscribe/sample"):
            assert url in tags.links
            assert url in found.text


@pytest.mark.parametrize("email", EMAILS)
def test_the_text_says_all_that_the_html_says_s54(email: str) -> None:
    found = render(email)
    tags = Tags(found.html)

    said = re.findall(r"\w+", tags.text)
    assert len(said) > 20
    assert set(said) - set(re.findall(r"\w+", found.text)) == set()


@pytest.mark.parametrize("email", EMAILS)
def test_with_images_off_an_email_says_the_same_s54(email: str) -> None:
    tags = Tags(render(email).html)

    assert [image["alt"] for image in tags.images] == ["Rowing & Co"]


def _mjml(text: str, language: str = "en") -> ElementTree.Element:
    program, locale = rowing(), read_locale(language)
    page = Page(
        app=app_variables(program),
        look=make_look("#0b7285"),
        words=load_templates(None).words(language).table,
        locale=locale,
    )
    table = TemplateTable.model_validate(tomllib.loads(text))
    return ElementTree.fromstring(write_mjml(table, page, Sandbox(locale, escaped=True))[0])


BUILTIN = [
    pytest.param(path.read_text(), id=path.stem)
    for path in sorted(Path(wording.__file__).parent.glob("builtin/*.toml"))
    if not path.stem.startswith("words")
]


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("text", [*BUILTIN, pytest.param(EVERY_BLOCK, id="every block")])
def test_the_mjml_has_only_what_mjml_allows_s54(text: str, language: str) -> None:
    for element in _mjml(text, language).iter():
        assert set(element.attrib) <= set(MJML[element.tag].split()), element.tag


def test_every_block_is_rendered_in_both_s54(tmp_path: Path) -> None:
    folder = write(tmp_path, "lost.toml", EVERY_BLOCK)
    found = render("lost", folder, id="a b&c")
    tags = Tags(found.html)

    assert "https://row.example.org/?u=a%20b%26c&v=1" in tags.links
    assert "https://row.example.org/?u=a%20b%26c&v=1" in found.text
    assert [image["alt"] for image in tags.images] == ["Rowing & Co", "A boat"]
    assert "[#####---------------] 26%\nof your longest" in found.text
    assert "- November 1: open" in found.text
    for text in (tags.text, found.text):
        assert ("Heads" in text) != ("Tails" in text)
        assert "Left" in text
        assert text.index("Head") < text.index("Left") < text.index("After")


def test_a_condition_leaves_blocks_out_of_both_s54(tmp_path: Path) -> None:
    text = EVERY_BLOCK.replace("streak.length > 5", "streak.length > 500")
    found = render("lost", write(tmp_path, "lost.toml", text), name=None)

    for said in (Tags(found.html).text, found.text):
        assert "Left" not in said
        assert not re.search(r"\bHead\b", said)
        assert "After" in said


def test_what_is_drawn_follows_the_key_of_the_email_s54(tmp_path: Path) -> None:
    folder = write(tmp_path, "lost.toml", EVERY_BLOCK)
    drawn = {}
    for seed in map(str, range(40)):
        found, again = (render("lost", folder, seed=seed) for _ in range(2))
        assert found == again
        side = "Heads" if "Heads" in found.text else "Tails"
        assert side in found.html
        drawn[seed] = (found.subject, side)

    assert set(drawn.values()) == {
        (subject, side) for subject in ("One", "Two") for side in ("Heads", "Tails")
    }


def test_a_template_may_be_json_s54(tmp_path: Path) -> None:
    data = {"subject": "S", "blocks": [{"type": "text", "text": "From JSON"}]}
    folder = write(tmp_path, "reminder.json", json.dumps(data))

    assert "From JSON" in render("reminder", folder).text


SHORT = 'subject = "{0}"\n[[blocks]]\ntype = "text"\ntext = "{0}"\n'


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (None, "plain"),
        ("fr", "plain"),
        ("de", "german"),
        ("de-AT", "german"),
        ("DE_at", "german"),
        ("pt-BR", "brazil"),
        ("pt-PT", "plain"),
        ("../../etc", "plain"),
    ],
)
def test_the_language_of_the_reader_chooses_s54(
    tmp_path: Path, language: str | None, said: str
) -> None:
    for name, text in {
        "lost.toml": "plain",
        "lost.de.toml": "german",
        "lost.pt-BR.toml": "brazil",
        "streak-lost.fr.toml": "of the kind",
    }.items():
        write(tmp_path, name, SHORT.format(text))
    attributes = {} if language is None else {"language": language}

    assert render("lost", tmp_path, attributes=attributes).subject == said


def test_built_in_templates_are_translated_with_their_words_s54() -> None:
    found = render("podium", attributes={"language": "de"})

    assert 'lang="de"' in found.html
    assert "(du)" in found.text
    assert "1.204" in found.text
    assert "Abmelden: https://" in found.text


def test_the_subject_of_the_program_stands_over_its_own_language_s54() -> None:
    assert render("reminder").subject == "11 days, Amélie"
    assert render("reminder", name=None).subject == "11 days, rower"
    assert "days," not in render("reminder", attributes={"language": "de"}).subject


def test_an_email_has_the_template_of_its_name_before_that_of_its_kind_s54(tmp_path: Path) -> None:
    write(tmp_path, "streak-lost.toml", SHORT.format("of the kind"))
    assert render("lost", tmp_path).subject == "of the kind"
    write(tmp_path, "lost.toml", SHORT.format("of the email"))
    assert render("lost", tmp_path).subject == "of the email"


def test_the_brand_is_on_every_email_s54() -> None:
    found = render("achieved")

    assert 'src="https://row.example.org/logo.png"' in found.html
    assert "background:#0b7285" in found.html
    plain = rowing(PROGRAM.replace("logo_url", "# ").replace("link_url", "# "))
    bare = Renderer(plain, load_templates(None)).render(
        sample_variables(plain, "achievement", "achieved"), email="achieved"
    )
    assert "<img" not in bare.html
    assert "Rowing &amp; Co" in bare.html
    assert "See what is next" not in bare.html


@pytest.mark.parametrize(
    "color", ["#ffffff", "#000000", "#ffe000", "#2457d6", "#ff0000", "#777777"]
)
def test_colours_are_readable_whatever_the_app_has(color: str) -> None:
    look = make_look(color)

    assert contrast(look.on_button, look.button) >= CONTRAST_MIN
    for colors in (look.light, look.dark):
        for ground in (colors.card, colors.ground, colors.own):
            assert contrast(colors.ink, ground) >= CONTRAST_MIN
        assert contrast(colors.faint, colors.card) >= CONTRAST_MIN
        assert contrast(colors.faint, colors.ground) >= CONTRAST_MIN
        assert contrast(colors.accent, colors.card) >= CONTRAST_MIN
        assert contrast(colors.ink, colors.cold) >= CONTRAST_MIN
        assert contrast(colors.faint, colors.empty) >= CONTRAST_MIN


def test_dark_mode_is_in_the_email() -> None:
    html = render("reminder").html

    assert '<meta name="color-scheme" content="light dark" />' in html
    assert "@media (prefers-color-scheme: dark)" in html


def test_a_sound_program_has_no_problems_s54(tmp_path: Path) -> None:
    assert problems(None) == []
    assert problems(write(tmp_path, "lost.toml", EVERY_BLOCK)) == []


def test_a_subject_of_the_program_is_checked_s54() -> None:
    text = PROGRAM.replace("{{ streak.length }} days", "{{ streak.lenght }} days")
    line = text[: text.index("lenght")].count("\n") + 1

    assert problems(None, text) == [
        (
            "rowing.toml",
            line,
            "emails.reminder.subject",
            "there is no variable 'streak.lenght'; did you mean 'streak.length'?",
        )
    ]


HEADING = 'subject = "S"\n[[blocks]]\ntype = "heading"\ntext = "{}"\n'
IF = 'subject = "S"\n[[blocks]]\ntype = "divider"\nif = "{}"\n'
URL = 'subject = "S"\n[[blocks]]\ntype = "button"\ntext = "B"\nurl = "{}"\n'
ROWS = 'subject = "S"\n[[blocks]]\ntype = "rows"\neach = "{}"\nleft = "{}"\nright = "x"\n'


@pytest.mark.parametrize(
    ("text", "line", "place", "told"),
    [
        (HEADING.format("{{ streak.nam }}"), 4, "blocks[0].text", "did you mean 'streak.name'?"),
        (HEADING.format("{{ level.name }}"), 4, "blocks[0].text", "no variable 'level'"),
        (HEADING.format("{% if x %}"), 4, "blocks[0].text", "cannot be read"),
        (HEADING.format("{{ user.name|uper }}"), 4, "blocks[0].text", "did you mean 'upper'?"),
        (HEADING.format("{{ streak.name.x }}"), 4, "blocks[0].text", "nothing is below it"),
        (IF.format("streak.longst > 3"), 4, "blocks[0].if", "did you mean 'streak.longest'?"),
        (IF.format("1) %}x{% endif %}{% if (1"), 4, "blocks[0].if", "must be one expression"),
        (URL.format("javascript:alert(1)"), 5, "blocks[0].url", "must begin with https://"),
        (URL.format("{{ user.name }}"), 5, "blocks[0].url", "must begin with https://"),
        (ROWS.format("streak.name", "x"), 4, "blocks[0].each", "such as streak.calendar"),
        (
            ROWS.format("streak.calendar", "{{ item.stat }}"),
            5,
            "blocks[0].left",
            "did you mean 'item.state'?",
        ),
        (
            'subject = "S"\n[[blocks]]\ntype = "leaderboard"\n',
            2,
            "blocks[0]",
            "does not know; leave it out",
        ),
    ],
)
def test_what_is_wrong_with_a_template_is_told_with_its_place_s54(
    tmp_path: Path, text: str, line: int, place: str, told: str
) -> None:
    found = problems(write(tmp_path, "lost.toml", text))

    assert [one[:3] for one in found] == [("lost.toml", line, place)]
    assert told in found[0][3]


def test_what_may_be_missing_must_be_guarded_s54(tmp_path: Path) -> None:
    text = HEADING.format("{{ level.next.name }}")
    [(file, _, _, told)] = problems(write(tmp_path, "up.toml", text))
    assert (file, "little is known" in told, "guard" in told) == ("up.toml", True, True)

    guarded = HEADING.format("{% if level.next %}{{ level.next.name }}{% endif %}")
    assert problems(write(tmp_path, "up.toml", guarded)) == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("lost.toml", "subject = ", "is not TOML"),
        ("lost.json", "{", "is not JSON"),
        ("lost.toml", HEADING.format("x").replace("heading", "hading"), "did you mean 'heading'?"),
        ("lost.toml", HEADING.format("x").replace("text =", "txt ="), "did you mean 'text'?"),
        ("lost.toml", 'subject = "S"\nblocks = []', "must not be empty"),
        ("lost.toml", HEADING.format("x" * 6000), "at most 5000"),
        ("lost.xx9.toml", HEADING.format("x"), "there is no language 'xx9'"),
    ],
)
def test_files_that_are_no_templates_are_refused_s54(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    with pytest.raises(TemplatesError) as caught:
        load_templates(write(tmp_path, name, text))

    [error] = caught.value.errors
    assert Path(error.source).name == name
    assert any(told in one.text for one in error.problems)


def test_a_file_for_nothing_is_told_s54(tmp_path: Path) -> None:
    [(file, _, _, told)] = problems(write(tmp_path, "streak-lst.toml", HEADING.format("x")))

    assert file == "streak-lst.toml"
    assert "did you mean 'streak-lost'?" in told


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(TemplatesError, match="cannot be read as a folder"):
        load_templates(tmp_path / "nowhere")


def test_an_email_that_would_be_cut_is_told_s54(tmp_path: Path) -> None:
    many = 'subject = "S"\n' + '[[blocks]]\ntype = "text"\ntext = "{}"\n'.format("x" * 4000) * 40
    [(_, _, _, told)] = problems(write(tmp_path, "lost.toml", many))

    assert "bytes" in told


def test_every_kind_of_the_program_has_variables_and_a_template() -> None:
    assert set(KINDS) == set(EMAILS.values())
    for email in EMAILS:
        assert type(sample(email)) is KINDS[EMAILS[email]]


def test_own_words_replace_the_look_s_own_s54(tmp_path: Path) -> None:
    keys = ("reason", "unsubscribe", "active", "frozen", "missed", "open", "you", "someone")
    write(
        tmp_path, "words.toml", "".join(f'{key} = "<{key}> {{{{ app.name }}}}"\n' for key in keys)
    )
    found = render("podium", tmp_path)

    assert "&lt;unsubscribe&gt; Rowing &amp; Co</a>" in found.html
    assert "<unsubscribe> Rowing & Co: https://" in found.text
    bad = (tmp_path / "words.toml").read_text().replace("app.name", "app.nme")
    write(tmp_path, "words.toml", bad)
    assert ("words.toml", 1, "reason") in [one[:3] for one in problems(tmp_path)]


@pytest.mark.parametrize("email", EMAILS)
def test_an_email_loads_nothing_but_pictures_that_were_asked_for(email: str) -> None:
    html = render(email).html

    assert "<link" not in html
    assert "@import" not in html
    assert "url(" not in html
    assert re.findall(r'src="([^"]*)"', html) == ["https://row.example.org/logo.png"]
