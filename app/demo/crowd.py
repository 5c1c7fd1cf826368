"""A crowd at the door: many members over few connections, each from an address of its own.

A client that costs little: it shares its core with the service. It speaks as much HTTP as the service answers with.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

PATIENCE = 40
"""How often a request is repeated while the service asks for patience."""
PATIENT = {429, 503}
LIMIT = 262_144


class Reply(NamedTuple):
    """What a request was answered with."""

    status: int
    body: dict[str, Any]

    @property
    def code(self) -> str:
        """Why it was refused, as `409 sold_out`."""
        return f"{self.status} {self.body.get('code', 'ok')}"


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Crowd:
    """Connections to a service, of which there are never more than `size`."""

    host: str
    port: int
    tls: bool
    size: int
    free: list[Line] = field(default_factory=list)
    busy: int = 0
    room: asyncio.Condition = field(default_factory=asyncio.Condition)
    put_off: Counter[int] = field(default_factory=Counter)
    """How often the service asked for patience, by status."""

    async def call(
        self, method: str, path: str, number: int, *, token: str = "", key: str = "", body: Any = None
    ) -> Reply:
        """The answer to a request of the member with this number. What is put off is asked again, the same.

        Raises `OSError` when the connection is lost again and again.
        """
        for _ in range(PATIENCE):
            try:
                reply, headers = await self.ask(method, path, number, token=token, key=key, body=body)
            except (OSError, asyncio.IncompleteReadError):
                self.put_off[0] += 1
                await asyncio.sleep(0.5)
                continue
            if reply.status not in PATIENT:
                return reply
            self.put_off[reply.status] += 1
            await asyncio.sleep(float(headers.get("retry-after", 1)))
        raise ConnectionError(f"{method} {path} was put off {PATIENCE} times")

    async def ask(
        self, method: str, path: str, number: int, *, token: str = "", key: str = "", body: Any = None
    ) -> tuple[Reply, Mapping[str, str]]:
        """The answer to a request that is sent once, and its headers. Raises `OSError`, `IncompleteReadError`."""
        content = b"" if body is None else orjson.dumps(body)
        request = (
            f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\nx-forwarded-for: {address_of(number)}\r\n"
            + ("" if method == "GET" else f"content-length: {len(content)}\r\n")
            + ("content-type: application/json\r\n" if content else "")
            + (f"authorization: Bearer {token}\r\n" if token else "")
            + (f"idempotency-key: {key}\r\n" if key else "")
            + "\r\n"
        ).encode() + content
        status, headers, answer = await self._ask(request)
        return Reply(status, orjson.loads(answer or b"{}")), headers

    @property
    def lines_left(self) -> int:
        """How many more could wait on the line."""
        return self.size - self.busy

    async def _ask(self, request: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self.room:
            await self.room.wait_for(lambda: self.busy < self.size)
            self.busy += 1
        line: Line | None = None
        try:
            line = self.free.pop() if self.free else await self._connect()
            reader, writer = line
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *rest = head.split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest) if name
            }
            answer = await reader.readexactly(int(headers.get("content-length", 0)))
            if headers.get("connection") != "close":
                self.free.append(line)
                line = None
            return int(status.split(" ")[1]), headers, answer
        finally:
            if line is not None:
                line[1].close()
            async with self.room:
                self.busy -= 1
                self.room.notify()

    async def _connect(self) -> Line:
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls or None, limit=LIMIT)


@asynccontextmanager
async def open_crowd(url: str, size: int) -> AsyncIterator[Crowd]:
    """A crowd at the service at this address, for the time of the context."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    crowd = Crowd(parts.hostname or "127.0.0.1", parts.port or (443 if tls else 80), tls, size)
    try:
        yield crowd
    finally:
        for _, writer in crowd.free:
            writer.close()


def address_of(number: int) -> str:
    """Where a member comes from: the service believes a client on its own machine, as it would a proxy."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
