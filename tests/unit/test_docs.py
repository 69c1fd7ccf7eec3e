"""What the documentation shows can be used: programs load and Python compiles."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from jobs.backfills.kinds import KINDS
from models.program import load_program
from models.warehouse.queries import QUESTIONS
from tests.emailing import problems
from worker.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), ROOT / "client" / "README.md", *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^ *```(\w+)(?: title=\"[^\"]*\")?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROGRAM_MARK = "# program\n"
"""The first line of a TOML block that is a whole program, and not a part of one."""


def _blocks(language: str) -> list[object]:
    return [
        pytest.param(match[2], id=f"{page.relative_to(ROOT)}:{number}")
        for page in PAGES
        for number, match in enumerate(FENCE.finditer(page.read_text("utf-8")), start=1)
        if match[1] == language
    ]


@pytest.mark.parametrize("text", _blocks("python"))
def test_every_python_block_compiles(text: str) -> None:
    # A block may begin where another ended, and use `await` at its top.
    compile(text, "<documentation>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("text", _blocks("toml"))
def test_every_toml_block_parses_and_those_that_are_programs_load(text: str) -> None:
    tomllib.loads(text)
    if text.startswith(PROGRAM_MARK):
        assert load_program(text, source="documentation").metrics


def _shown_commands() -> list[str]:
    blocks = (match for page in PAGES for match in FENCE.finditer(page.read_text("utf-8")))
    lines = [line.strip() for block in blocks if block[1] == "sh" for line in block[2].splitlines()]
    return sorted({line for line in lines if line.startswith("streakline ")})


@pytest.mark.parametrize("line", _shown_commands())
def test_every_command_that_is_shown_has_the_options_that_are_shown(line: str) -> None:
    _, *words = shlex.split(line, comments=True)
    command = get_command(app)
    while words and isinstance(command, TyperGroup):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_feature_has_a_page_with_a_whole_program() -> None:
    pages = {page.stem: page for page in (ROOT / "docs" / "programs").glob("*.md")}
    assert {"metrics", "streaks", "points", "achievements", "leaderboards"} <= pages.keys()
    for name, page in pages.items():
        assert PROGRAM_MARK in page.read_text("utf-8"), name


def test_the_pages_for_newcomers_show_whole_programs() -> None:
    for name in ("README.md", "docs/getting-started.md", "docs/programs.md"):
        assert PROGRAM_MARK in (ROOT / name).read_text("utf-8"), name


def test_the_templates_that_are_shown_can_be_sent(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "emails.md").read_text("utf-8")
    shown = [match[2] for match in FENCE.finditer(page) if "[[blocks]]" in match[2]]
    assert shown
    for text in shown:
        (tmp_path / "reminder.toml").write_text(text, encoding="utf-8")
        assert problems(tmp_path) == []


def test_the_page_about_reports_has_every_title_and_definition() -> None:
    page = " ".join((ROOT / "docs" / "reports.md").read_text("utf-8").split())
    for question in QUESTIONS:
        assert f"### {question.title} {question.definition}" in page, question.name
        assert f"`{question.name}`" in page


def test_every_backfill_has_a_row_on_its_page() -> None:
    page = (ROOT / "docs" / "backfills.md").read_text("utf-8")
    assert [name for name in KINDS if f"\n| `{name}` |" not in page] == []
