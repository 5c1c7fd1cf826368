"""Those in this process who wait on the line for their turn in a flash sale.

One task per sale looks at the line a few times a second, however many wait. It wakes those whose turn has come, and
everybody when the sale is sold out, sells again or is over; nobody else is touched.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush
from itertools import count

from sqlalchemy.exc import SQLAlchemyError

from app.domain.admissions import Phase
from app.domain.errors import KaituanError
from app.gateways.dealer import Stand
from app.state import State

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.2


class Waiter:
    """One who waits."""

    def __init__(self) -> None:
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """Wait no longer."""
        if not self.woken.done():
            self.woken.set_result(None)


class Queue:
    """Who waits for one sale in this process, and how the line stood when the task looked last."""

    def __init__(self, state: State, look: Callable[[], Awaitable[Stand]]) -> None:
        self._state, self._look = state, look
        self._turns: list[tuple[int, int, Waiter]] = []
        self._order = count()
        self._left = 0
        """How many of them have left without their turn."""
        self._task: asyncio.Task[None] | None = None
        self._newest: Stand | None = None

    async def wait(self, stand: Stand, waiter: Waiter, seconds: float) -> Stand | None:
        """Wait until a member who stands like this has something to be told, at the longest so long.

        Returns how the line stands, as far as that is known without asking; None when it is not.
        """
        if self._newest is not None and _is_news(stand, self._newest, stand.number):
            return self._newest
        heappush(self._turns, (stand.number, next(self._order), waiter))
        if self._task is None:
            self._newest = stand
            self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(seconds):
                await waiter.woken
        except TimeoutError:
            pass
        finally:
            waiter.leave()
            self._left += 1
        return self._newest

    async def close(self) -> None:
        """Send everybody on their way, and look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._turns and not self._state.live.closing:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    self._see(await self._look())
                except (KaituanError, SQLAlchemyError, OSError):
                    log.debug("a line cannot be seen for the moment", exc_info=True)
        finally:
            self._task = self._newest = None
            self._wake(None)

    def _see(self, stand: Stand) -> None:
        before, self._newest = self._newest, stand
        if before is None or stand.came < before.came:  # Redis has forgotten it
            self._newest = None
            self._wake(None)
        else:
            self._wake(None if _is_news(before, stand, 0) else stand.admitted)

    def _wake(self, admitted: int | None) -> None:
        """Wake those with numbers up to this one; everybody when it is None."""
        turns = self._turns
        while turns and (admitted is None or turns[0][0] <= admitted):
            heappop(turns)[2].leave()
            self._left -= 1
        if self._left > len(turns) / 2:
            self._left, self._turns = 0, [turn for turn in turns if not turn[2].woken.done()]
            heapify(self._turns)


def _is_news(before: Stand, now: Stand, number: int) -> bool:
    """Whether somebody with this number, who knows how it stood before, has to be told how it stands now."""
    its_turn = 0 < number <= now.admitted and now.phase == Phase.SELLING
    over = Phase.CLOSED in {before.phase, now.phase} and before.phase != now.phase
    return its_turn or over or (now.left == 0) != (before.left == 0)
