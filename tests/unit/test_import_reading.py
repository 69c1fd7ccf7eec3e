"""Files of events: whatever is wrong with a line is named by its place, and the rest is read."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.sources import (
    EventRow,
    Format,
    Refused,
    SourceError,
    UserLine,
    UserRow,
    read_events,
    read_users,
)
from models.sources.git_history import read_authors, read_commits
from models.sources.lines import LINE_BYTES_MAX, SHOWN_CHARACTERS_MAX

GOOD = {
    "user_id": "user-1",
    "metric": "commits",
    "key": "a",
    "value": 2,
    "occurred_at": "2026-11-23T09:00:00+01:00",
}


def written(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def as_line(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"user_id": "user-1", ', "is no JSON"),
        (b'{"user_id": "\xff"}', "is not UTF-8"),
        (b"[]", "must be an object"),
        (as_line(value="many"), "value"),
        (as_line(value=None, metric=""), "metric"),
        (as_line(occurred_at="2026-11-23T09:00:00"), "no UTC offset"),
        (b'{"value": ' + b"1" * 5_000 + b"}", "is no JSON that can be read"),
        (as_line(user_id="x" * 300), "300 characters"),
        (as_line(usr={"tz": "UTC"}), "unknown field"),
        (b"x" * (LINE_BYTES_MAX + 10), "longer than"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_bad_line_is_refused_by_number_and_the_others_are_read(
    line: bytes, reason: str, tmp_path: Path
) -> None:
    path = written(tmp_path, as_line(key="a"), b"", line, as_line(key="b"))
    first, refused, last = read_events(path)
    assert isinstance(first, EventRow)
    assert (first.item.key, first.line) == ("a", 1)
    assert isinstance(refused, Refused)
    assert (refused.file, refused.line) == (str(path), 3)
    assert reason in refused.reason
    assert isinstance(last, EventRow)
    assert (last.item.key, last.line) == ("b", 4)


def test_lines_without_a_key_get_the_same_keys_each_time(tmp_path: Path) -> None:
    """S75: importing a file again changes nothing, though two equal lines are two events."""
    path = written(tmp_path, as_line(key=None), as_line(key=None), as_line(key=None, value=3))
    first, again = list(read_events(path)), list(read_events(path))
    assert first == again
    assert len({row.item.key for row in first if isinstance(row, EventRow)}) == 3


def test_a_truncated_gzip_gives_what_it_holds_and_says_where_it_breaks_off(tmp_path: Path) -> None:
    lines = b"\n".join(as_line(key=str(number), value=number) for number in range(5_000))
    path = tmp_path / "events.jsonl.gz"
    whole = gzip.compress(lines)
    path.write_bytes(whole[: len(whole) // 2])
    *events, refused = read_events(path)
    assert events
    assert isinstance(refused, Refused)
    assert "breaks off" in refused.reason


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.jsonl cannot be read"):
        list(read_events(tmp_path / "nowhere.jsonl"))


def test_a_column_with_characters_that_cannot_be_kept_is_named_by_its_repr(tmp_path: Path) -> None:
    path = written(tmp_path, b"\x00user_id,metric", b"u,m")
    with pytest.raises(SourceError) as caught:
        list(read_events(path, Format.CSV))
    assert str(caught.value).endswith("as in --columns user_id='\\x00user_id'")


def test_users_are_read_with_their_zones_and_a_bad_zone_is_refused(tmp_path: Path) -> None:
    """S6: an unknown zone is refused with the nearest name."""
    path = written(
        tmp_path,
        b'{"user_id": "user-1", "tz": "Asia/Tokyo"}',
        b'{"user_id": "user-2", "tz": "Asia/Tokio"}',
    )
    good, bad = read_users(path)
    assert isinstance(good, UserRow)
    assert good.item == UserLine(data={"user_id": "user-1", "tz": "Asia/Tokyo"})
    assert isinstance(bad, Refused)
    assert "did you mean 'Asia/Tokyo'?" in bad.reason


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with three commits of two authors, one with a name full of traps."""
    path = tmp_path / "history"
    path.mkdir()

    def git(*words: str, **environment: str) -> None:
        subprocess.run(
            ["git", "-C", str(path), *words], check=True, capture_output=True, env=environment
        )

    git("init", "-q", PATH="/usr/bin:/bin:/usr/local/bin", HOME=str(tmp_path))
    commits = [
        ("a@example.org", "2026-11-01T10:00:00+05:30"),
        ("A@example.org", "2026-11-02T10:00:00+05:30"),
        ("b@example.org", "2026-11-02T23:00:00-08:00"),
    ]
    for address, instant in commits:
        git(
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "a trap",
            PATH="/usr/bin:/bin:/usr/local/bin",
            HOME=str(tmp_path),
            GIT_AUTHOR_NAME='Trap"\\',
            GIT_AUTHOR_EMAIL=address,
            GIT_AUTHOR_DATE=instant,
            GIT_COMMITTER_NAME="x",
            GIT_COMMITTER_EMAIL="x@example.org",
            GIT_COMMITTER_DATE=instant,
        )
    return path


