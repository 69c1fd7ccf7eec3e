"""TLS and credentials by each URL: trusted where the authority is named, else refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from ssl import SSLCertVerificationError
from urllib.parse import quote, urlencode, urlsplit

import pytest
from redis.exceptions import RedisClusterException
from sqlalchemy import text

from models.migrations import upgrade
from models.rules.rankings import Board, Score
from models.warehouse.engine import Warehouse, WarehouseUnavailable
from streakline import BrokerUnavailable, Client
from streakline.rabbitmq_transport import QuorumBroker
from tests.applying import opened, opened_rankings
from tests.clickhouse import ClickhouseServer
from tests.encrypted import (
    HOST,
    Certificates,
    decrypting,
    encrypted_postgres,
    encrypted_redis,
)
from worker.checks import Finding, run_checks
from worker.runtime import open_runtime
from worker.settings import SecretUrl, Settings

USER, PASSWORD = "app", "a/b@c#d%"
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@{HOST}"
NO_POSTGRES, NO_REDIS = "postgresql+psycopg://127.0.0.1:1/none", "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"), USER)


@pytest.fixture(scope="module")
def redis_address(certificates: Certificates) -> Iterator[str]:
    with encrypted_redis(certificates, USER, PASSWORD) as port:
        yield f"rediss://{LOGIN}:{port}/0"


@pytest.fixture(scope="module")
def postgres() -> Iterator[tuple[int, Certificates]]:
    with encrypted_postgres(PASSWORD) as started:
        yield started


def doctor(check: str, *, database_url: str = NO_POSTGRES, redis_url: str = NO_REDIS) -> Finding:
    """Return what `doctor` says of a server at these URLs."""
    settings = Settings(
        database_url=SecretUrl(database_url),
        redis_url=SecretUrl(redis_url),
        clickhouse_url=SecretUrl("clickhouse://127.0.0.1:1/none"),
    )
    with open_runtime(settings) as runtime:
        [finding] = run_checks(runtime, [check])
    return finding


def test_redis_takes_what_is_signed_by_the_named_authority_from_the_named_user(
    redis_address: str, certificates: Certificates, namespace: str
) -> None:
    url = f"{redis_address}?ssl_ca_certs={certificates.file('authority.pem')}"
    for check in ("redis", "broker"):
        found = doctor(check, redis_url=url)
        assert found.ok, found
    with Client(url, namespace=namespace) as client:
        assert client.track("u", "lessons").duplicate is False


def test_a_redis_cluster_is_trusted_by_its_authority_alone(
    certificates: Certificates, namespace: str
) -> None:
    board = Board(leaderboard="runs", run="all", segment="all", since=1, ascending=False)
    with encrypted_redis(certificates, USER, PASSWORD, is_cluster=True) as port:
        url = f"rediss+cluster://{LOGIN}:{port}/?ssl_ca_certs="
        with opened_rankings(url + certificates.file("authority.pem"), namespace) as rankings:
            rankings.put(board, {"a": Score(Decimal(1), datetime(2026, 11, 23, tzinfo=UTC))})
            assert rankings.count(board) == 1
        with (
            opened_rankings(url + certificates.file("stranger.pem"), namespace) as rankings,
            pytest.raises(RedisClusterException, match="certificate verify failed"),
        ):
            rankings.count(board)


def test_redis_signed_by_somebody_else_is_refused_with_what_to_name(
    redis_address: str, certificates: Certificates
) -> None:
    url = f"{redis_address}?ssl_ca_certs={certificates.file('stranger.pem')}"
    for wrong in (url, redis_address):
        found = doctor("redis", redis_url=wrong)
        assert (found.ok, "STREAKLINE_REDIS_URL" in found.detail) == (False, True)
        assert "?ssl_ca_certs=FILE" in found.detail
        assert PASSWORD not in found.detail
    with Client(url) as client, pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        client.track("u", "lessons")


def test_a_wrong_password_of_redis_is_named_as_such(
    redis_address: str, certificates: Certificates
) -> None:
    url = f"{redis_address}?ssl_ca_certs={certificates.file('authority.pem')}"
    found = doctor("redis", redis_url=url.replace(quote(PASSWORD, safe=""), "wrong"))
    assert not found.ok
    assert "invalid username-password pair" in found.detail
    assert "wrong" not in found.detail


def postgres_url(started: tuple[int, Certificates], user: str, **options: str) -> str:
    port, _ = started
    return f"postgresql+psycopg://{user}@{HOST}:{port}/postgres?{urlencode(options)}"


def test_postgres_takes_a_password_and_proves_its_name(
    postgres: tuple[int, Certificates],
) -> None:
    authority = postgres[1].file("authority.pem")
    user = f"postgres:{quote(PASSWORD, safe='')}"
    url = postgres_url(postgres, user, sslmode="verify-full", sslrootcert=authority)
    assert doctor("postgres", database_url=url).ok
    with opened(url) as engine:
        upgrade(engine)
        with engine.begin() as connection:
            connection.execute(text("create role certified superuser login"))
    assert doctor("tables", database_url=url).ok
    wrong = doctor("postgres", database_url=url.replace("postgres:a", "postgres:wrong"))
    assert (wrong.ok, "password authentication failed" in wrong.detail) == (False, True)
    assert "wrong" not in wrong.detail
    # and a certificate instead of a password
    files = {"sslcert": postgres[1].file("client.pem"), "sslkey": postgres[1].file("client.key")}
    url = postgres_url(postgres, "certified", sslmode="verify-full", sslrootcert=authority, **files)
    with opened(url) as engine, engine.connect() as connection:
        asked = text("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        assert connection.execute(asked).scalar_one() is True


def test_postgres_signed_by_somebody_else_is_refused_with_what_to_name(
    postgres: tuple[int, Certificates],
) -> None:
    stranger = postgres[1].file("stranger.pem")
    user = f"postgres:{quote(PASSWORD, safe='')}"
    url = postgres_url(postgres, user, sslmode="verify-full", sslrootcert=stranger)
    found = doctor("postgres", database_url=url)
    assert (found.ok, "STREAKLINE_DATABASE_URL" in found.detail) == (False, True)
    assert "?sslmode=verify-full&sslrootcert=FILE" in found.detail


def test_clickhouse_is_trusted_by_its_authority_alone(
    clickhouse_server: ClickhouseServer, certificates: Certificates
) -> None:
    with decrypting(certificates, clickhouse_server.port) as port:
        url = f"clickhouses://{LOGIN}:{port}/default?ca_cert="
        warehouse = Warehouse(url + certificates.file("authority.pem"))
        assert warehouse.ask("select 1 as one") == [{"one": 1}]
        warehouse.close()
        with pytest.raises(
            WarehouseUnavailable, match=r"STREAKLINE_CLICKHOUSE_URL.*\?ca_cert=FILE"
        ):
            Warehouse(url + certificates.file("stranger.pem")).open()


def test_rabbitmq_is_trusted_by_its_authority_alone(
    rabbitmq_url: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(rabbitmq_url)
    user, _, _ = parts.netloc.rpartition("@")
    authority, stranger = (certificates.file(f"{one}.pem") for one in ("authority", "stranger"))

    def connect(options: str = "") -> None:
        url = f"amqps://{user}@{parts.hostname}:{listening}{parts.path}{options}"
        broker = QuorumBroker(url)
        with closing(broker):
            assert broker.connection.is_open

    with decrypting(certificates, parts.port or 5672) as listening:
        connect(f"?ssl_options={{'cafile':'{authority}'}}")
        for wrong in ("", f"?ssl_options={{'cafile':'{stranger}'}}"):
            with pytest.raises(SSLCertVerificationError):
                connect(wrong)
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        connect()
