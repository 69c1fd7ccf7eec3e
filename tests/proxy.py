"""A small TCP proxy between processes and a server, which misbehaves as it is told.

It listens on a port of its own and brings each connection to a server's address. What goes wrong
is told from any thread: connections end, new ones are refused, bytes come late or not at all, one
half is closed while the other stays, and requests are delivered whose replies get lost, for a while
or so many of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

CHUNK_BYTES = 65_536
ORPHANED_SECONDS = 3.0
"""How long a server does not notice that the client of a half-closed connection has gone."""

Upstream = Path | tuple[str, int]
"""A Unix socket, or a host and a port."""


class _Connection:
    """One connection on its way: both ends, and whether it still can be used."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.lost_a_reply = False
        self.orphaned = False

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Passes bytes on between `port` of 127.0.0.1 and the upstream; see the module."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._connections: set[_Connection] = set()
        self._refusing = False
        self._losing = False
        self._delay_seconds = 0.0
        self.port = 0
        self.replies_to_pass = 0
        self.replies_to_lose = 0
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        """End all connections and listen no more."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, *, refusing: bool = False) -> None:
        """End every connection; with `refusing` new ones end at once until `heal`."""
        self._tell(self._cut, refusing)

    def half_close(self) -> None:
        """End what clients read; servers think for a while that all is well."""
        self._tell(self._half_close)

    def lose_replies(self) -> None:
        """Pass requests on and no replies until `heal`, which ends connections that lost one."""
        self._tell(setattr, self, "_losing", True)

    def lose_some(self, count: int, *, after: int = 0) -> None:
        """Lose so many replies, after so many that pass: each ends its connection when it comes."""
        self._tell(self._lose_some, count, after)

    def stall(self) -> None:
        """Pass nothing on until `heal`; connections stay."""
        self._tell(self._flowing.clear)

    def delay(self, seconds: float) -> None:
        """Pass everything on late until `heal`."""
        self._tell(setattr, self, "_delay_seconds", seconds)

    def heal(self) -> None:
        """Do again what a network does."""
        self._tell(self._heal)

    def _tell(self, what: Callable[..., object], *words: object) -> None:
        self._loop.call_soon_threadsafe(what, *words)

    def _cut(self, refusing: bool) -> None:
        self._refusing = refusing
        for connection in self._connections:
            connection.abort()

    def _half_close(self) -> None:
        for connection in self._connections:
            connection.orphaned = True
            with suppress(OSError, RuntimeError):
                connection.client.write_eof()

    def _lose_some(self, count: int, after: int) -> None:
        self.replies_to_lose, self.replies_to_pass = count, after

    def _heal(self) -> None:
        self._refusing = self._losing = False
        self._delay_seconds = 0.0
        self._flowing.set()
        for connection in self._connections:
            if connection.lost_a_reply:
                connection.abort()

    async def _listen(self) -> int:
        self._flowing.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        self._heal()
        self._cut(refusing=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=ORPHANED_SECONDS) if others else None

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._refusing:
            client.transport.abort()
            return
        try:
            upstream_reader, server = await self._connect()
        except OSError:
            client.transport.abort()
            return
        connection = _Connection(client, server)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump_requests(reader, connection),
                self._pump_replies(upstream_reader, connection),
            )
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(str(self._upstream))
        return await asyncio.open_connection(*self._upstream)

    async def _pump_requests(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._hold_up()
                connection.server.write(data)
                await connection.server.drain()
        if connection.orphaned:
            await asyncio.sleep(ORPHANED_SECONDS)
        connection.server.close()

    async def _pump_replies(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._hold_up()
                if self._is_one_to_lose():
                    connection.abort()
                    return
                if self._losing:
                    connection.lost_a_reply = True
                if connection.lost_a_reply or connection.orphaned:
                    continue
                connection.client.write(data)
                await connection.client.drain()
        connection.client.close()

    def _is_one_to_lose(self) -> bool:
        if not self.replies_to_lose:
            return False
        if self.replies_to_pass:
            self.replies_to_pass -= 1
            return False
        self.replies_to_lose -= 1
        return True

    async def _hold_up(self) -> None:
        await self._flowing.wait()
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)


@contextmanager
def proxying(upstream: Upstream) -> Iterator[Proxy]:
    """Yield a proxy that listens."""
    proxy = Proxy(upstream)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


@contextmanager
def proxying_url(url: str) -> Iterator[tuple[Proxy, str]]:
    """Yield a proxy before the server of a URL, and the URL through it.

    It keeps the user and what follows the host; for a Unix socket it is one of Redis.
    """
    server = urlsplit(url)
    if server.hostname is None:
        with proxying(Path(unquote(server.path))) as proxy:
            yield proxy, f"redis://127.0.0.1:{proxy.port}/0"
        return
    user, _, _ = server.netloc.rpartition("@")
    with proxying((server.hostname, server.port or 0)) as proxy:
        yield proxy, server._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl()
