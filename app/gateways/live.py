"""Who watches which group or bargain in this process, and the word that something changed there.

The word carries no content: the feed (`services/feed.py`) reads the rows when it hears it. It may be lost (Redis
away, process killed); the feed also looks by itself now and then, so a lost word costs a moment, never a change.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from secrets import token_hex
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.domain.errors import Busy, TooManyConnections

log = logging.getLogger(__name__)
CHANNEL = "kaituan:live"
RECONNECT_SECONDS = 1.0
OWN_ADDRESSES = {"127.0.0.1", "::1", ""}


Look = asyncio.Future[Any]
"""A question how something that is watched is now."""


class Watcher(Protocol):
    """Somebody who watches, as their room knows them."""

    def tell(self, tick: Any, now: float) -> None:
        """See what is new in the room; `now` is loop time, as below."""

    def wake(self) -> None:
        """They have to see whether they should go on."""

    def leave(self) -> None:
        """They are not there any more."""

    def look_after(self, now: float) -> None:
        """See to it that they hear something now and then, and do not take for ever."""


class Room:
    """One group or bargain that is watched in this process: its watchers, and what they were told lately."""

    __slots__ = ("_told_at", "left_at", "looks", "newest", "next_at", "ticks", "told", "watchers")

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self.left_at = 0.0
        """Loop time at which the last watcher left."""
        self.told: int | None = None
        """Id of the newest change that was told; None: the feed has not yet looked."""
        self.ticks: deque[Any] = deque()
        """What was told lately, each going on where the one before ended."""
        self._told_at: deque[float] = deque()
        self.newest: Any = None
        """What the feed saw last; there once `told` is."""
        self.next_at = 0.0
        """Loop time before which nothing is told, so that what happens at once is told at once."""
        self.looks: list[Look] = []

    @property
    def floor(self) -> int:
        """The change after which the room remembers all that was told."""
        return self.ticks[0].after if self.ticks else self.told or 0

    def remembers(self, after: int) -> bool:
        """Whether it knows this change and can tell all that came after it."""
        return self.told is not None and self.floor <= after <= self.told

    def take_looks(self) -> list[Look]:
        """The questions that wait for an answer, which are then the caller's."""
        looks, self.looks = self.looks, []
        return looks

    def open(self, view: Any) -> None:
        """Begin with how it is, unless it has begun."""
        if self.told is None:
            self.newest, self.told = view, view.last

    def tell(self, tick: Any, now: float, next_at: float) -> None:
        """Remember what is now told to all watchers, and when the next may be told."""
        self.ticks.append(tick)
        self._told_at.append(now)
        self.newest, self.told, self.next_at = tick, tick.last, next_at

    def forget(self, before: float) -> None:
        """Drop what was told before that loop time."""
        while self._told_at and self._told_at[0] < before:
            self._told_at.popleft()
            self.ticks.popleft()

    def begin_anew(self) -> None:
        """Know nothing, and send the watchers on their way."""
        self.forget(inf)
        self.told = self.newest = None
        for watcher in self.watchers:
            watcher.leave()


class Live:
    """One subscription for the whole process, shared by everybody who watches."""

    def __init__(self, client: Redis, subscriber: Redis) -> None:
        self._client = client
        self._subscriber = subscriber
        self._name = token_hex(8)
        self.rooms: dict[str, Room] = {}
        self.words: set[str] = set()
        """Ids of rooms where something changed, for all we know."""
        self.word = asyncio.Event()
        self.connections = 0
        """How many connections watch."""
        self.connections_from: Counter[str] = Counter()
        """How many of them, by the address they come from."""
        self.heard: list[Callable[[Collection[str]], None]] = []
        """Called with the ids of groups and sales that changed, here or in another process."""
        self.closing = False
        """Whether the process is about to stop: then nobody should wait any longer."""

    @contextmanager
    def admitted(self, address: str, limit: int, limit_per_address: int) -> Iterator[None]:
        """One of the connections that may watch at the same time; a limit per address of 0 is none.

        Who connects from this machine is a proxy that does not say for whom, or one of us: not limited by address.

        Raises `Busy` when there are too many, `TooManyConnections` when there are too many from this address.
        """
        if self.connections >= limit:
            raise Busy
        if 0 < limit_per_address <= self.connections_from[address] and address not in OWN_ADDRESSES:
            raise TooManyConnections(limit=limit_per_address)
        self.connections += 1
        self.connections_from[address] += 1
        try:
            yield
        finally:
            self.connections -= 1
            self.connections_from[address] -= 1
            if not self.connections_from[address]:
                del self.connections_from[address]

    @contextmanager
    def entered(self, id_: str, watcher: Watcher) -> Iterator[Room]:
        """The room of what has this id, with this watcher in it."""
        room = self.rooms.setdefault(id_, Room())
        room.watchers.add(watcher)
        try:
            yield room
        finally:
            room.watchers.discard(watcher)
            room.left_at = asyncio.get_running_loop().time()

    async def look(self, id_: str) -> Any:
        """How what is watched is now, read after this was called. Raises what the feed met."""
        look: Look = asyncio.get_running_loop().create_future()
        self.rooms[id_].looks.append(look)
        self.hear([id_])
        return await look

    async def announce(self, changed: Iterable[str]) -> None:
        """Tell every process that these groups, bargains and sales changed."""
        ids = sorted(set(changed))
        self.changed(ids)
        await self.publish(ids)

    async def publish(self, ids: Collection[str]) -> None:
        """Tell the other processes that these have changed, as far as they can be reached."""
        if not ids:
            return
        # RuntimeError: uvloop's word for a connection that was closed under the client.
        with suppress(RedisError, OSError, RuntimeError):
            await self._client.publish(CHANNEL, " ".join([self._name, *ids]))

    def changed(self, ids: Collection[str]) -> None:
        """Tell this process that these have changed."""
        for heard in self.heard:
            heard(ids)
        self.hear(ids)

    def hear(self, ids: Iterable[str]) -> None:
        """Have the feed look at these, as far as they are watched here."""
        heard = self.rooms.keys() & ids
        if heard:
            self.words |= heard
            self.word.set()

    async def run(self) -> None:
        """Hear what other processes announce, until cancelled."""
        while True:
            try:
                async with self._subscriber.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            sender, _, ids = message["data"].decode(errors="replace").partition(" ")
                            if sender != self._name:
                                self.changed(ids.split())
            except (RedisError, OSError, RuntimeError):
                log.debug("live: no subscription, trying again", exc_info=True)
            await asyncio.sleep(RECONNECT_SECONDS)

    def close(self) -> None:
        """Send everybody who watches on their way; they can go on at another process."""
        self.closing = True
        for room in self.rooms.values():
            for watcher in room.watchers:
                watcher.wake()
