"""Reading ahead: what comes next is read by a thread while the present chunk waits for Postgres."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ReadAhead(Generic[Item]):
    """Takes what a generator yields, which only ever runs in one thread of its own.

    So many are in memory at the most as were taken last, and once more as many. What the generator
    raises is raised where its items would have been taken; it is at its end then, and to be closed.
    """

    def __init__(self, items: Generator[Item]) -> None:
        self._items = items
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
        self._read: list[Item] = []
        self._next: Future[list[Item]] | None = None

    def take(self, count: int) -> list[Item]:
        """Return the next items, fewer at the end, none after it."""
        if self._next is None:
            self._next = self._ask(count)
        while len(self._read) < count and (found := self._next.result()):
            self._read += found
            self._next = self._ask(count)
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    def __iter__(self) -> Iterator[Item]:
        """Take one after the other."""
        while taken := self.take(1):
            yield from taken

    def close(self) -> None:
        """Close the generator, in its thread, and end that."""
        self._reader.submit(self._items.close).result()
        self._reader.shutdown()

    def _ask(self, count: int) -> Future[list[Item]]:
        return self._reader.submit(lambda: list(islice(self._items, count)))
