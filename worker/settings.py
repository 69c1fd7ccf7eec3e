"""The settings, read from the environment (prefix `STREAKLINE_`), and the addresses they come to.

An absent URL means the embedded server in `STREAKLINE_HOME`. Passwords are in no error, no repr and
no log: a URL is a `SecretUrl`, which shows itself without. What cannot be used, a misspelt name
included, raises SettingsError, which names the variable and what it may be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Secret, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streakline.addresses import HOME, HOW_TO_WRITE, is_readable, place_redis, without_password
from streakline.contract import NAMESPACE
from streakline.errors import StreaklineError
from worker.embedded import embedded_postgres, embedded_valkey

PREFIX = "STREAKLINE_"
TEST_PREFIX = "STREAKLINE_TEST_"
"""Variables with this prefix are the tests' own."""


class SettingsError(StreaklineError, ValueError):
    """A setting cannot be used; the message names the variable and what it may be."""


class SecretUrl(Secret[str]):
    """A URL that shows itself without its password."""

    def _display(self) -> str:
        return without_password(self.get_secret_value())


def _starts_with(*schemes: str) -> AfterValidator:
    def check(url: SecretUrl) -> SecretUrl:
        if not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise PydanticCustomError("scheme", f"must start with {_any_of(schemes)}")
        if not is_readable(url.get_secret_value()):
            raise PydanticCustomError("url", f"is not a URL that can be read: {HOW_TO_WRITE}")
        return url

    return AfterValidator(check)


def _with_driver(url: SecretUrl) -> SecretUrl:
    """Name the driver that we bring: Heroku and others write `postgres://`, most `postgresql://`.

    >>> _with_driver(SecretUrl("postgres://db/app")).get_secret_value()
    'postgresql+psycopg://db/app'
    """
    return SecretUrl("postgresql+psycopg://" + url.get_secret_value().partition("://")[2])


