"""Doing together what many ask for at the same time: one query, one transaction, one commit for all who wait.

The previous run is the batching window: whoever asks while it runs waits for the next one, and nobody waits for a
batch to fill. A lone caller is served at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from typing import Generic, TypeVar

from app.domain.errors import Busy

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")

CROWD = 32
"""So many must wait before another lane is opened: fewer are better served together."""
Work = Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]]


class Batches(Generic[Key, Item, Result]):
    """Calls of `work(items)`, at most `lanes` at a time, each with all items that wait, at most `size` of them. One
    more begins when a `crowd` waits.

    `work` returns one result or exception per item, in order; what it raises itself is every item's exception.
    Beyond `limit` waiting items `ask` raises `Busy`.
    """

    def __init__(
        self, work: Work[Item, Result], *, size: int = 500, limit: int = 5000, lanes: int = 1, crowd: int = CROWD
    ) -> None:
        self._work = work
        self._size = size
        self._limit = limit
        self._lanes = lanes
        self._crowd = crowd
        self._waiting: dict[Key, Item] = {}
        self._futures: dict[Key, list[asyncio.Future[Result]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, key: Key, item: Item) -> asyncio.Future[Result]:
        """The result for an item, to be awaited. A key that is asked again before its result is there is the same
        question. Cancelling the future ends the waiting, not the work.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        futures = self._futures.get(key)
        if futures is not None:
            futures.append(future)
            return future
        if len(self._waiting) >= self._limit:
            raise Busy
        self._waiting[key] = item
        self._futures[key] = [future]
        if not self._running or (len(self._waiting) >= self._crowd and len(self._running) < self._lanes):
            self._running.add(asyncio.get_running_loop().create_task(self._run()))
        return future

    def is_asked(self, key: Key) -> bool:
        """Whether somebody waits for the result of this key."""
        return key in self._futures

    async def drain(self) -> None:
        """Wait until nothing is left to do."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._run_once()
        finally:  # at once: whoever asks from now on needs another
            self._running -= {asyncio.current_task()}

    async def _run_once(self) -> None:
        keys = list(islice(self._waiting, self._size))
        items = [self._waiting.pop(key) for key in keys]
        try:
            results = await self._work(items)
        except Exception as error:  # noqa: BLE001 - everybody who waits is told
            results = [error] * len(items)
        for key, result in zip(keys, results, strict=True):
            for future in self._futures.pop(key):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)
