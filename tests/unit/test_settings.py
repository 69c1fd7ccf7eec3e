"""Settings: what they default to, what they refuse, what they never show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.settings import Addresses, Settings, SettingsError, open_servers

URLS = {
    "STREAKLINE_DATABASE_URL": "postgres://app:hush@db/app",
    "STREAKLINE_REDIS_URL": "redis://app:hush@cache:6379/3",
    "STREAKLINE_BROKER_URL": "amqp://app:hush@rabbit",
    "STREAKLINE_CLICKHOUSE_URL": "https://app:hush@warehouse:8443",
    "STREAKLINE_SMTP_URL": "smtps://app:hush@mail",
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STREAKLINE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def all_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, url in URLS.items():
        monkeypatch.setenv(name, url)


def test_nothing_set_means_embedded_servers_in_a_hidden_directory() -> None:
    settings = Settings.load()
    assert settings.home == Path(".streakline")
    assert settings.program == Path("streakline.toml")
    assert (settings.database_url, settings.redis_url, settings.broker_url) == (None, None, None)
    assert (settings.postgres_port, settings.valkey_port) == (None, None)
    assert (settings.log_format, settings.namespace) == ("console", "streakline")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAKLINE_DATABASE_URL", "")
    assert Settings.load().database_url is None


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_way_to_name_postgres_ends_at_the_driver_that_we_bring(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAKLINE_DATABASE_URL", f"{scheme}://app:hush@db:5433/app?x=1")
    url = Settings.load().database_url
    assert url is not None
    assert url.get_secret_value() == "postgresql+psycopg://app:hush@db:5433/app?x=1"


@pytest.mark.usefixtures("all_urls")
def test_no_password_is_shown_by_settings_or_addresses() -> None:
    settings = Settings.load()
    with open_servers(settings) as addresses:
        shown = f"{settings!r} {settings} {settings.redis_url} {addresses!r} {addresses}"
    assert "hush" not in shown
    assert "cache:6379" in shown


@pytest.mark.parametrize("name", URLS)
def test_an_url_of_another_kind_is_named_without_its_password(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "gopher://app:hush@host")
    with pytest.raises(SettingsError, match=rf"^{name}: must start with \w+://") as caught:
        Settings.load()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("STREAKLINE_LOG_FORMAT", "xml", "'console' or 'json'"),
        ("STREAKLINE_POSTGRES_PORT", "99999", "less than or equal to 65535"),
        ("STREAKLINE_VALKEY_PORT", "http", "valid integer"),
        ("STREAKLINE_NAMESPACE", "a b", "match pattern"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_could(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: .*{reason}"):
        Settings.load()


def test_a_misspelt_name_is_answered_with_the_nearest_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAKLINE_DATABSE_URL", "postgres://app:hush@db/app")
    with pytest.raises(SettingsError, match="Did you mean STREAKLINE_DATABASE_URL") as caught:
        Settings.load()
    assert "hush" not in str(caught.value)


def test_a_name_like_no_other_is_answered_with_all_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAKLINE_QQQ", "1")
    with pytest.raises(SettingsError, match=r"There are STREAKLINE_HOME, .*STREAKLINE_VALKEY_PORT"):
        Settings.load()


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAKLINE_LOG_FORMAT", "xml")
    monkeypatch.setenv("STREAKLINE_HOEM", "x")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert len(str(caught.value).splitlines()) == 2


def test_variables_of_the_tests_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAKLINE_TEST_ANYTHING", "1")
    assert Settings.load() == Settings()


@pytest.mark.usefixtures("all_urls")
def test_with_all_servers_given_the_home_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAKLINE_HOME", str(tmp_path / "home"))
    with open_servers(Settings.load()):
        assert not (tmp_path / "home").exists()


def test_one_redis_serves_as_broker_and_as_the_rest_in_two_databases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAKLINE_DATABASE_URL", "postgres://db/app")
    monkeypatch.setenv("STREAKLINE_REDIS_URL", "redis://cache:6379/3")
    with open_servers(Settings.load()) as addresses:
        assert addresses.broker_url == "redis://cache:6379/3"
        assert addresses.redis_url == "redis://cache:6379/4"


def test_a_child_process_comes_to_the_same_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = Addresses(
        database_url="postgresql+psycopg://db/app",
        broker_url="redis://cache:6379/3",
        redis_url="redis://cache:6379/4",
        warehouse_url="https://app:hush@warehouse:8443",
    )
    for name, url in addresses.environment().items():
        monkeypatch.setenv(name, url)
    with open_servers(Settings.load()) as inherited:
        assert inherited == addresses
