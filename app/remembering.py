"""Remembering what was read for a moment: one read for all who ask at the same time, and again after a while."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

from app.batching import Batches, Work

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Values by key, read by `load(keys)` when they are missing or older than `seconds`.

    `load` returns one value or exception per key, in order. While it fails with an error that `may_be_old` knows, a
    value of up to `OLD_SECONDS` is given instead.
    """

    SIZE = 50_000
    OLD_SECONDS = 60.0

    def __init__(self, load: Work[Key, Value], *, seconds: float, may_be_old: Callable[[Exception], bool]) -> None:
        self._seconds = seconds
        self._may_be_old = may_be_old
        self._batches: Batches[tuple[Key, int], Key, Value] = Batches(load)
        self._values: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._reading: dict[Key, int] = {}

    def fresh(self, key: Key) -> Value | None:
        """The value, if it was read a moment ago."""
        found = self._values.get(key)
        return found[1] if found is not None and monotonic() - found[0] < self._seconds else None

    def last(self, key: Key) -> Value | None:
        """The value as it was read last, however long ago: for what does not change."""
        found = self._values.get(key)
        return None if found is None else found[1]

    async def get(self, key: Key) -> Value:
        """The value, read now if need be."""
        value = self.fresh(key)
        return value if value is not None else await self.read(key)

    async def read(self, key: Key) -> Value:
        """The value as it is now."""
        version, begun = self._reading.setdefault(key, 0), monotonic()
        try:
            value = await self._batches.ask((key, version), key)
        except Exception as error:
            old = self._values.get(key)
            if old is not None and begun - old[0] < self.OLD_SECONDS and self._may_be_old(error):
                return old[1]
            raise
        finally:
            unchanged = self._reading.get(key) == version
            if unchanged:
                del self._reading[key]
        if unchanged:
            self.put(key, value, begun)
        return value

    def put(self, key: Key, value: Value, read_at: float | None = None) -> None:
        """Remember a value that is known from elsewhere."""
        self._values[key] = (monotonic() if read_at is None else read_at, value)
        if len(self._values) > self.SIZE:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Read everything anew, and keep nothing of what was read."""
        self._values.clear()
        for key in self._reading:
            self._reading[key] += 1

    def drop(self, key: Key) -> None:
        """Read it anew next time: it changed. What is being read at this moment is not remembered either."""
        found = self._values.get(key)
        if found is not None:
            self._values[key] = (min(found[0], monotonic() - self._seconds), found[1])
        if key in self._reading:
            self._reading[key] += 1
