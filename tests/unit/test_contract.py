"""What an event and a user's fields may be (S10, S11, S13, S17): pure tables of cases."""

from __future__ import annotations

import decimal
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from streakline import Event, InvalidEvent, UserFields
from streakline.contract import (
    AHEAD_MAX,
    ATTRIBUTES_BYTES_MAX,
    ID_LENGTH_MAX,
    VALUE_MAX,
    decimal_text,
    instant_text,
)
from streakline.fields import shown

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def event(**changes: Any) -> Event:
    return Event(**{"user_id": "user-1", "metric": "lessons", "key": "lesson-1", **changes})


def case_name(case: object) -> str:
    return shown(case)[:20].encode("ascii", "backslashreplace").decode()


BAD_VALUES: list[tuple[Any, str]] = [
    (float("nan"), "cannot be counted|not a number"),
    (float("inf"), "not a number"),
    (Decimal("-Infinity"), "not a number"),
    (Decimal("sNaN"), "not a number"),
    (True, "not a number"),
    (None, "not a number"),
    ("three", "not a number"),
    ("", "not a number"),
    ("1e5", "not a number"),
    ("1_000", "not a number"),
    (" 1", "not a number"),
    ("١", "not a number"),  # noqa: RUF001 - digits of other scripts are the case
    ("0.00001", "more than 4 decimal places"),
    (0.1 + 0.2, "more than 4 decimal places"),
    (Decimal("1E-1000000"), "more than 4 decimal places"),
    # More digits than a decimal context has by default: rounding would let it pass.
    (Decimal("0.1" + "0" * 40 + "1"), "more than 4 decimal places"),
    (VALUE_MAX + Decimal("0.0001"), "beyond"),
    (-VALUE_MAX - 1, "beyond"),
    (Decimal("1E+1000000"), "beyond"),
    (10**5000, "beyond"),
]


@pytest.mark.parametrize(("value", "reason"), BAD_VALUES, ids=case_name)
def test_a_value_that_is_no_exact_number_is_refused_s10_s17(value: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason) as caught:
        event(value=value)
    assert caught.value.field == "value"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1, "1"),
        (-2, "-2"),
        ("2.50", "2.5"),
        (2.5, "2.5"),
        (Decimal("0.10000000000000000"), "0.1"),
        (Decimal("1E+2"), "100"),
        (Decimal("0E+9"), "0"),
        ("-0", "0"),
        (VALUE_MAX, "900719925474.0992"),
        (-VALUE_MAX, "-900719925474.0992"),
    ],
)
def test_a_value_is_kept_exactly_and_written_plainly(value: Any, kept: str) -> None:
    assert decimal_text(event(value=value).value) == kept


def test_the_decimal_context_of_the_caller_rounds_nothing() -> None:
    with decimal.localcontext(prec=3):
        assert decimal_text(event(value="12345.6789").value) == "12345.6789"
        with pytest.raises(InvalidEvent, match="more than 4"):
            event(value="1.00001")


BAD_TEXTS: list[tuple[Any, str]] = [
    ("", "must not be empty"),
    ("x" * 300, "has 300 characters; at most 255"),
    ("a\x00b", "a character that no text can hold"),
    ("a\ud800b", "a character that no text can hold"),
    (7, "must be text"),
    (b"user-1", "must be text"),
]


@pytest.mark.parametrize("field", ["user_id", "metric", "key"])
@pytest.mark.parametrize(("text", "reason"), BAD_TEXTS, ids=case_name)
def test_an_id_that_cannot_be_stored_is_refused_s17(field: str, text: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason) as caught:
        event(**{field: text})
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["x" * ID_LENGTH_MAX, "日本" * 100, "🎉", " ", "a\nb"])
def test_an_id_of_any_other_text_is_taken(text: str) -> None:
    assert event(user_id=text).user_id == text


@pytest.mark.parametrize(
    ("attributes", "field", "reason"),
    [
        ({"text": "x" * 5 * 1024}, "attributes", "take 5124 bytes; at most 4096"),
        ({"text": "ü" * 2047}, "attributes", "take 4098 bytes"),
        ({f"name-{i}": "x" for i in range(21)}, "attributes", "are 21; at most 20"),
        ({"count": 3}, "attributes.count", "must be text, not 3"),
        ({"none": None}, "attributes.none", "must be text"),
        ({3: "x"}, "attributes", "must be text, not 3"),
        ({"": "x"}, "attributes", "must not be empty"),
        ({"nul": "a\x00"}, "attributes.nul", "a character that no text can hold"),
        ([("language", "fr")], "attributes", "must map text to text"),
        ([], "attributes", "must map text to text"),
        (None, "attributes", "must map text to text"),
    ],
)
@pytest.mark.parametrize("make", [event, UserFields])
def test_attributes_beyond_their_limits_are_refused_s17(
    make: Any, attributes: Any, field: str, reason: str
) -> None:
    with pytest.raises(InvalidEvent, match=reason) as caught:
        make(attributes=attributes)
    assert caught.value.field == field


def test_attributes_up_to_their_limits_are_taken() -> None:
    full = {f"{i:02}": "x" * 202 for i in range(20)} | {"19": "x" * (ATTRIBUTES_BYTES_MAX - 3878)}
    assert sum(len(name) + len(text) for name, text in full.items()) == ATTRIBUTES_BYTES_MAX
    assert event(attributes=full).attributes == full