DatabaseUrl = Annotated[
    SecretUrl,
    _starts_with("postgresql", "postgres", "postgresql+psycopg"),
    AfterValidator(_with_driver),
]
RedisUrl = Annotated[
    SecretUrl, _starts_with("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
]
BrokerUrl = Annotated[SecretUrl, _starts_with("redis", "rediss", "unix", "amqp", "amqps")]
ClickhouseUrl = Annotated[
    SecretUrl, _starts_with("clickhouse", "clickhouses", "http", "https", "chdb")
]
SmtpUrl = Annotated[SecretUrl, _starts_with("smtp", "smtps")]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """What the environment says. `Settings.load()` makes one, with errors for people."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    home: Path = Path(HOME)
    """Where the embedded servers keep their data."""
    database_url: DatabaseUrl | None = None
    redis_url: RedisUrl | None = None
    """Where rankings are: a Redis, or a cluster as `redis+cluster://host:port,host:port`."""
    broker_url: BrokerUrl | None = None
    """A Redis alone or RabbitMQ; without it, the Redis of `redis_url`."""
    clickhouse_url: ClickhouseUrl | None = None
    clickhouse_cluster: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """The cluster of that server on which the tables are: replicated, and distributed above."""
    events_kept_days: Annotated[int, Field(ge=1)] | None = None
    """Days after which events leave Postgres for the warehouse; None for never."""
    smtp_url: SmtpUrl | None = None
    """Without it emails are written into files, in `emails` in `home`."""
    emails_per_second: Annotated[float, Field(gt=0)] | None = None
    """The most that one process sends; None for as many as the server takes."""
    email_unsure: Literal["keep", "again"] = "keep"
    """What is done with an email of which nobody knows whether the server took it."""
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s/]")] | None = None
    """Where `streakline web` can be reached from outside; without it one unsubscribes by email."""
    web_host: str = "127.0.0.1"
    web_port: Port = 8026
    """Where `streakline web` listens."""
    program: Path = Path("streakline.toml")
    templates: Path | None = None
    """The folder of own email templates; without it, `templates` beside the program, if it is."""
    log_format: Literal["console", "json"] = "console"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = NAMESPACE
    """What the names of our queues and Redis keys begin with: as in the clients."""
    postgres_port: Port | None = None
    """Where the embedded Postgres listens on 127.0.0.1 besides its Unix socket."""
    valkey_port: Port | None = None
    """Where the embedded Valkey listens on 127.0.0.1 besides its Unix socket."""

    monitor_port: Port | None = None
    """Where a worker or a scheduler answers `/metrics`, `/health` and `/ready`.

    Of the processes that `up` runs the first has this port, the next one the one after it, ...
    """
    monitor_host: str = "127.0.0.1"
    """The address that the monitor listens on; `0.0.0.0` for all."""

    @property
    def events_kept(self) -> timedelta | None:
        """How long events stay in Postgres; None for ever."""
        return None if self.events_kept_days is None else timedelta(days=self.events_kept_days)

    @classmethod
    def load(cls) -> Settings:
        """Read the environment. Raises SettingsError with a line for each thing wrong."""
        problems = [_unknown(name) for name in sorted(os.environ) if _is_unknown(name)]
        try:
            settings = cls()
        except ValidationError as error:
            problems += [
                f"{_variable(str(each['loc'][0]))}: {each['msg']}" for each in error.errors()
            ]
        if problems:
            raise SettingsError("\n".join(problems))
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the servers are. The repr shows no URL, for any may hold a password."""

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    """Rankings and the like: never the broker's database."""
    warehouse_url: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Return the variables that bring a child process to the same servers."""
        return {
            f"{PREFIX}DATABASE_URL": self.database_url,
            f"{PREFIX}BROKER_URL": self.broker_url,
            f"{PREFIX}REDIS_URL": self.redis_url,
            f"{PREFIX}CLICKHOUSE_URL": self.warehouse_url,
        }


@contextmanager
def open_servers(settings: Settings) -> Iterator[Addresses]:
    """Yield where the servers are; embedded ones are started if need be and shared until the end.

    With all URLs given the home is not touched. The embedded warehouse is no server: the process
    that uses it opens it. Raises EmbeddedServerError.
    """
    database = _revealed(settings.database_url)
    broker, redis = _revealed(settings.broker_url), _revealed(settings.redis_url)
    with ExitStack() as stack:
        if database is None:
            database = stack.enter_context(
                embedded_postgres(settings.home, port=settings.postgres_port)
            )
        if place_redis(broker, redis)[1] is None:
            redis = stack.enter_context(embedded_valkey(settings.home, port=settings.valkey_port))
        broker, redis = place_redis(broker, redis)
        assert broker is not None
        assert redis is not None
        yield Addresses(
            database_url=database,
            broker_url=broker,
            redis_url=redis,
            warehouse_url=_revealed(settings.clickhouse_url) or embedded_warehouse(settings.home),
        )


def embedded_warehouse(home: Path) -> str:
    """Return the address of the warehouse in a home.

    >>> embedded_warehouse(Path("/srv/app"))
    'chdb:///srv/app/clickhouse'
    """
    return f"chdb://{home.resolve() / 'clickhouse'}"


def _revealed(url: SecretUrl | None) -> str | None:
    return None if url is None else url.get_secret_value()


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _is_unknown(name: str) -> bool:
    ours = name.startswith(PREFIX) and not name.startswith(TEST_PREFIX)
    return ours and name.removeprefix(PREFIX).lower() not in Settings.model_fields


def _unknown(name: str) -> str:
    known = list(Settings.model_fields)
    nearest = get_close_matches(name.removeprefix(PREFIX).lower(), known, n=1)
    if nearest:
        return f"{name}: there is no such setting. Did you mean {_variable(nearest[0])}?"
    return f"{name}: there is no such setting. There are {', '.join(map(_variable, known))}."


def _any_of(schemes: tuple[str, ...]) -> str:
    *others, last = (f"{scheme}://" for scheme in schemes)
    return f"{', '.join(others)} or {last}"
