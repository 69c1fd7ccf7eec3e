"""The client for asyncio: the same client, its calls run in asyncio's threads.

There is one client and one set of rules; nothing is implemented twice. A call that is cancelled
has been handed to its thread already and may still reach the broker: send it again with its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from streakline.buffer import DELAY_MS, Buffer
from streakline.client import Client, Receipt
from streakline.contract import EVENTS_PER_MESSAGE_MAX, NAMESPACE, Event

if TYPE_CHECKING:
    from typing import Self, Unpack

    from streakline.contract import EventOptions, UserOptions

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class AsyncClient:
    """Client with `await`; each method raises what Client's raises."""

    def __init__(
        self, broker_url: str, redis_url: str | None = None, *, namespace: str = NAMESPACE
    ) -> None:
        self._client = Client(broker_url, redis_url, namespace=namespace)

    @classmethod
    def around(cls, client: Client) -> Self:
        """Make an asynchronous client of one that exists, for instance of a RecordingClient."""
        this = cls.__new__(cls)
        this._client = client
        return this

    @classmethod
    def from_env(cls) -> Self:
        """As Client.from_env."""
        return cls.around(Client.from_env())

    async def track(self, user_id: str, metric: str, **options: Unpack[EventOptions]) -> Receipt:
        """As Client.track."""
        return await _in_thread(self._client.track, user_id, metric, **options)

    async def track_many(self, events: Iterable[Event]) -> list[Receipt]:
        """As Client.track_many."""
        return await _in_thread(self._client.track_many, events)

    async def identify(self, user_id: str, **options: Unpack[UserOptions]) -> None:
        """As Client.identify."""
        await _in_thread(self._client.identify, user_id, **options)

    def buffer(
        self, max_events: int = EVENTS_PER_MESSAGE_MAX, max_delay_ms: float = DELAY_MS
    ) -> AsyncBuffer:
        """As Client.buffer, for `async with`."""
        return AsyncBuffer(self._client.buffer(max_events, max_delay_ms))

    async def close(self) -> None:
        """As Client.close."""
        await _in_thread(self._client.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncBuffer:
    """Buffer with `await`; each method raises what Buffer's raises."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    async def track(self, user_id: str, metric: str, **options: Unpack[EventOptions]) -> None:
        """As Buffer.track."""
        await _in_thread(self._buffer.track, user_id, metric, **options)

    async def flush(self) -> None:
        """As Buffer.flush."""
        await _in_thread(self._buffer.flush)

    async def close(self) -> None:
        """As Buffer.close."""
        await _in_thread(self._buffer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def _in_thread(
    call: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs
) -> _Result:
    import asyncio  # whoever awaits this has it; `import streakline` alone need not pay for it

    return await asyncio.to_thread(call, *args, **kwargs)
