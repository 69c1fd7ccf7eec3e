"""The version of the time zones is that of those that are used."""

from __future__ import annotations

import zoneinfo
from pathlib import Path

import pytest
import tzdata  # type: ignore[import-untyped] # it has no types

from worker.zones import tzdata_version


@pytest.mark.parametrize(
    ("name", "text"),
    [("tzdata.zi", "# version 2031c\nR A 1916 o\n"), ("+VERSION", "2031c\n")],
)
def test_a_machine_s_zones_tell_their_version(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(text)
    monkeypatch.setattr(zoneinfo, "TZPATH", (str(tmp_path / "none"), str(tmp_path)))
    assert tzdata_version() == "2031c"


def test_without_zones_of_the_machine_those_of_the_package_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoneinfo, "TZPATH", (str(tmp_path),))
    assert tzdata_version() == tzdata.IANA_VERSION
