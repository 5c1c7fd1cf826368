"""Watching a group fill, or a price fall: what it is, then every change, in order, from wherever one left off.

What watchers have in common is read once, by the feed (`services/feed.py`). A watcher reads rows of its own only
when it comes back from before what the feed remembers.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from math import inf
from types import coroutine
from typing import Any, Self

from sqlalchemy.exc import SQLAlchemyError

from app.gateways.live import Room
from app.schemas.live import Tick, joined
from app.services.live import read_changes
from app.state import State

log = logging.getLogger(__name__)
SLOW_SECONDS = 10.0
"""How far behind a watcher may be, and how long a delivery may be stuck."""
CLOSING_SECONDS = 1.0
"""How long it may be stuck when the process is about to stop."""
KEEP_ALIVE_SECONDS = 15.0
QUIET = Tick(after=0, last=0, noun="", state="", shown="")
"""Nothing happened for a while; the line is to be kept alive."""


class Watch:
    """What somebody who watches a group or a bargain has still to see.

    `deliver` brings it to them; without it, they ask for it. `cut` ends their connection while a delivery is stuck.
    """

    def __init__(
        self,
        state: State,
        id_: str,
        deliver: Callable[[Tick], Coroutine[Any, Any, None]] | None = None,
        cut: Callable[[], None] = lambda: None,
    ) -> None:
        self._state, self._id, self._deliver, self._cut = state, id_, deliver, cut
        self._room = Room()
        self._time = asyncio.get_running_loop().time
        self._end_at = self._time() + state.settings.live_stream_seconds
        self._told_at = self._time()
        self._delivering_since = inf
        self._waiting: asyncio.Future[None] | None = None
        self._begun: Awaitable[None] | None = None
        self._known = 0
        self._first: Tick | None = None
        self._catching_up = False
        self._gone = False
        self.final = False
        """Whether they have seen everything there will be."""

    @asynccontextmanager
    async def begun(self, after: int | None) -> AsyncIterator[Self]:
        """Watch for the time of the context, from the change they know, or from a snapshot.

        An id from the future (of a database that was set back) is no id. Raises `GroupNotFound`, `BargainNotFound`.
        """
        with self._state.live.entered(self._id, self) as self._room:
            await self._begin(after)
            yield self

    async def follow(self) -> None:
        """Deliver what is new, as soon as there is something, until there is no more (see `next`)."""
        if self._deliver is not None:
            while (tick := await self.next()) is not None:
                await self._deliver(tick)

    async def next(self) -> Tick | None:
        """What is new, as soon as there is something; `QUIET` when there was nothing for a while.

        None when there is no more: it is final, they are too slow, have left or have watched long enough, or the
        process is about to stop. What is returned has to be delivered within `SLOW_SECONDS`.
        """
        tick, self._delivering_since = None, inf
        while not self.final:
            tick = self._first or self._unseen() or await self._read_on()
            now = self._time()
            if tick is not None or self._over or now >= self._end_at:
                break
            if now >= self._told_at + KEEP_ALIVE_SECONDS:
                tick = QUIET
                break
            await self._wait()
        if tick is not None and tick is not QUIET:
            self._known, self._first, self.final = tick.last, None, tick.final
        self._told_at = self._delivering_since = self._time()
        return tick

    async def poll(self, after: int | None, wait_seconds: float) -> Tick:
        """How it is, and its changes after an event id; when there are none, wait for it that long.

        Without an id: only how it is, at once. Raises `GroupNotFound`, `BargainNotFound`.
        """
        if after is None or not wait_seconds:
            with self._state.live.entered(self._id, self):
                newest: Tick = await self._state.live.look(self._id)
            if after is None or after >= newest.last:
                return newest
            return await read_changes(self._state, self._id, after)
        async with self.begun(after):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    while (tick := await self.next()) is not None:
                        if tick.changes or tick.final:
                            return tick
            newest = self._room.newest
            return newest.without_changes(self._known, final=False)

    def tell(self, tick: Tick, now: float) -> None:
        """Deliver what is new in the room from here, if that can be done at once; else wake up to do it.

        To wake the task of every watcher costs more than what it then does.
        """
        if self._waiting is None or self._waiting.done():
            return
        if self._deliver is None or tick.after != self._known:
            self.wake()
            return
        delivery = self._deliver(tick)
        try:
            blocked_by = delivery.send(None)
        except StopIteration:
            self._told_at = now
        except Exception:  # noqa: BLE001 - who cannot be reached has left
            self.leave()
            return
        else:
            self._begun = _rest_of(delivery, blocked_by)
            self.wake()
        self._known, self.final = tick.last, tick.final
        if self.final:
            self.wake()

    def wake(self) -> None:
        """Have `next` look at what there is."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def leave(self) -> None:
        """They are not there any more."""
        self._gone = True
        self.wake()

    def look_after(self, now: float) -> None:
        """Wake up to say something now and then; cut them off when they do not take what is delivered."""
        if self._waiting is not None:
            if now >= self._told_at + KEEP_ALIVE_SECONDS or now >= self._end_at:
                self.wake()
        elif now >= self._delivering_since + (CLOSING_SECONDS if self._state.live.closing else SLOW_SECONDS):
            self._delivering_since = inf
            self._cut()

    @property
    def _over(self) -> bool:
        return self._gone or self._state.live.closing or self._room.floor > self._known

    async def _begin(self, after: int | None) -> None:
        newest: Tick = self._room.newest
        if after is None or not self._room.remembers(after):
            newest = await self._state.live.look(self._id)
        if after is None or after > newest.last:
            self._known, self._first = newest.last, newest.as_snapshot
            return
        self._known = after
        if after == newest.last:
            self._first = newest.without_changes(after, final=True) if newest.final else None
        elif not self._room.remembers(after):
            self._first = await read_changes(self._state, self._id, after)
            self._catching_up = True

    async def _wait(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
        if self._begun is not None:
            rest, self._begun, self._delivering_since = self._begun, None, self._time()
            await rest
            self._delivering_since = inf

    def _unseen(self) -> Tick | None:
        ticks, known = self._room.ticks, self._known
        if not ticks or ticks[-1].last <= known:
            return None
        newest: Tick = ticks[-1]
        if newest.after == known:
            return newest
        return joined([tick for tick in ticks if tick.last > known], known) if self._room.floor <= known else None

    async def _read_on(self) -> Tick | None:
        """More from before what the room remembers: only at the start, for later they are too slow."""
        if not self._catching_up:
            return None
        if self._room.floor <= self._known:
            self._catching_up = False
            return None
        try:
            found = await read_changes(self._state, self._id, self._known)
        except (SQLAlchemyError, OSError):
            log.warning("live: the database is away; a watcher has to come back", exc_info=True)
            return None
        return found if found.changes else None


@coroutine
def _rest_of(begun: Coroutine[Any, Any, None], blocked_by: Any) -> Generator[Any, Any, None]:
    """What is left to do of a coroutine that was begun outside of a task, and waits for something."""
    try:
        yield blocked_by
    except BaseException as error:
        begun.throw(error)
        raise
    yield from begun
