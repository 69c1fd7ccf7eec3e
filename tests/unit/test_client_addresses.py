"""Where a client finds its broker, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from streakline import AddressError, AsyncClient, Client
from streakline.addresses import (
    BROKER_URL_FILE,
    find_broker,
    is_readable,
    place_redis,
    split_nodes,
    without_password,
)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (("redis://h:1/0", None), ("redis://h:1/0", "redis://h:1/1")),
        ((None, "redis://h/2"), ("redis://h/2", "redis://h/3")),
        (("redis://h/0", "redis://r/0"), ("redis://h/0", "redis://r/0")),
        (("amqp://h", "redis://r"), ("amqp://h", "redis://r")),
        (("amqp://h", None), ("amqp://h", None)),
        (("unix:///run/v.sock?db=0", None), ("unix:///run/v.sock?db=0", "unix:///run/v.sock?db=1")),
        (("amqp://h", "redis+cluster://h,i:1"), ("amqp://h", "redis+cluster://h,i:1")),
        ((None, None), (None, None)),
    ],
)
def test_one_redis_serves_as_broker_and_as_the_rest_in_two_databases(
    named: tuple[str | None, str | None], found: tuple[str | None, str | None]
) -> None:
    assert place_redis(*named) == found


@pytest.mark.parametrize(
    "named",
    [
        (None, "redis+cluster://h,i"),
        ("redis+cluster://h", None),
        ("rediss+cluster://h", "redis://h"),
    ],
)
def test_a_cluster_is_refused_as_the_broker(named: tuple[str | None, str | None]) -> None:
    with pytest.raises(AddressError, match="set STREAKLINE_BROKER_URL to a Redis alone"):
        place_redis(*named)


def test_a_clusters_nodes_have_the_same_user_password_and_options() -> None:
    assert split_nodes("rediss+cluster://u:a,b@h:7000,[::1]:7001,i/?ssl_ca_certs=/a@b.pem") == [
        "rediss://u:a,b@h:7000/?ssl_ca_certs=/a@b.pem",
        "rediss://u:a,b@[::1]:7001/?ssl_ca_certs=/a@b.pem",
        "rediss://u:a,b@i/?ssl_ca_certs=/a@b.pem",
    ]
    assert split_nodes("amqp://h;amqp://i") == []


def test_the_environment_names_the_broker() -> None:
    environ = {"STREAKLINE_BROKER_URL": "amqp://h", "STREAKLINE_REDIS_URL": "redis://r"}
    assert find_broker(environ) == ("amqp://h", "redis://r")


def test_without_urls_the_embedded_broker_of_the_home_is_found(tmp_path: Path) -> None:
    (tmp_path / BROKER_URL_FILE).write_text("unix:///run/v.sock?db=0\n")
    environ = {"STREAKLINE_HOME": str(tmp_path), "STREAKLINE_BROKER_URL": ""}
    assert find_broker(environ)[0] == "unix:///run/v.sock?db=0"


@pytest.mark.parametrize("note", [None, "", "\n"])
def test_without_any_broker_the_error_says_what_to_set(tmp_path: Path, note: str | None) -> None:
    if note is not None:
        (tmp_path / BROKER_URL_FILE).write_text(note)
    with pytest.raises(AddressError, match=r"set STREAKLINE_BROKER_URL.*`streakline up`"):
        find_broker({"STREAKLINE_HOME": str(tmp_path)})


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_from_env_reads_the_environment_and_connects_to_nothing(
    kind: type[Client | AsyncClient], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAKLINE_BROKER_URL", "redis://nowhere.invalid:1/0")
    assert isinstance(kind.from_env(), kind)
    for name in ("STREAKLINE_BROKER_URL", "STREAKLINE_REDIS_URL", "STREAKLINE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AddressError, match="No broker is named"):
        kind.from_env()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h", "is no broker; use redis://"),
        ("localhost:6379", "is no broker"),
        ("", "is no broker"),
        ("redis+cluster://:secret@a:1,b:2", "is no broker; use redis://"),
        ("redis://:secret@h:port", "is not a URL"),
        ("amqp://u:secret@h:port", "is not a URL"),
    ],
)
def test_an_address_that_is_no_brokers_is_refused_without_its_password(
    url: str, reason: str
) -> None:
    with pytest.raises(AddressError, match=reason) as caught:
        Client(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:sec/ret@h:6379/0",
        "redis://app:123/ret@h:6379/0",
        "redis://app:sec#ret@h",
        "redis://app:sec?ret@h",
        "redis://app:se@ret@h",
        "redis://app:se ret@h",
        "redis://app:se[ret@h",
        "amqp://app:secret@h;amqp://app:se/ret@i",
        "redis+cluster://app:se/ret@h:1,i:2",
        "redis+cluster://app:se@ret@a:1,b:2",
        "redis+cluster://app:secret@a:1,b:ret",
    ],
)
def test_a_password_that_is_not_escaped_is_refused_with_what_to_write(url: str) -> None:
    with pytest.raises(AddressError, match=r"write @ as %40, / as %2F") as caught:
        Client(url)
    assert "ret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://app:se/cret@h", "address of the Redis is not a URL that can be read"),
        ("redis://h?socket_timeout=secret", "or 'redis://h.socket_timeout=secret' is not a URL"),
    ],
)
def test_a_wrong_redis_is_named_and_not_the_broker(url: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        Client("amqp://h", url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:se%40c%2Fret@h:6379/0?ssl_ca_certs=/a@b.pem",
        "amqp://a:b@h;amqp://a:b@i",
        "unix:///run/a@b.sock?db=1",
        "postgresql+psycopg://postgres@/db?host=%2Frun&port=5432",
        "redis://[::1]:6379/0",
        "rediss+cluster://app:se%2Fret@h:1,i:2",
        "redis+cluster://app:se%40c@a:1,b:2,[::1]:3/?ssl_ca_certs=a.pem",
    ],
)
def test_what_is_escaped_or_stands_elsewhere_can_be_read(url: str) -> None:
    assert is_readable(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("rediss://app:se@cret@h/1", "rediss://app:***@h/1"),
        ("unix:///v.sock?db=1&password=secret", "unix:///v.sock?db=1&password=***"),
        ("amqp://a:secret@h;amqp://a:secret@i", "amqp://a:***@h;amqp://a:***@i"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://app:sec/ret@h/1", "redis://app:***@h/1"),
        ("redis://app:sec;ret@h/1", "redis://app:***@h/1"),
        ("postgresql://h/db?sslpassword=secret&x=1", "postgresql://h/db?sslpassword=***&x=1"),
        ("cannot use host=h password=secret port=1", "cannot use host=h password=*** port=1"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
