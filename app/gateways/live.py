"""Who is looking at which group, and the word that something changed there.

The word carries no content: whoever hears it reads the rows. It may be lost (Redis away, process killed);
every listener also looks by itself now and then, so a lost word costs a moment, never a change.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
CHANNEL = "kaituan:live"
RECONNECT_SECONDS = 1.0


class Live:
    """One subscription for the whole process, shared by everybody who waits."""

    def __init__(self, client: Redis, subscriber: Redis) -> None:
        self._client = client
        self._subscriber = subscriber
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self.closing = False
        """Whether the process is about to stop: then nobody should wait any longer."""

    @asynccontextmanager
    async def listen(self, group_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever something changed in the group; clear it before looking."""
        changed = asyncio.Event()
        self._listeners.setdefault(group_id, set()).add(changed)
        try:
            yield changed
        finally:
            listeners = self._listeners[group_id]
            listeners.discard(changed)
            if not listeners:
                del self._listeners[group_id]

    async def announce(self, group_ids: Iterable[str]) -> None:
        """Tell everybody, in every process, that these groups changed."""
        ids = sorted(set(group_ids))
        if not ids:
            return
        self._wake(ids)
        with suppress(RedisError, OSError):
            await self._client.publish(CHANNEL, " ".join(ids))

    async def run(self) -> None:
        """Pass on what other processes announce, until cancelled."""
        while True:
            try:
                async with self._subscriber.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._wake(message["data"].decode().split())
            except (RedisError, OSError):
                log.debug("live: no subscription, trying again", exc_info=True)
            await asyncio.sleep(RECONNECT_SECONDS)

    def close(self) -> None:
        """Send everybody who waits on their way; they can go on at another process."""
        self.closing = True
        self._wake(list(self._listeners))

    def _wake(self, group_ids: Iterable[str]) -> None:
        for group_id in group_ids:
            for listener in self._listeners.get(group_id, ()):
                listener.set()
