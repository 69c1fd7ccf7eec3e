"""The documentation of the program file, and of emails, is that of the code."""

from pathlib import Path

from models.emails import reference as emails
from models.program.reference import reference_page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "program.md"


def test_the_page_is_the_one_that_the_schema_makes() -> None:
    told = PAGE.read_text()

    assert told == reference_page(), f"python -m models.program.reference > {PAGE.name}"


def test_every_key_is_explained() -> None:
    rows = [line for line in reference_page().splitlines() if line.startswith("| `")]

    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_page_about_emails_is_the_one_that_the_code_makes() -> None:
    told = PAGE.with_name("emails.md").read_text()

    assert told == emails.reference_page(), "python -m models.emails.reference > emails.md"
    assert "|  |" not in told
