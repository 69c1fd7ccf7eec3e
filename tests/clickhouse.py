"""ClickHouse over HTTP: the real engine, chDB, behind the protocol that servers speak.

So the client is the one that talks to a server, over sockets that a test can cut: before an insert
reaches the engine, or after it did and before anybody is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped] # has no types

from models.warehouse.engine import Warehouse

_INSERT = re.compile(r"INSERT INTO (\S+).* FORMAT (\w+)\s*$", re.DOTALL | re.IGNORECASE)
_DECODERS: Mapping[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "lz4": lz4.frame.decompress,
}
_NOT_SETTINGS = {"query", "query_id", "database", "client_protocol_version", "wait_end_of_query"}


class Cut(Enum):
    """Where the connection of the next insert is cut."""

    BEFORE = "before it reaches the engine"
    AFTER = "after the engine has it"


@contextmanager
def fresh_warehouse(home: Path) -> Iterator[Warehouse]:
    """Yield a warehouse in a database of its own, in the one folder that a process can open."""
    with fresh_database(home) as name:
        warehouse = Warehouse(embedded_url(home), options={"database": name})
        try:
            yield warehouse
        finally:
            warehouse.close()


@contextmanager
def fresh_database(home: Path) -> Iterator[str]:
    """Make a database in a home's engine, and drop it afterwards."""
    name = f"t{uuid4().hex[:12]}"
    admin = clickhouse_connect.get_client(dsn=embedded_url(home))
    try:
        admin.command(f"create database {name}")
        yield name
        admin.command(f"drop database {name}")
    finally:
        admin.close()


def embedded_url(home: Path) -> str:
    """Return where the engine of a home keeps its data."""
    return f"chdb://{home}/clickhouse-tests"


class ClickhouseServer:
    """Listens on a port of 127.0.0.1, until it is stopped; started again it has the same one."""

    def __init__(self, home: Path, database: str) -> None:
        self._engine = clickhouse_connect.get_client(dsn=embedded_url(home), database=database)
        self._lock = Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.cut: Cut | None = None
        self.inserts = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"clickhouse://127.0.0.1:{self.port}/default"

    def start(self) -> None:
        """Listen."""
        handler = type("Handler", (_Handler,), {"clickhouse": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        """Stop, and close the engine."""
        self.stop()
        self._engine.close()

    def execute(self, query: str, data: bytes, settings: dict[str, Any]) -> bytes:
        """Run a query, or an insert with its data, in the engine."""
        with self._lock:
            insert = _INSERT.match(query)
            if insert:
                self.inserts += 1
                table = insert[1].strip("`")
                self._engine.raw_insert(table, insert_block=data, settings=settings, fmt=insert[2])
                return b""
            return self._engine.raw_query(query, settings=settings)

    def take_cut(self) -> Cut | None:
        """Return where to cut this insert."""
        cut, self.cut = self.cut, None
        return cut


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    clickhouse: ClickhouseServer

    def do_POST(self) -> None:
        told = dict(parse_qsl(urlsplit(self.path).query))
        data = _DECODERS[self.headers.get("Content-Encoding")](self._read())
        settings = {name: value for name, value in told.items() if name not in _NOT_SETTINGS}
        query, data = (told["query"], data) if "query" in told else (data.decode(), b"")
        cut = self.clickhouse.take_cut() if _INSERT.match(query) else None
        if cut is Cut.BEFORE:
            return self._cut()
        try:
            answer, status = self.clickhouse.execute(query, data, settings), 200
        except clickhouse_connect.driver.exceptions.Error as error:
            answer, status = str(error).encode(), 500
        if cut is Cut.AFTER:
            return self._cut()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        return None

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
