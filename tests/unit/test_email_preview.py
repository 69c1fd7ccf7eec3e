"""`email preview` and what `program check` says of emails: files, exit codes, the page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import Result

from models.emails.templates import load_templates
from models.emails.variables import KINDS
from models.program import read_program
from tests.commands import invoke
from tests.emailing import EMAILS, PROGRAM
from worker.previewing.server import Previews, watched_files
from worker.settings import Settings
from worker.templates import templates_folder

OWN = 'subject = "Own"\n[[blocks]]\ntype = "heading"\ntext = "{}"\n'


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("STREAKLINE_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "rowing.toml"
    path.write_text(PROGRAM)
    monkeypatch.setenv("STREAKLINE_PROGRAM", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def run(*arguments: str) -> Result:
    return invoke(arguments)


def own(program: Path, name: str, text: str) -> Path:
    folder = program.parent / "templates"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(OWN.format(text))
    return folder


def test_an_email_is_written_as_html_and_text(program: Path) -> None:
    found = run("email", "preview", "reminder", "--out", "made/here")

    assert found.exit_code == 0
    assert found.stdout.split() == ["made/here/reminder.html", "made/here/reminder.txt"]
    assert "keep your streak alive" in Path("made/here/reminder.html").read_text()
    text = Path("made/here/reminder.txt").read_text()
    assert text.startswith("11 days, Amélie\n\nRowing & Co\n")


def test_a_kind_is_the_program_s_email_of_it_in_a_language(program: Path) -> None:
    found = run("email", "preview", "milestone", "--language", "de")

    assert found.exit_code == 0
    assert "30 Tage in Folge" in Path("emails/milestone.txt").read_text()


def test_without_a_name_all_are_written(program: Path) -> None:
    program.write_text(PROGRAM.partition("[emails.back]")[0])
    assert run("email", "preview").exit_code == 0

    names = {path.stem for path in Path("emails").glob("*.html")}
    assert names == (set(EMAILS) - {"back", "podium"}) | {"inactive", "leaderboard-finished"}
    assert len(names) == len(KINDS)


def test_an_unknown_name_is_wrong_use_and_told(program: Path) -> None:
    found = run("email", "preview", "remindr")

    assert found.exit_code != 0
    assert "did you mean 'reminder'?" in str(found.exception)


def test_the_check_of_a_program_tells_what_is_wrong_with_its_emails_s54(program: Path) -> None:
    assert run("program", "check").exit_code == 0
    own(program, "lost.toml", "{{ streak.nam }}")

    found = run("program", "check")
    assert found.exit_code == 1
    assert "lost.toml has 1 problem" in found.stderr
    assert "line 4, blocks[0].text: there is no variable 'streak.nam'" in found.stderr

    told = json.loads(run("program", "check", "--json").stdout)
    assert told["ok"] is False
    [problem] = told["problems"]
    assert (Path(problem["file"]).name, problem["line"]) == ("lost.toml", 4)


def test_the_folder_is_the_one_that_is_set_or_lies_by_the_program(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert templates_folder(Settings.load(), program) is None
    folder = own(program, "lost.toml", "x")
    assert templates_folder(Settings.load(), program) == folder
    monkeypatch.setenv("STREAKLINE_TEMPLATES", "elsewhere")
    assert templates_folder(Settings.load(), program) == Path("elsewhere")


@pytest.fixture
def previews(program: Path) -> Previews:
    folder = own(program, "lost.toml", "First")
    return Previews(
        load=lambda: (read_program(program), load_templates(folder)),
        watched=lambda: watched_files(program, folder),
    )


def test_the_page_shows_every_email_narrow_and_wide_light_and_dark(previews: Previews) -> None:
    status, kind, page = previews.answer("/?language=de")

    assert (status, kind) == (200, "text/html")
    for name in EMAILS:
        for scheme in ("light", "dark"):
            source = f'src="/{name}.html?scheme={scheme}&amp;language=de"'
            assert page.count(source) == 2  # narrow and wide


def test_light_and_dark_do_not_wait_for_the_screen(previews: Previews) -> None:
    light, dark = (previews.answer(f"/lost.html?scheme={one}")[2] for one in ("light", "dark"))

    assert "@media not all {" in light
    assert "@media all {" in dark
    assert "prefers-color-scheme" not in light + dark
    assert previews.answer("/lost.txt")[1:] == ("text/plain", previews.answer("/lost.txt")[2])


def test_a_change_makes_a_new_version_and_a_fault_is_shown_until_it_is_gone(
    previews: Previews, program: Path
) -> None:
    versions = [previews.answer("/version")[2]]
    own(program, "lost.toml", "Second {{ streak.nam }}")
    versions.append(previews.answer("/version")[2])
    status, _, page = previews.answer("/")
    assert (status, "did you mean &#39;streak.name&#39;?" in page) == (200, True)

    own(program, "lost.toml", "Third")
    own(program, "held.toml", "New")
    versions.append(previews.answer("/version")[2])
    assert "Third" in previews.answer("/lost.html")[2]
    assert len(set(versions)) == 3


@pytest.mark.parametrize("path", ["/nothing.html", "/../../etc/passwd", "/x", "/%2e%2e/a.txt"])
def test_what_is_not_there_is_not_found(previews: Previews, path: str) -> None:
    status, kind, _ = previews.answer(path)

    assert (status, kind) == (404, "text/plain")
