"""Memories: one read for all who ask, nothing stale after a change, something old while the database is away."""

import asyncio
from collections.abc import Sequence

import pytest

from app import remembering
from app.remembering import Memory


class Source:
    """Values that change, behind a read that can be held up and can fail."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, keys: Sequence[str]) -> list[int | BaseException]:
        self.reads += 1
        seen = self.value
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [seen if key != "nothing" else KeyError(key) for key in keys]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time the memory sees."""
    now = [1000.0]
    monkeypatch.setattr(remembering, "monotonic", lambda: now[0])
    return now


def memory(source: Source) -> Memory[str, int]:
    return Memory(source, seconds=1.0, may_be_old=lambda error: isinstance(error, OSError))


async def test_one_read_for_all_and_again_after_a_while(clock: list[float]) -> None:
    source = Source()
    known = memory(source)
    assert await asyncio.gather(*(known.get("a") for _ in range(50))) == [0] * 50
    source.value = 1
    assert (await known.get("a"), source.reads) == (0, 1)
    clock[0] += 1.1
    assert known.fresh("a") is None
    assert (await known.get("a"), source.reads) == (1, 2)


async def test_a_change_is_seen_by_whoever_asks_after_it(clock: list[float]) -> None:  # noqa: ARG001
    """Also when a read from before the change is still under way."""
    source = Source()
    known = memory(source)
    source.gate.clear()
    early = asyncio.create_task(known.get("a"))
    await asyncio.sleep(0.01)
    source.value = 1
    known.drop("a")
    late = asyncio.create_task(known.get("a"))
    await asyncio.sleep(0.01)
    source.gate.set()
    assert await early == 0
    assert await late == 1
    assert known.fresh("a") == 1
    source.value = 2
    known.drop("a")
    assert await known.get("a") == 2


async def test_the_early_read_is_not_remembered(clock: list[float]) -> None:  # noqa: ARG001
    source = Source()
    known = memory(source)
    source.gate.clear()
    early = asyncio.create_task(known.get("a"))
    await asyncio.sleep(0.01)
    source.value = 1
    known.drop("a")
    source.gate.set()
    assert await early == 0
    assert known.fresh("a") is None
    assert await known.get("a") == 1


async def test_something_old_while_the_source_is_away(clock: list[float]) -> None:
    source = Source()
    known = memory(source)
    await known.get("a")
    clock[0] += 5
    source.error = OSError("away")
    assert await known.get("a") == 0
    with pytest.raises(OSError, match="away"):
        await known.get("never seen")
    source.error = RuntimeError("a fault is not an absence")
    with pytest.raises(RuntimeError):
        await known.get("a")
    source.error = OSError("away")
    clock[0] += Memory.OLD_SECONDS
    with pytest.raises(OSError, match="away"):
        await known.get("a")


async def test_what_is_not_there_is_asked_again(clock: list[float]) -> None:  # noqa: ARG001
    source = Source()
    known = memory(source)
    for _ in range(2):
        with pytest.raises(KeyError):
            await known.get("nothing")
    assert source.reads == 2


async def test_it_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "SIZE", 3)
    known = memory(Source())
    for key in "abcde":
        await known.get(key)
    assert [known.last(key) for key in "abcde"] == [None, None, 0, 0, 0]


async def test_what_was_dropped_often_is_still_given_while_the_database_is_away(clock: list[float]) -> None:
    """A group that changes a hundred times a second has not been seen a hundred seconds ago."""
    source = Source()
    known = memory(source)
    assert await known.get("a") == 0
    source.error = OSError("away")
    for _ in range(100):
        known.drop("a")
    assert await known.get("a") == 0
    clock[0] += Memory.OLD_SECONDS
    with pytest.raises(OSError, match="away"):
        await known.get("a")
