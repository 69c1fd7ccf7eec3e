"""The worker's wheel: the packages, and what they read beside their code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
READ_FROM_FILES = {
    "worker/Procfile",
    "worker/cli/demo.toml",
    "worker/reporting/page.html.j2",
    "worker/reporting/page.css",
    "worker/reporting/page.js",
    "worker/mailing/page.html.j2",
    "worker/previewing/page.html.j2",
    "worker/previewing/page.js",
    "models/emails/builtin/words.toml",
    "models/emails/builtin/streak-reminder.toml",
    "models/rankings.lua",
    "models/migrations/script.py.mako",
}


def test_the_wheel_holds_the_packages_and_the_files_that_they_read(tmp_path: Path) -> None:
    build = ["hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run([sys.executable, "-m", *build], cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("streakline_worker-*.whl")
    names = set(ZipFile(wheel).namelist())
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"models", "jobs", "worker"}
    assert names >= READ_FROM_FILES
