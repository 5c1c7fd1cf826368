"""One connection to Redis for the whole process. Commands of one turn of the event loop leave in one write, and
replies come back in the order of the commands: a script call costs a tenth of one on a pooled connection.

A call is sent once. Whether to send it again is for the caller to say, who knows whether it may run twice.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from hiredis import Reader, ReplyError, pack_command
from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import RedisError, ResponseError

TIMEOUT_SECONDS = 1.0
"""Longest time to connect, and longest silence while replies are owed."""
AWAY_SECONDS = 0.5
"""How long after a failure calls are refused without trying."""
TURNED_AWAY = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED")
"""Error replies of a server that is not, or not yet, the one to ask: the next call connects anew."""
Part = bytes | str | int | float
Send = Callable[..., Awaitable[Any]]
"""Sends one command and returns its reply; raises `ResponseError`."""


class Pipe:
    """Calls raise `OSError` when Redis is away or silent, `ResponseError` when it refuses the command."""

    def __init__(self, url: str) -> None:
        self.greet: Callable[[Send], Awaitable[None]] | None = None
        """What is done first on every new connection, before anybody else's calls."""
        self._address = parse_url(url)
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None
        self._away_until = 0.0

    async def call(self, *parts: Part) -> Any:
        """Send one command; returns its reply as hiredis reads it: bytes, ints, None, lists."""
        wire = self._wire
        if wire is None or wire.lost is not None:
            wire = await self._connected()
        reply = await wire.send(parts)
        if isinstance(reply, ReplyError):
            raise self._error(wire, reply)
        return reply

    async def calls(self, commands: list[tuple[Part, ...]]) -> list[Any]:
        """Send several commands at once; returns their replies. The first error reply is raised."""
        wire = self._wire
        if wire is None or wire.lost is not None:
            wire = await self._connected()
        replies = [await future for future in [wire.send(parts) for parts in commands]]
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise self._error(wire, reply)
        return replies

    def close(self) -> None:
        """Hang up. Calls under way fail."""
        if self._wire is not None:
            self._wire.abort(ConnectionError("closed"))

    def _error(self, wire: "_Wire", reply: ReplyError) -> RedisError:
        error = ResponseError(str(reply))
        if str(reply).startswith(TURNED_AWAY):
            wire.abort(error)
        return error

    async def _connected(self) -> "_Wire":
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            raise ConnectionError("Redis was away a moment ago")
        if self._connecting is None:
            self._connecting = loop.create_task(self._connect())
        try:
            # Whoever gives up waiting must not take the connection of the others along.
            return await asyncio.shield(self._connecting)
        except (OSError, RedisError) as error:
            self._away_until = loop.time() + AWAY_SECONDS
            raise ConnectionError(str(error)) from error

    async def _connect(self) -> "_Wire":
        address, loop = self._address, asyncio.get_running_loop()
        wire: _Wire | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if "path" in address:
                    _, wire = await loop.create_unix_connection(_Wire, address["path"])
                else:
                    _, wire = await loop.create_connection(
                        _Wire,
                        address.get("host", "localhost"),
                        address.get("port", 6379),
                        ssl=ssl.create_default_context()
                        if address.get("connection_class") is SSLConnection
                        else None,
                    )
                if password := address.get("password"):
                    user = [address["username"]] if address.get("username") else []
                    _check(await wire.send(("AUTH", *user, password)))
                if database := address.get("db"):
                    _check(await wire.send(("SELECT", database)))
                if self.greet is not None:
                    sending = wire.send
                    await self.greet(lambda *parts: _checked(sending(parts)))
        except BaseException as error:
            if wire is not None:
                wire.abort(ConnectionError(str(error)))
            raise
        else:
            self._wire = wire
            return wire
        finally:
            self._connecting = None


class _Wire(asyncio.Protocol):
    """One connection: what was sent and not yet answered, in order."""

    def __init__(self) -> None:
        self.lost: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._reader = Reader()
        self._owed: deque[asyncio.Future[Any]] = deque()
        self._outgoing: list[bytes] = []
        self._received = 0
        self._watch: asyncio.TimerHandle | None = None

    def send(self, parts: tuple[Part, ...]) -> asyncio.Future[Any]:
        """The reply to come; an error reply is its result, a lost connection its exception."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost is not None:
            future.set_exception(ConnectionError("lost"))
            return future
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(pack_command(parts))  # type: ignore[arg-type]
        self._owed.append(future)
        return future

    def abort(self, error: Exception) -> None:
        """Hang up at once; nobody who waits learns whether the server ran their command."""
        if self.lost is None:
            self.lost = error
            self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        owed, self._owed = self._owed, deque()
        for future in owed:
            if not future.done():
                future.set_exception(
                    error if isinstance(error, OSError) else ConnectionError(f"connection lost: {error}")
                )
                # Nobody may be waiting any more; then it is nobody's fault that nobody looks.
                future.exception()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        with suppress(IndexError):  # replies that nobody waits for: the connection is being given up
            while (reply := self._reader.gets()) is not False:
                self._received += 1
                future = self._owed.popleft()
                if not future.done():
                    future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.abort(error or ConnectionError("closed by Redis"))

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self.lost is None:
            try:
                self._transport.write(b"".join(outgoing))
            except (OSError, RuntimeError) as error:  # the latter is uvloop's word for a connection that is closed
                self.abort(ConnectionError(str(error)))
                return
            if self._watch is None:
                self._watch = self._loop.call_later(TIMEOUT_SECONDS, self._look, self._received)

    def _look(self, received: int, *, again: bool = False) -> None:
        """Hang up when nothing came for too long although something is owed."""
        self._watch = None
        if not self._owed or self.lost is not None:
            return
        if received != self._received:
            self._watch = self._loop.call_later(TIMEOUT_SECONDS, self._look, self._received)
        elif again:
            self.abort(TimeoutError("Redis is silent"))
        else:
            # The loop itself may have been busy for that long: read what has come before giving up.
            self._watch = self._loop.call_later(TIMEOUT_SECONDS / 10, lambda: self._look(received, again=True))


def _check(reply: Any) -> Any:
    if isinstance(reply, ReplyError):
        raise ResponseError(str(reply))
    return reply


async def _checked(reply: asyncio.Future[Any]) -> Any:
    return _check(await reply)