def test_an_event_does_not_change_with_the_mapping_it_was_made_of() -> None:
    attributes = {"language": "fr"}
    made = event(attributes=attributes)
    attributes["language"] = "de"
    assert made.attributes == {"language": "fr"}


def test_a_naive_time_is_refused_and_an_aware_one_is_kept_in_utc_s1() -> None:
    with pytest.raises(InvalidEvent, match="no UTC offset") as caught:
        event(occurred_at=datetime(2026, 11, 23, 9))  # noqa: DTZ001 - the case itself
    assert caught.value.field == "occurred_at"
    tokyo = timezone(timedelta(hours=9))
    kept = event(occurred_at=datetime(2026, 11, 23, 9, tzinfo=tokyo)).occurred_at
    assert kept is not None
    assert instant_text(kept) == "2026-11-23T00:00:00Z"


@pytest.mark.parametrize("occurred_at", ["2026-11-23T09:00:00Z", 1_795_424_400, NOW.date()])
def test_a_time_that_is_no_datetime_is_refused(occurred_at: Any) -> None:
    with pytest.raises(InvalidEvent, match="must be a datetime"):
        event(occurred_at=occurred_at)


def test_a_time_out_of_range_in_utc_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="out of range"):
        event(occurred_at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))


def test_an_event_more_than_five_minutes_ahead_is_refused_s13() -> None:
    event(occurred_at=NOW + AHEAD_MAX).check_time(NOW)
    event(occurred_at=None).check_time(NOW)
    with pytest.raises(InvalidEvent, match="more than 5 minutes ahead") as caught:
        event(occurred_at=NOW + AHEAD_MAX + timedelta(microseconds=1)).check_time(NOW)
    assert caught.value.field == "occurred_at"


def test_an_unknown_zone_is_refused_with_the_nearest_name_s6() -> None:
    with pytest.raises(InvalidEvent, match=r"did you mean 'Asia/Tokyo'\?") as caught:
        event(user={"tz": "Asia/Tokio"})
    assert caught.value.field == "user.tz"
    with pytest.raises(InvalidEvent, match="must be a zone") as caught:
        UserFields(tz=9)  # type: ignore[arg-type]  # the case itself
    assert caught.value.field == "tz"


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@", "@b", "a b@example.org", "a@example.org\n", "a@b@c", "x" * 255 + "@e", 3],
)
def test_what_is_no_email_address_is_refused(email: Any) -> None:
    with pytest.raises(InvalidEvent) as caught:
        UserFields(email=email)
    assert caught.value.field == "email"


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        ({"user_id": "u", "metric": "m", "valeu": 1}, "event", "'valeu'; did you mean 'value'?"),
        ({"user_id": "u", "metric": "m", "user": {"zone": "UTC"}}, "user", "unknown field 'zone'"),
        ({"metric": "m"}, "user_id", "is missing"),
        ({"user_id": "u", "metric": None}, "metric", "is missing"),
        ({"user_id": "u", "metric": "m", "occurred_at": "2026-11-23"}, "occurred_at", "no UTC"),
        ({"user_id": "u", "metric": "m", "occurred_at": "noon"}, "occurred_at", "not an instant"),
        ({"user_id": "u", "metric": "m", "occurred_at": 17}, "occurred_at", "must be text"),
        ({"user_id": "u", "metric": "m", "user": "Ada"}, "user", "must be an object"),
        (["u", "m"], "event", "must be an object"),
        (None, "event", "must be an object"),
    ],
)
def test_json_that_is_no_event_is_refused(data: Any, field: str, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        Event.from_json(data)
    assert caught.value.field == field
    assert reason in caught.value.reason


def test_only_user_and_metric_are_required_and_null_is_nothing_said() -> None:
    data = json.loads('{"user_id": "u", "metric": "m", "value": null, "attributes": null}')
    assert Event.from_json(data) == Event(user_id="u", metric="m", value=1)


def test_the_fingerprint_tells_content_and_the_id_tells_identity_s11() -> None:
    first = event()
    assert event(user={"tz": "UTC"}).fingerprint == first.fingerprint
    assert event(value="1.000").fingerprint == first.fingerprint
    others = [event(value=2), event(occurred_at=NOW), event(attributes={"language": "fr"})]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert {other.id for other in others} == {first.id}
    strangers = [event(key="lesson-2"), event(user_id="user-2"), event(metric="minutes")]
    assert len({first.id, *(stranger.id for stranger in strangers)}) == 4


def test_the_id_of_an_identity_never_changes() -> None:
    """Ledgers keep ids for ever: a change of how they are made would make every event new."""
    assert event().id == "f0080156-25d8-b60c-4a42-f9485d1dc707"


def test_a_retry_has_its_key_and_its_time_filled_in() -> None:
    bare = Event(user_id="user-1", metric="lessons")
    assert bare.keyed().key != bare.keyed().key
    assert bare.fixed(NOW).occurred_at == NOW
    whole = event(occurred_at=NOW)
    assert whole.keyed().fixed(NOW + AHEAD_MAX) is whole
