"""Receivers of webhooks: HTTP servers of their own at an address that the tests' service may connect to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.2"
REASONS = {200: "OK", 302: "Found", 410: "Gone", 429: "Too Many Requests", 500: "Internal Server Error"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a receiver was sent."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> int:
        return int(self.headers["webhook-id"])

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answers, after `first` was awaited."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    first: Callable[[], Any] | None = None


@dataclass(slots=True)
class Receiver:
    """Answers what `answer` says to each request; whatever it is sent is in `requests`."""

    port: int
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Reply] = lambda _: Reply()
    connections: int = 0
    accepted: list[int] = field(default_factory=list)
    """The ids that were answered with 2xx, in the order of the answers."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook"

    @property
    def ids(self) -> list[int]:
        return [request.id for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in pairs}
            request = Request(headers, await reader.readexactly(int(headers["content-length"])))
            self.requests.append(request)
            reply = self.answer(request)
            if reply.first is not None:
                await reply.first()
            lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Reply')}"]
            own = {"content-length": str(len(reply.body)), "connection": "close"} | reply.headers
            lines += [f"{name}: {value}" for name, value in own.items()]
            if 200 <= reply.status < 300:
                self.accepted.append(request.id)
            writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(receiver: Receiver | None = None, host: str = HOST) -> AsyncIterator[Receiver]:
    """A receiver that listens, at a port of its own or where it was before."""
    receiver = receiver or Receiver(port=0)
    server = await asyncio.start_server(receiver.serve, host, receiver.port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
