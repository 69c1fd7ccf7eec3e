"""From the latest release to this version, on living data."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers import lacks
from tests.upgrading import upgrade_from

ROOT = Path(__file__).parents[2]
RELEASED = re.compile(r"^## \[?(\d+\.\d+\.\d+)", re.MULTILINE)


def latest_release(changelog: str) -> str | None:
    """Return the latest version that a changelog names as released."""
    found = RELEASED.search(changelog)
    return found and found[1]


@pytest.mark.parametrize(
    ("changelog", "expected"),
    [
        ("# Changelog\n\n## Unreleased\n\n### Added\n", None),
        ("## Unreleased\n\n## 1.10.0 - 2027-01-02\n\n## 1.9.0 - 2026-12-01\n", "1.10.0"),
        ("## Unreleased\n\n## [1.0.0] - 2026-12-01\n", "1.0.0"),
    ],
)
def test_the_latest_release_is_what_the_changelog_says(
    changelog: str, expected: str | None
) -> None:
    assert latest_release(changelog) == expected


def test_from_the_latest_release_to_this() -> None:
    """Before there is a release it goes from what was committed last: that it would be found."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        lacks("no git, or not its checkout")
    version = latest_release((ROOT / "CHANGELOG.md").read_text("utf-8"))
    reference = "HEAD" if version is None else f"v{version}"
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}"],
        cwd=ROOT,
        check=False,
    )
    assert found.returncode == 0, f"{reference} was released, and is not here: git fetch --tags"
    upgrade_from(reference)
