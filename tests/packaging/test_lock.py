"""requirements.lock: pinned by hashes, nothing that nobody needs, licences that are known.

What is published about vulnerabilities is asked by `make audit`, which needs the network.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
LINES = [line for line in LOCK.replace("\\\n", " ").splitlines() if line.strip()]
HASHES = re.compile(r"( +--hash=sha256:[0-9a-f]{64})+")
OURS = {"streakline", "streakline-worker"}
LICENCES = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|LGPL|Lesser General|"
    r"Zlib|PostgreSQL|CC0|Unlicense|Public Domain)\b",
    re.IGNORECASE,
)
"""What a package may say of itself: nothing of it makes a program that uses it anything else."""

UNSAID = {"mrml": "MIT"}
"""What a package's own metadata leave out, by its source."""


def locked() -> dict[str, Requirement]:
    """Return what the lock has for this machine, by name."""
    found = (Requirement(HASHES.sub("", line)) for line in LINES)
    return {
        canonicalize_name(one.name): one
        for one in found
        if one.marker is None or one.marker.evaluate()
    }


def wanted() -> list[Requirement]:
    """Return what both projects ask for themselves."""
    root, client = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))
        for folder in (".", "client")
    )
    asked = root["project"]["dependencies"] + client["project"]["dependencies"]
    asked += root["dependency-groups"]["dev"] + ["pip"]
    return [Requirement(text) for text in asked]


def needed_by(one: Requirement) -> Iterator[Requirement]:
    """Yield what a package needs on this machine with the extras that are asked for."""
    for text in distribution(one.name).requires or ():
        other = Requirement(text)
        environments = [{"extra": extra} for extra in one.extras or {""}]
        if other.marker is None or any(map(other.marker.evaluate, environments)):
            yield other


def test_what_is_locked_is_one_version_with_its_hashes_and_no_address() -> None:
    for line in LINES:
        hashes = HASHES.search(line)
        assert hashes is not None, line
        requirement = Requirement(line[: hashes.start()] + line[hashes.end() :])
        [pin] = requirement.specifier
        assert (requirement.url, pin.operator) == (None, "=="), line
        assert "*" not in pin.version, line


def test_the_lock_has_what_is_needed_and_nothing_else() -> None:
    waiting, reached, seen = wanted(), set(), set()
    while waiting:
        one = waiting.pop()
        if str(one) not in seen:
            seen.add(str(one))
            reached.add(canonicalize_name(one.name))
            waiting += needed_by(one)
    assert reached - OURS == locked().keys()


def test_what_is_installed_is_what_is_locked_under_a_licence_that_is_known() -> None:
    for name, requirement in locked().items():
        found = distribution(name)
        assert requirement.specifier.contains(found.version, prereleases=True), name
        assert LICENCES.search(_licence_of(found)), (name, _licence_of(found))


def _licence_of(found: Distribution) -> str:
    said = found.metadata
    texts = [
        text for field in ("License-Expression", "License") for text in said.get_all(field, [])
    ]
    texts += [one for one in said.get_all("Classifier", []) if one.startswith("License ::")]
    return "; ".join([*texts, UNSAID.get(found.name, "")])
