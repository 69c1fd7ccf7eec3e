"""A ClickHouse, on a server or embedded: the same client and the same statements for both.

`clickhouse://` and `http(s)://` name a server; `chdb:///path` is the engine in this process, which
alone can open that path. Whatever the way, an insert carries a token, and one that was there
already changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from models.warehouse.schema import (
    BY_NAME,
    TABLES,
    VERSIONS,
    VERSIONS_TABLE,
    ddl,
    delete,
    truncate,
    versions_ddl,
)
from streakline.errors import StreaklineError

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped] # has no types
    from clickhouse_connect.driver.client import Client

INSERT_SETTINGS = {
    "async_insert": 0,  # it would take the token from the insert
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_partitions_per_insert_block": 0,
    # one block, whatever its size: its token is for all of it
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 0,
    "min_insert_block_size_bytes": 0,
    # on a cluster: an insert is done when every shard has it
    "distributed_foreground_insert": 1,
}
EMBEDDED = "chdb://"
ENCRYPTED = ("https://", "clickhouses://")
DISTRUSTED = "certificate verify failed"
"""What OpenSSL says, whoever asks it."""
LOCK = "status"
"""The file in its folder on which ClickHouse holds a lock, and in which it writes its process."""
ASK_SECONDS_MAX = 60
SEND_SECONDS_MAX = 30
CONNECT_SECONDS_MAX = 5


class WarehouseUnavailable(StreaklineError):
    """ClickHouse cannot be reached, or refuses; the message has its words. Retry later."""


class WarehouseFailed(WarehouseUnavailable):
    """It was reached, and answered with an error; the message has it. A retry may not help."""


class WarehouseTaken(WarehouseUnavailable):
    """Another process has the embedded warehouse open, and is to be asked (`worker.asking`)."""

    def __init__(self) -> None:
        super().__init__(
            "another process has the embedded warehouse open: one alone may take the queue "
            "analytics, unless STREAKLINE_CLICKHOUSE_URL names a server"
        )


class Warehouse:
    """Inserts batches and answers queries. Thread-safe.

    It connects when it is first used, brings the schema up to date then, and raises
    WarehouseUnavailable from whichever call finds that it cannot.
    """

    def __init__(
        self, url: str, *, cluster: str | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self._url = url
        self._cluster = cluster
        self._options = options or {}
        self._opening = Lock()
        self._client: Client | None = None

    def open(self) -> str:
        """Connect and bring the schema up to date, if that is to be done; return the version."""
        return str(self._open().server_version)

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        """Insert rows, unless a batch of this token was inserted before."""
        client = self._open()
        with _told():
            client.insert_arrow(
                table, rows, settings={**INSERT_SETTINGS, "insert_deduplication_token": token}
            )

    def empty(self, names: Collection[str]) -> None:
        """Empty tables, and the rollups of them."""
        for table in TABLES:
            if (table.rollup.source if table.rollup else table.name) in names:
                self.truncate(table.name)

    def truncate(self, name: str) -> None:
        """Empty a table alone."""
        self.command(truncate(BY_NAME[name], self._cluster))

    def delete(self, name: str, day: date) -> None:
        """Take the rows of a day out of a table alone; return when they are gone everywhere."""
        self.command(delete(BY_NAME[name], day, self._cluster), {"lightweight_deletes_sync": 2})

    @property
    def is_here(self) -> bool:
        """Whether it is on a server, or the embedded one and open in this process."""
        return not self._url.startswith(EMBEDDED) or self._client is not None

    def made_at(self) -> datetime:
        """Return when the first version of the schema was applied."""
        [found] = self.ask(f"select min(applied_at) as made_at from {VERSIONS_TABLE}")
        made_at: datetime = found["made_at"].replace(tzinfo=UTC)  # it is told without
        return made_at

    def command(self, statement: str, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement that has no answer."""
        client = self._open()
        with _told():
            client.command(statement, settings=dict(settings or {}))

    def ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows that a query finds, each by the names of its columns.

        `{name:Type}` in the query stands for a parameter.
        """
        return _ask(self._open(), query, parameters)

    def close(self) -> None:
        """Close the connection, or the engine."""
        with self._opening:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _open(self) -> Client:
        with self._opening:
            if self._client is None:
                client = _connect(self._url, self._options)
                self._migrate(client)
                self._client = client
            return self._client

    def _migrate(self, client: Client) -> None:
        with _told():
            client.command(versions_ddl(self._cluster))
        found = _ask(client, f"select version from {VERSIONS_TABLE}", {})
        applied = {row["version"] for row in found}
        with _told():
            for version, tables in VERSIONS:
                if version in applied:
                    continue
                for table in tables:
                    for statement in ddl(table, self._cluster):
                        client.command(statement)
                # last: what was begun and not finished is begun again, and changes nothing
                client.command(f"insert into {VERSIONS_TABLE} select {version}, now64(6)")


def _connect(url: str, options: Mapping[str, Any]) -> Client:
    limits: dict[str, Any] = {}
    if url.startswith(EMBEDDED):
        if _is_taken(Path(url.removeprefix(EMBEDDED))):
            raise WarehouseTaken
    else:
        limits = {
            "send_receive_timeout": SEND_SECONDS_MAX,
            "connect_timeout": CONNECT_SECONDS_MAX,
            # calls of several threads must not share a session
            "autogenerate_session_id": False,
            # of a DSN it looks at the port alone, and would send the password in clear text
            "interface": "https" if url.startswith(ENCRYPTED) else None,
        }
    # Imported by the process that has the warehouse alone: it takes as long as all the rest.
    import clickhouse_connect

    with _told():
        return clickhouse_connect.get_client(dsn=url, **limits, **options)


def _is_taken(folder: Path) -> bool:
    """Tell whether another process has the engine of a folder open.

    Before chDB finds out: it would complain on standard error, whatever becomes of it.
    """
    try:
        file = (folder / LOCK).open()
    except OSError:
        return False
    with file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return f"PID: {os.getpid()}\n" not in file.read()
    return False


def _ask(client: Client, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    with _told():
        found = client.query(
            query, parameters=dict(parameters), settings={"max_execution_time": ASK_SECONDS_MAX}
        )
        return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


@contextmanager
def _told() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import ClickHouseError, Error

    try:
        yield
    except (ClickHouseError, OSError) as error:
        if DISTRUSTED in str(error):
            raise WarehouseUnavailable(
                "ClickHouse's certificate is signed by an authority that is not known here: at the "
                f"end of STREAKLINE_CLICKHOUSE_URL ?ca_cert=FILE names one to trust ({error})"
            ) from error
        # the engine's own errors have numbers; without one it was not reached
        is_told = isinstance(error, Error) and error.code is not None
        kind = WarehouseFailed if is_told else WarehouseUnavailable
        raise kind(f"ClickHouse: {error}") from error
