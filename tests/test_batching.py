"""Batches: together, in turn, bounded; and nobody pays for a neighbour."""

import asyncio
from collections.abc import Sequence

import pytest

from app.batching import Batches
from app.domain.errors import Busy


class Recorder:
    """Work that notes its batches, and waits until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int | BaseException]:
        self.batches.append(list(items))
        await self.gate.wait()
        return [ValueError(str(item)) if item < 0 else item * 10 for item in items]


async def test_what_comes_while_a_batch_runs_is_the_next_batch() -> None:
    work = Recorder()
    batches: Batches[int, int, int] = Batches(work)
    first = batches.ask(1, 1)
    await asyncio.sleep(0)
    others = [batches.ask(number, number) for number in (2, -3, 4)]
    assert work.batches == [[1]], "a lone caller is served at once"
    work.gate.set()
    assert await first == 10
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    assert work.batches == [[1], [2, -3, 4]]
    assert (outcomes[0], outcomes[2]) == (20, 40)
    assert isinstance(outcomes[1], ValueError), "the failure of one is the failure of one"


async def test_the_same_key_is_the_same_question() -> None:
    work = Recorder()
    batches: Batches[str, int, int] = Batches(work)
    one = batches.ask("key", 1)
    await asyncio.sleep(0)
    twin = batches.ask("key", 1)
    assert batches.is_asked("key")
    one.cancel()
    work.gate.set()
    assert await twin == 10, "one who gives up does not take the answer along"
    assert work.batches == [[1]]
    assert not batches.is_asked("key")
    assert await batches.ask("key", 1) == 10
    assert work.batches == [[1], [1]], "an answer that was given is not kept"


async def test_size_and_limit() -> None:
    work = Recorder()
    batches: Batches[int, int, int] = Batches(work, size=2, limit=3)
    asked = [batches.ask(number, number) for number in range(1, 4)]
    with pytest.raises(Busy):
        batches.ask(4, 4)
    assert not batches.is_asked(4)
    work.gate.set()
    assert await asyncio.gather(*asked) == [10, 20, 30]
    assert work.batches == [[1, 2], [3]]


async def test_work_that_fails_fails_for_all_of_its_batch_only() -> None:
    async def work(items: Sequence[int]) -> list[int]:
        if 2 in items:
            raise RuntimeError("no")
        return list(items)

    batches: Batches[int, int, int] = Batches(work, size=2)
    outcomes = await asyncio.gather(*(batches.ask(number, number) for number in range(4)), return_exceptions=True)
    assert outcomes[:2] == [0, 1]
    assert all(isinstance(outcome, RuntimeError) for outcome in outcomes[2:])
    assert await batches.ask(7, 7) == 7, "and it goes on"


async def test_drain_waits_for_everything() -> None:
    work = Recorder()
    batches: Batches[int, int, int] = Batches(work, size=1)
    asked = [batches.ask(number, number) for number in range(3)]
    draining = asyncio.create_task(batches.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    work.gate.set()
    await draining
    assert all(future.done() for future in asked)
