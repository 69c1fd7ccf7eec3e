"""Whatever comes from outside: it is read, or refused by the error that is meant for it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped] # has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped] # as above
import pytest
from dramatiq import Broker, actor
from dramatiq.brokers.stub import StubBroker
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.applying import Kind, Received, decode
from models.program import ProgramError, load_program
from models.program.cron import read_cron
from models.sources import EventRow, Format, Refused, SourceError, read_events, read_users
from models.statements.rows import storable_json
from streakline import Event
from streakline.contract import APPLY_EVENTS_ACTOR, EVENTS_QUEUE
from streakline.errors import InvalidEvent
from streakline.messages import events_message
from tests.stack import PROGRAM
from worker.envelopes import open_envelope
from worker.mailing.links import BadLink, Links
from worker.retries import MalformedMessage

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
FIELDS = ["user_id", "metric", "value", "key", "occurred_at", "attributes", "user", "tz", "email"]
TEXTS = st.text(max_size=20) | st.text(
    st.sampled_from('\x00\ud800\udfff\x1b\u2028ä"\\'), max_size=4
)
NUMBERS = st.integers() | st.integers(10**300, 10**310) | st.floats() | st.booleans()
INSTANTS = st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-W10"])
ANYTHING = st.recursive(
    st.none() | NUMBERS | TEXTS | INSTANTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=6)
    ),
    max_leaves=12,
)
EVENT = {"user_id": "u", "metric": "m", "key": "k", "user": {"tz": "UTC"}, "attributes": {"a": "b"}}
ALMOST = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=3).map(lambda d: EVENT | d)
"""Events of which some fields are anything."""


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw bytes that are like others: with pieces gone, doubled, cut off, or of something else."""
    data = whole
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        put = draw(st.binary(max_size=8) | st.just(data[start:end] * 2) | st.just(b""))
        data = data[:start] + put + data[end:]
        if draw(st.integers(0, 4)) == 0:
            data = data[: draw(st.integers(0, len(data)))]
    return data


def must_be_storable(text: str) -> None:
    assert "\x00" not in text
    text.encode()


@given(ANYTHING | ALMOST)
def test_what_is_no_event_is_refused_in_words_that_can_be_kept(raw: Any) -> None:
    try:
        event = Event.from_json(raw)
    except InvalidEvent as error:
        must_be_storable(str(error))
    else:
        assert Event.from_json(json.loads(json.dumps(event.to_json()))) == event


@given(st.sampled_from(Kind), ANYTHING | ALMOST)
def test_what_is_set_aside_can_be_kept_as_it_came(kind: Kind, raw: Any) -> None:
    [_] = decode([Received(kind=kind, raw=raw, received_at=NOW)])
    kept = storable_json(raw)
    assert b"\\u0000" not in kept
    json.dumps(json.loads(kept), allow_nan=False)


MESSAGE = events_message([Event(user_id="u", metric="m", key="k").fixed(NOW)], NOW)
MESSAGE_FIELDS = st.dictionaries(st.sampled_from(sorted(MESSAGE.asdict())), ANYTHING, max_size=3)


@cache
def broker() -> Broker:
    """Return a broker that has declared the actor of events; nothing is sent by it."""
    found = StubBroker(middleware=[])
    actor(broker=found, actor_name=APPLY_EVENTS_ACTOR, queue_name=EVENTS_QUEUE)(print)
    return found


@example(json.dumps({**MESSAGE.asdict(), "args": "\ud800"}).encode())
@given(
    st.binary(max_size=40)
    | mutated(MESSAGE.encode())
    | MESSAGE_FIELDS.map(lambda one: json.dumps({**MESSAGE.asdict(), **one}).encode())
)
def test_what_is_no_message_is_malformed_and_what_is_one_can_be_sent_again(body: bytes) -> None:
    try:
        message = open_envelope(body, broker().actors, EVENTS_QUEUE, 0)
    except MalformedMessage:
        return
    assert message.options.keys() <= {"retries", "eta"}
    assert str(message) == f"{APPLY_EVENTS_ACTOR}({message.message_id})"
    again = open_envelope(message.encode(), broker().actors, EVENTS_QUEUE, 0)
    assert again.encode() == message.encode()  # not compared themselves: NaN is equal to nothing


@example(b"\r")
@given(mutated(PROGRAM.encode()) | st.binary(max_size=40))
def test_a_text_that_is_no_program_has_its_problems_named(content: bytes) -> None:
    with suppress(ProgramError):
        load_program(content.decode(errors="surrogateescape"), source="a test")


@given(st.text("0123456789*/,-? abcdefjnopu", max_size=24) | st.text(max_size=12))
@example("* * 31 2 *")
@example("0-59/99 0 1 1 7")
def test_a_text_that_is_no_cron_expression_is_refused(text: str) -> None:
    try:
        spelling = read_cron(text)
    except ValueError:
        return
    assert read_cron(spelling) == spelling


LINKS = Links(public_url="https://app.example.org", sender="a@example.org", key=b"k" * 32)
LINK = LINKS.unsubscribe("user", "reminder")


@given(mutated(LINK.encode()) | st.text().map(lambda text: text.encode(errors="replace")))
def test_a_link_that_we_have_not_signed_speaks_for_nobody(link: bytes) -> None:
    text = link.decode("latin-1")  # as WSGI has it
    try:
        found = LINKS.read(text)
    except BadLink:
        return
    assert found == ("user", "reminder")


def table_bytes() -> bytes:
    """Return three events as Parquet."""
    sink = pa.BufferOutputStream()
    rows = [{"user_id": f"u{n}", "metric": "m", "key": str(n), "value": n} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue().to_pybytes())


LINES = b"".join(json.dumps(EVENT | {"key": str(n)}).encode() + b"\n" for n in range(3))
CSV = b'user_id,metric,key,occurred_at\nu,m,1,2026-01-01T00:00:00Z\nu,m,"2 ""x""",\n'
ZSTD = pa.compress(LINES, codec="zstd", asbytes=True)
FILES: dict[str, tuple[Format, bytes]] = {
    "lines": (Format.JSONL, LINES),
    "csv": (Format.CSV, CSV),
    "lines.gz": (Format.JSONL, gzip.compress(LINES, mtime=0)),
    "csv.gz": (Format.CSV, gzip.compress(CSV, mtime=0)),
    "lines.zst": (Format.JSONL, ZSTD),
    "parquet": (Format.PARQUET, table_bytes()),
}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_read_as_far_as_it_can_be(name: str, data: st.DataObject) -> None:
    format_, whole = FILES[name]
    content = data.draw(mutated(whole))
    readers: list[Callable[[Path, Format], Any]] = [read_events, read_users]
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        for read in readers:
            try:
                for row in read(path, format_):
                    if isinstance(row, Refused):
                        must_be_storable(row.reason)
                        storable_json(row.row)
                    elif isinstance(row, EventRow):
                        assert row.item.key
            except SourceError as error:
                must_be_storable(str(error))
