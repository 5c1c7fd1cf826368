"""The feed: one task per process that reads what changed in what is watched here, once for all who watch."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import chain

from app.gateways.database import is_outage
from app.gateways.live import Look, Room, Watcher
from app.schemas.live import Tick
from app.services.live import kind_of, read_newest, read_ticks
from app.services.watching import SLOW_SECONDS
from app.state import State

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""How often the feed looks at all that is watched by itself, in case the word of a change was lost."""
TELL_SECONDS = 0.1
"""How long after something was told of one thing the next is told, with all that happened in between."""
REST_SECONDS = 0.02
"""Pause after each look: what is announced meanwhile is read together."""
AFTER_TROUBLE_SECONDS = 1.0
LINGER_SECONDS = 30.0
"""How long a room is kept for those who come back, as long polls do."""
LOOK_AT_ONCE = 500
WAKE_AT_ONCE = 100
"""Other requests get their turn after so many watchers."""


@asynccontextmanager
async def feeding(state: State) -> AsyncIterator[None]:
    """Tell the watchers of this process what happens, for the time of the context."""
    feed = asyncio.create_task(_Feed(state).run(), name="live feed")
    try:
        yield
    finally:
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)


class _Feed:
    def __init__(self, state: State) -> None:
        self._database, self._live = state.database, state.live
        self._time = asyncio.get_running_loop().time
        self._look_at = 0.0

    async def run(self) -> None:
        """Look, tell, rest; until cancelled."""
        while True:
            due, well = await self._due(), True
            for place in range(0, len(due), LOOK_AT_ONCE):
                well = await self._try(due[place : place + LOOK_AT_ONCE]) and well
            await asyncio.sleep(REST_SECONDS if well else AFTER_TROUBLE_SECONDS)

    async def _due(self) -> list[str]:
        """What to look at, as soon as there is something; once in a while all that is watched."""
        live = self._live
        while (now := self._time()) < self._look_at:
            rooms = {id_: room for id_ in live.words if (room := live.rooms.get(id_))}
            if due := [id_ for id_, room in rooms.items() if room.looks or room.next_at <= now]:
                return due
            live.word.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min([self._look_at, *(room.next_at for room in rooms.values())])):
                    await live.word.wait()
        self._look_at = now + LOOK_SECONDS
        await self._sweep(now)
        return list(live.rooms)

    async def _sweep(self, now: float) -> None:
        """Look after watchers whose time has passed, and drop what nobody needs any more."""
        live = self._live
        for id_, room in list(live.rooms.items()):
            room.forget(now - SLOW_SECONDS)
            if not room.watchers and not room.looks and room.left_at <= now - LINGER_SECONDS:
                del live.rooms[id_]
            async for watcher in _in_turns(room.watchers):
                watcher.look_after(now)
        live.words &= live.rooms.keys()

    async def _try(self, ids: list[str]) -> bool:
        """Look at some, and outlive whatever happens: the rows are still there. Returns whether all went well."""
        try:
            await self._look(ids)
        except Exception as error:
            if is_outage(error):
                log.warning("live: %r; trying again", error)
            elif len(ids) == 1:
                log.exception("live: %s", ids[0])
            else:  # one of them must not keep the others from being seen
                for id_ in ids:
                    await self._try([id_])
            return False
        return True

    async def _look(self, ids: list[str]) -> None:
        """Read what is new of these; answer who asked how they are, and tell who watches."""
        live, now = self._live, self._time()
        rooms = {id_: room for id_ in ids if (room := live.rooms.get(id_))}
        looks = {id_: room.take_looks() for id_, room in rooms.items()}
        live.words.difference_update(ids)
        try:
            newest, ticks = await self._read(rooms, {id_ for id_, asked in looks.items() if asked}, now)
        except Exception as error:
            live.words.update(rooms)
            _answer(chain.from_iterable(looks.values()), error)
            raise
        for id_, room in rooms.items():
            if id_ not in newest:
                _answer(looks[id_], kind_of(id_).missing())
                room.begin_anew()
                if not room.looks:
                    del live.rooms[id_]
            else:
                await self._tell(room, looks[id_], newest[id_], ticks.get(id_))
                if room.told is not None and room.told < newest[id_]:
                    live.words.add(id_)

    async def _read(
        self, rooms: dict[str, Room], asked: set[str], now: float
    ) -> tuple[dict[str, int], dict[str, Tick]]:
        """The newest change of each; of those that were asked for or may be told now, what is new."""
        async with self._database.snapshot() as session:
            newest = await read_newest(session, rooms)
            after = {
                id_: last if room.told is None or room.next_at > now else min(room.told, last)
                for id_, last in newest.items()
                if (room := rooms[id_])
            }
            wanted = {id_: known for id_, known in after.items() if known < newest[id_] or id_ in asked}
            return newest, await read_ticks(session, wanted, newest) if wanted else {}

    async def _tell(self, room: Room, looks: list[Look], newest: int, tick: Tick | None) -> None:
        if newest < (room.told or 0):  # the database was set back
            room.begin_anew()
        if tick is None:
            return
        if looks:
            view = tick.without_changes(newest, final=tick.over)
            room.open(view)
            _answer(looks, view)
        if tick.changes:
            now = self._time()
            room.tell(tick, now, now + TELL_SECONDS)
            async for watcher in _in_turns(room.watchers):
                watcher.tell(tick, now)


def _answer(looks: Iterable[Look], answer: Tick | Exception) -> None:
    for look in looks:
        if not look.done():
            if isinstance(answer, Exception):
                look.set_exception(answer)
            else:
                look.set_result(answer)


async def _in_turns(watchers: Collection[Watcher]) -> AsyncIterator[Watcher]:
    """Each of them, with a turn for others after every few."""
    for count, watcher in enumerate(list(watchers), 1):
        yield watcher
        if not count % WAKE_AT_ONCE:
            await asyncio.sleep(0)
