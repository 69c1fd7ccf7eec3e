"""Imports as backfills: each format, whatever is wrong with a file, broken off (S70, S75)."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped] # has no types
import pyarrow.parquet  # type: ignore[import-untyped] # as above
import pytest
from sqlalchemy import Engine, create_engine, text

from jobs.backfills import Context, NotPossible, resume_backfill
from jobs.backfills.kinds import KINDS, import_events
from jobs.backfills.kinds.import_events import ImportEvents
from models import tables
from models.sources import lines, queries
from models.statements.backfills import State
from models.statements.staged import read_refusals
from tests.applying import (
    NOW,
    digest_state,
    dump_state,
    must_equal,
    must_verify,
    opened,
    put_events,
    put_program,
    put_users,
    read_table,
)
from tests.backfilling import OPS, chunks, counts, opened_context, run, start

KIND = "import-events"
PROGRAM = """
[app]
name = "Import"
[metrics.lessons]
max_value = 100
[streaks.daily]
frequency = "daily"
metrics = { lessons = 1 }
[streaks.daily.freezes]
start = 1
max = 2
[points.xp.triggers.lesson]
on = "metric"
metric = "lessons"
every = 4
points = 10
[achievements.scholar]
on = "metric"
metric = "lessons"
at = 12
[leaderboards.weekly]
rank_by = { metric = "lessons" }
period = "week"
"""
ROWS = 7
USERS = 5
DAYS = 12


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with opened(database_url) as engine:
        put_program(engine, PROGRAM)
        yield engine


@pytest.fixture
def context(
    engine: Engine, valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Context]:
    monkeypatch.setattr(ImportEvents, "rows_max", ROWS)
    with opened_context(engine, valkey_url, namespace) as context:
        yield context


def event(user: int, day: int, **more: Any) -> dict[str, Any]:
    at = datetime.fromisoformat("2021-03-01T08:00:00Z") + timedelta(days=day)
    return {
        "user_id": f"u{user}",
        "metric": "lessons",
        "key": f"old-{day}",
        "value": str(1 + day % 3),
        "occurred_at": at.isoformat(),
        "attributes": {"language": "fr"},
    } | more


def history() -> list[dict[str, Any]]:
    """Return events of some users, out of order and with gaps."""
    days = [day for day in range(DAYS) if day % 5]
    events = [event(user, day) for day in reversed(days) for user in range(USERS)]
    return events[7:] + events[:7]


def let_go(number: int) -> None:
    """Close what the process has open of a backfill, as if it was another process from now on."""
    kind = KINDS[KIND]
    assert isinstance(kind, ImportEvents)
    kind.let_go(number)


def write_lines(path: Path, events: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in events), encoding="utf-8")
    return path


def write_gzip(path: Path, events: Sequence[Any]) -> Path:
    path.write_bytes(gzip.compress(write_lines(path, events).read_bytes()))
    return path


def write_zstd(path: Path, events: Sequence[Any]) -> Path:
    plain = write_lines(path, events).read_bytes()
    path.write_bytes(pa.Codec("zstd").compress(plain, asbytes=True))
    return path


def write_csv(path: Path, events: Sequence[Any]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["uid", "created", "key", "value", "lang", "of no use"])
        for one in events:
            language = one["attributes"]["language"]
            writer.writerow(
                [one["user_id"], one["occurred_at"], one["key"], one["value"], language, 'a "b"\n,']
            )
    return path


def write_parquet(path: Path, events: Sequence[Any]) -> Path:
    table = pa.table(
        {
            "uid": [one["user_id"] for one in events],
            "created": pa.array(
                [datetime.fromisoformat(one["occurred_at"]) for one in events],
                pa.timestamp("us", "UTC"),
            ),
            "key": [one["key"] for one in events],
            "value": [int(one["value"]) for one in events],
            "lang": [one["attributes"]["language"] for one in events],
        }
    )
    pyarrow.parquet.write_table(table, str(path), row_group_size=10)
    return path


MAPPED = {
    "columns": {"user_id": "uid", "occurred_at": "created", "attributes.language": "lang"},
    "constants": {"metric": "lessons"},
}
FORMATS = pytest.mark.parametrize(
    ("name", "write", "more"),
    [
        ("events.jsonl", write_lines, {}),
        ("events.jsonl.gz", write_gzip, {}),
        ("events.jsonl.zst", write_zstd, {}),
        ("events.csv", write_csv, MAPPED),
        ("events.parquet", write_parquet, MAPPED),
    ],
)
Write = Callable[[Path, Sequence[Any]], Path]


@FORMATS
def test_each_format_gives_what_the_events_would_and_again_nothing_s70_s75(
    name: str,
    write: Write,
    more: dict[str, Any],
    context: Context,
    second_database_url: str,
    tmp_path: Path,
) -> None:
    path = write(tmp_path / name, history())
    done = run(context, KIND, {"files": [str(path)], **more})
    assert done.done == done.total == 2 * len(history())
    assert done.changes["events"] == {"added": len(history()), "samples": []}
    for table in (tables.point_entries, tables.achievements, tables.notices, tables.run_scores):
        there = len(read_table(context.engine, table))
        assert counts(done.changes)[table.name] == {"added": there}, "most without being read"
    with opened(second_database_url) as other:
        put_program(other, PROGRAM)
        put_events(other, history())
        must_equal(dump_state(context.engine), dump_state(other))
        assert digest_state(context.engine) == digest_state(other)
        put_events(other, [event(1, DAYS)])
        differing = digest_state(other).items() - digest_state(context.engine).items()
        assert {name for name, _ in differing} >= {"events", "users", "run_scores", "states"}
    must_verify(context.engine)
    before = dump_state(context.engine)
    assert run(context, KIND, {"files": [str(path)], **more}).changes == {}
    must_equal(dump_state(context.engine), before)


def test_a_dry_run_tells_exactly_what_the_run_does_and_changes_nothing_s72(
    context: Context, tmp_path: Path
) -> None:
    put_events(context.engine, [event(0, 3), event(1, 4, value="50"), event(9, 1)])
    twice = [event(2, 1), event(2, 1, value="9"), event(3, 2, metric="naps")]
    path = write_lines(tmp_path / "events.jsonl", [*history(), *twice, {"user_id": 3}])
    before = dump_state(context.engine)
    predicted = run(context, KIND, {"files": [str(path)]}, dry_run=True)
    must_equal(dump_state(context.engine), before)
    assert read_table(context.engine, tables.rejected_events) == []
    assert read_table(context.engine, tables.notices) != []
    done = run(context, KIND, {"files": [str(path)]})
    assert done.changes == predicted.changes
    assert done.changes["users"]["added"] == 3
    assert done.changes["achievements"]["added"] == USERS - 1, "u1 has it already"
    assert refusals(context, done.backfill_id) == refusals(context, predicted.backfill_id)
    must_verify(context.engine)


def test_read_again_by_another_process_for_each_chunk_it_is_the_same_s71(
    context: Context, second_database_url: str, tmp_path: Path
) -> None:
    """As after a kill in every chunk: nothing is left of what the process had open."""
    events = [*history(), event(1, 2, key=None), event(1, 2, key=None)]
    first = write_lines(tmp_path / "a.jsonl", [*events[:9], "bad", *events[9:20]])
    table = write_csv(tmp_path / "b.csv", history()[20:])
    more = write_lines(tmp_path / "c.jsonl", events[20:])
    parameters = {"files": [str(first), str(table), str(more)], **MAPPED}
    number = start(context, KIND, parameters)
    for _ in chunks(context, number):
        let_go(number)
    with opened(second_database_url) as other:
        put_program(other, PROGRAM)
        keyed = [one for one in events if one["key"]]
        put_events(other, keyed)
        found = {row["key"] for row in read_table(context.engine, tables.events)}
        wanted = {row["key"] for row in read_table(other, tables.events)}
    assert len(found - wanted) == 2, "equal lines without a key are two events"
    assert found > wanted
    must_verify(context.engine)


def test_to_where_it_was_broken_off_it_reads_again_in_short_chunks_s71(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_events, "PASSED_ROWS_MAX", ROWS - 1)
    path = write_lines(tmp_path / "events.jsonl", history())
    number = start(context, KIND, {"files": [str(path)]})
    running = chunks(context, number)
    *_, before = islice(running, 3)
    let_go(number)
    dones = [one.done for one in running]
    assert dones[:4] == [before.done] * 3 + [before.done + ROWS]
    assert dones[-1] == 2 * len(history())
    must_verify(context.engine)


def test_what_is_told_about_users_is_there_before_their_events_s1(
    context: Context, tmp_path: Path
) -> None:
    late = event(1, 1, occurred_at="2021-03-01T23:30:00Z")
    files = [str(write_lines(tmp_path / "events.jsonl", [late]))]
    told = [{"user_id": "u1", "tz": "Asia/Tokyo"}, {"user_id": "u2", "tz": "Asia/Tokio"}]
    users = write_lines(tmp_path / "users.jsonl", told)
    done = run(context, KIND, {"files": files, "users": [str(users)]})
    [stored] = read_table(context.engine, tables.events)
    assert stored["local_date"].isoformat() == "2021-03-02"
    [(_, line, reason)] = refusals(context, done.backfill_id)
    assert (line, "did you mean 'Asia/Tokyo'?" in reason) == (2, True)


def test_nobody_is_told_of_what_was_imported_s53(context: Context, tmp_path: Path) -> None:
    run(context, KIND, {"files": [str(write_lines(tmp_path / "events.jsonl", history()))]})
    notices = read_table(context.engine, tables.notices)
    assert notices
    assert all(row["silent"] for row in notices)


def refusals(context: Context, number: int) -> list[tuple[str, int, str]]:
    with context.engine.connect() as connection:
        return [
            (Path(one.file).name, one.line, one.reason) for one in read_refusals(connection, number)
        ]


GOOD = json.dumps(event(1, 1)).encode()
OTHER = json.dumps(event(2, 2)).encode()
HEADER = b"user_id,metric,key,value,occurred_at\n"
ROW = b"u%d,lessons,k%d,1,2021-03-01T08:00:00Z\n"


@pytest.mark.parametrize(
    ("name", "content", "good", "refused"),
    [
        ("a.jsonl", GOOD + b"\n{\n" + OTHER, 2, [(2, "is no JSON")]),
        ("a.jsonl", GOOD + b'\n{"user_id": "\xe9"}\n' + OTHER, 2, [(2, "is not UTF-8 (byte 14)")]),
        ("a.jsonl", b"", 0, [(1, "the file is empty")]),
        (
            "a.jsonl",
            GOOD + b"\n" + GOOD.replace(b'"2"', b'"3"') + b"\n" + OTHER,
            2,
            [(2, "conflict: value differ from the event accepted under this key")],
        ),
        ("a.jsonl", GOOD + b"\n" + OTHER.replace(b'"3"', b'"101"'), 1, [(2, "too-large: 101")]),
        (
            "a.jsonl",
            GOOD + b"\n" + OTHER.replace(b'"lessons"', b'"lesson"'),
            1,
            [(2, "unknown-metric: the program declares no metric 'lesson'; did you mean")],
        ),
        ("a.jsonl", b'{"user_id": "a\\u0000b", "metric": "lessons"}\n' + GOOD, 1, [(1, "user_id")]),
        ("a.jsonl", b"\x00\x01\n" + GOOD, 1, [(1, "is no JSON")]),
        ("a.csv", b"", 0, [(1, "the file is empty")]),
        ("a.csv", HEADER, 0, [(1, "the file is empty, or has no rows")]),
        (
            "a.csv",
            HEADER + ROW % (1, 1) + b"u1,lessons\n\n" + ROW % (2, 2),
            2,
            [(3, "has 2 cells where the first line names 5")],
        ),
        (
            "a.csv",
            b"\xef\xbb\xbf" + HEADER + ROW % (1, 1) + b"u\xe9,lessons,k,1,\n" + ROW % (2, 2),
            2,
            [(3, "is not UTF-8 (byte 2)")],
        ),
        (
            "a.csv",
            HEADER + ROW % (1, 1) + b'u1,"lessons,k,1,2\n' + ROW % (2, 2),
            1,
            [(4, "is no CSV: unexpected end of data")],
        ),
        (
            "a.csv",
            HEADER + b",lessons,k,1,\nu1,lessons,k,many,\n" + ROW % (2, 2),
            1,
            [(2, "user_id: is missing"), (3, "value")],
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_named_by_line_and_the_good_rows_are_in(
    name: str,
    content: bytes,
    good: int,
    refused: list[tuple[int, str]],
    context: Context,
    tmp_path: Path,
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = run(context, KIND, {"files": [str(path)]})
    assert len(read_table(context.engine, tables.events)) == good
    found = refusals(context, done.backfill_id)
    assert [(file, line) for file, line, _ in found] == [(name, line) for line, _ in refused]
    for (_, _, reason), (_, part) in zip(found, refused, strict=True):
        assert part in reason
    again = run(context, KIND, {"files": [str(path)]})
    assert again.changes == {}, "nor is it different the second time"


@pytest.mark.parametrize(("name", "before"), [("a.jsonl", GOOD), ("a.csv", HEADER + ROW % (1, 1))])
def test_a_line_without_an_end_is_named_and_kept_in_part(
    name: str, before: bytes, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES_MAX", 4096)
    after = OTHER if name == "a.jsonl" else ROW % (2, 2)
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(before.rstrip() + b"\n" + b" " * 100_000 + b"\n" + after))
    done = run(context, KIND, {"files": [str(path)]})
    assert {row["user_id"] for row in read_table(context.engine, tables.events)} == {"u1", "u2"}
    line = before.rstrip().count(b"\n") + 2
    assert refusals(context, done.backfill_id) == [(path.name, line, "is longer than 4096 bytes")]
    with context.engine.connect() as connection:
        [kept] = [one.body for one in read_refusals(connection, done.backfill_id)]
    assert kept == " " * lines.SHOWN_CHARACTERS_MAX


@pytest.mark.parametrize("write", [write_gzip, write_zstd])
def test_a_truncated_file_gives_what_it_holds_and_says_where_it_breaks_off(
    write: Write, context: Context, tmp_path: Path
) -> None:
    events = [
        event(one, 1, attributes={"x": f"{one * 7919 % 10_007:x}" * 40}) for one in range(3000)
    ]
    path = write(tmp_path / "events.jsonl", events)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = run(context, KIND, {"files": [str(path)]})
    there = len(read_table(context.engine, tables.events))
    assert 0 < there < len(events)
    *_, (_, line, reason) = refusals(context, done.backfill_id)
    assert (there + 1 <= line <= there + 2, "breaks off here" in reason) == (True, True)


def test_a_damaged_parquet_file_gives_the_rows_before_it(context: Context, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "events.parquet", history())
    rows = len(history())
    group = pyarrow.parquet.ParquetFile(str(path)).metadata.row_group(rows // 10 - 1).column(0)
    whole = bytearray(path.read_bytes())
    whole[group.data_page_offset : group.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(whole)
    done = run(context, KIND, {"files": [str(path)], **MAPPED})
    [(_, line, reason)] = refusals(context, done.backfill_id)
    assert "damaged from here on" in reason
    assert len(read_table(context.engine, tables.events)) == line - 1


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({}, "name a file"),
        ({"files": ["nowhere.jsonl"]}, r"nowhere\.jsonl is no file"),
        ({"files": ["a.csv"]}, "column 'uid' is no field of an event.*--columns user_id=uid"),
        ({"files": ["a.csv"], "columns": {"user_id": "ui"}}, "no column 'ui'.*mean 'uid'"),
        (
            {"files": ["a.csv"], "columns": {"user": "uid"}},
            "no field 'user'; did you mean 'user_id",
        ),
        ({"files": ["a.csv"], "columns": {"user_id": "uid"}}, "no column for metric.*--constant"),
        ({"files": ["a.jsonl"], "format": "jsn"}, "no format 'jsn'; there are jsonl, csv"),
        ({"files": ["a.jsonl"], "format": "parquet"}, "is no Parquet"),
        ({"files": ["a.jsonl"], "format": "git"}, "no history to read"),
        ({"paths": ["a.jsonl"]}, "no parameter 'paths'"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_before_anything_begins(
    parameters: dict[str, Any],
    reason: str,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_csv(tmp_path / "a.csv", history())
    write_lines(tmp_path / "a.jsonl", history())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotPossible, match=reason):
        start(context, KIND, parameters)
    assert read_table(context.engine, tables.backfills) == []


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_file_that_is_another_meanwhile_stops_it_with_the_way_out(
    change: str, context: Context, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "events.jsonl", history())
    number = start(context, KIND, {"files": [str(path)]})
    running = chunks(context, number)
    next(running)
    if change == "gone":
        path.unlink()
    else:
        write_lines(path, history()[1:])
    let_go(number)
    *_, last = running
    assert last.state is State.FAILED
    assert last.error is not None
    assert {"changed": "has changed since", "gone": "put it there and resume"}[change] in last.error


def test_a_history_is_read_up_to_where_it_was_when_it_began_s70(
    context: Context, tmp_path: Path
) -> None:
    commits = PROGRAM.replace("lessons", "commits")
    put_program(context.engine, commits)

    def git(*words: str) -> None:
        config = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(
            ["git", "-C", str(tmp_path), *config, *words], check=True, capture_output=True
        )

    git("init", "-q")
    for number in range(ROWS + 3):
        git("commit", "-q", "--allow-empty", "--date", "2026-11-02T10:00:00Z", "-m", str(number))
    running = chunks(context, start(context, KIND, {"files": [str(tmp_path)]}))
    next(running)
    git("commit", "-q", "--allow-empty", "-m", "one more")
    *_, last = running
    assert last.state is State.DONE, last.error
    assert len(read_table(context.engine, tables.events)) == ROWS + 3


def test_a_user_of_whom_much_is_read_is_applied_whole_s72(context: Context, tmp_path: Path) -> None:
    events = [event(1, day) for day in range(3 * ROWS)] + [event(0, 1), event(2, 1)]
    path = write_lines(tmp_path / "events.jsonl", events)
    put_users(context.engine, [{"user_id": "u1", "tz": "UTC"}])
    predicted = run(context, KIND, {"files": [str(path)]}, dry_run=True)
    done = run(context, KIND, {"files": [str(path)]})
    assert done.changes == predicted.changes
    assert done.changes["events"]["added"] == len(events)


QUERY = "select uid, created, key, value, lang, 'x' as \"left\" from lessons order by uid, key"
SECRET = "OLD_DATABASE_URL"


@pytest.fixture(params=["sqlite", "postgres"])
def old_database(request: pytest.FixtureRequest, second_database_url: str, tmp_path: Path) -> str:
    """A database with a table of lessons."""
    sqlite = f"sqlite:///{tmp_path / 'old.db'}"
    url = second_database_url if request.param == "postgres" else sqlite
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("create table lessons (uid text, created text, key text, value int, lang text)")
        )
        connection.execute(
            text("insert into lessons values (:uid, :created, :key, :value, :lang)"),
            [
                {
                    "uid": one["user_id"],
                    "created": one["occurred_at"],
                    "key": one["key"],
                    "value": int(one["value"]),
                    "lang": one["attributes"]["language"],
                }
                for one in history()
            ],
        )
    engine.dispose()
    return url


def knowing(context: Context, secrets: dict[str, str]) -> Context:
    return replace(context, find_secret=secrets.get)


def test_a_query_to_a_database_is_a_source_like_any_other_s70(
    context: Context, old_database: str, tmp_path: Path
) -> None:
    known = knowing(context, {SECRET: old_database})
    parameters = {"query": QUERY, "database": SECRET, **MAPPED}
    number = start(known, KIND, parameters)
    for _ in chunks(known, number):
        let_go(number)  # as after a kill in every chunk
    assert len(read_table(context.engine, tables.events)) == len(history())
    from_query = dump_state(context.engine)
    path = write_csv(tmp_path / "events.csv", history())
    assert run(context, KIND, {"files": [str(path)], **MAPPED}).changes == {}
    must_equal(dump_state(context.engine), from_query)
    [row] = [one for one in read_table(context.engine, tables.backfills) if one["done"]][:1]
    assert old_database not in json.dumps(row["parameters"]), "a URL may hold a password"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"query": "select uid from lessons"}, "must end with an order by"),
        ({"query": "select uid from nowhere order by 1"}, "the query cannot be asked: .*nowhere"),
        ({"query": "select uid as id from lessons order by 1"}, "the query has no column 'uid'"),
        ({"database": "OTHER"}, "the variable OTHER is not set"),
        ({"database": None}, "name the variable"),
        ({"database": "NO_DRIVER"}, "its driver installed"),
    ],
)
def test_a_query_that_cannot_be_asked_is_refused_with_the_way_out(
    changed: dict[str, Any], reason: str, context: Context, old_database: str
) -> None:
    known = knowing(context, {SECRET: old_database, "NO_DRIVER": "oracle://a:s3cret@db/x"})
    parameters = {"query": QUERY, "database": SECRET, **MAPPED, **changed}
    with pytest.raises(NotPossible, match=reason) as refused:
        start(known, KIND, parameters)
    assert "s3cret" not in str(refused.value)


def test_a_source_that_breaks_on_the_way_is_read_on_from_there_s71(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "ROWS_AT_ONCE", 3)
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("create table lessons (id integer primary key, at text, extra text)")
        )
        rows = [
            {"id": one, "at": f"2021-03-01T08:{one}:00Z", "extra": "{}"} for one in range(10, 40)
        ]
        connection.execute(text("insert into lessons values (:id, :at, :extra)"), rows)
    known = knowing(context, {SECRET: url})
    query = (
        "select 'u' as user_id, id as key, at as occurred_at, json(extra) from lessons order by id"
    )
    parameters = {
        "query": query,
        "database": SECRET,
        "constants": {"metric": "lessons"},
    }
    number = start(known, KIND, parameters)
    with engine.begin() as connection:
        connection.execute(text("update lessons set extra = '{' where id = 25"))
    *_, failed = chunks(known, number)
    assert (failed.state, failed.done) == (State.FAILED, 2 * ROWS)
    assert failed.error == "the query cannot be asked: malformed JSON"
    with engine.begin() as connection:
        connection.execute(text("update lessons set extra = '{}'"))
    engine.dispose()
    resume_backfill(known, number, OPS, NOW)
    *_, done = chunks(known, number)
    assert done.state is State.DONE
    keys = {row["key"] for row in read_table(context.engine, tables.events)}
    assert keys == {str(one) for one in range(10, 40)}