def test_commits_are_events_of_their_authors_whose_addresses_stay_out(repository: Path) -> None:
    events = list(read_commits(repository))
    assert len(events) == 3
    assert len({event.key for event in events}) == 3
    assert len({event.user_id for event in events}) == 2, "addresses differ in case only"
    assert all(event.attributes == {"repo": "history"} for event in events)
    assert "example.org" not in repr(events)
    assert sorted(user.data["tz"] for user in read_authors(repository)) == [
        "Asia/Kolkata",
        "Etc/GMT+8",
    ]


def test_a_folder_without_history_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"name the folder of a git repository"):
        list(read_commits(tmp_path))


LONG_LINE_BYTES = 64 << 20
READ = """
import resource, sys
from pathlib import Path
from models.sources import read_events
print(*[type(row).__name__ for row in read_events(Path(sys.argv[1]))])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
"""


def read_apart(path: Path) -> tuple[str, int]:
    """Read a file in a process of its own; return what its rows are, and its peak of bytes."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, check=True)
    rows, peak = done.stdout.decode().splitlines()
    return rows, int(peak)


@pytest.mark.parametrize("header", [b"", b"user_id,metric,key\n"])
def test_a_line_without_an_end_takes_no_memory(header: bytes, tmp_path: Path) -> None:
    good = b"u1,lessons,a\n" if header else as_line() + b"\n"
    short, long = (tmp_path / f"{name}.{'csv' if header else 'jsonl'}.gz" for name in "sl")
    short.write_bytes(gzip.compress(header + good + b"x\n" + good))
    with gzip.open(long, "wb", compresslevel=1) as file:
        file.write(header + good)
        for _ in range(LONG_LINE_BYTES // LINE_BYTES_MAX):
            file.write(bytes(LINE_BYTES_MAX))
        file.write(b"\n" + good)
    rows, peak = read_apart(short)
    assert rows == "EventRow Refused EventRow"
    rows_of_long, peak_of_long = read_apart(long)
    assert rows_of_long == rows
    assert peak_of_long < peak + LONG_LINE_BYTES // 4
    [refused] = [row for row in read_events(long) if isinstance(row, Refused)]
    assert refused.line == (3 if header else 2)
    assert refused.reason == f"is longer than {LINE_BYTES_MAX} bytes"
    assert refused.row == "\\x00" * SHOWN_CHARACTERS_MAX


def test_of_a_long_row_that_is_no_event_only_how_it_begins_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path, as_line(text="x" * 100_000), as_line(text="short"))
    long, short = (row.row for row in read_events(path) if isinstance(row, Refused))
    assert isinstance(long, str)
    assert (len(long), long[:20]) == (SHOWN_CHARACTERS_MAX, '{"user_id": "user-1"')
    assert short == {**GOOD, "text": "short"}
