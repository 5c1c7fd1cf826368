"""Clients that watch groups, and what they do there."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from app.services.watching import Watch
from tests.service import Member, Sale, Service

FOREVER_SECONDS = 30
"""Longer than anything here takes: only a test that hangs is ended by it."""


@dataclass(slots=True)
class Event:
    """One server-sent event."""

    id: int | None
    type: str
    data: dict[str, Any]


class Stream:
    """A live stream that is being read."""

    def __init__(self, reply: httpx.Response) -> None:
        self._lines = reply.aiter_lines()

    async def __aiter__(self) -> AsyncIterator[Event]:
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "data" in fields:
                number = int(fields["id"]) if "id" in fields else None
                yield Event(number, fields["event"], json.loads(fields["data"]))
                fields = {}

    async def take(self, count: int) -> list[Event]:
        """The next so many events."""
        found: list[Event] = []
        async for event in self:
            found.append(event)
            if len(found) == count:
                return found
        raise AssertionError(f"the stream ended after {found}")

    async def rest(self) -> list[Event]:
        """Every event until the stream ends by itself."""
        return [event async for event in self]


@asynccontextmanager
async def watching(service: Service, group_id: str, after: int | None = None) -> AsyncIterator[Stream]:
    """A live stream, as an EventSource opens it; `after` when it comes back after a cut."""
    headers = {"accept": "text/event-stream"} | ({} if after is None else {"last-event-id": str(after)})
    async with asyncio.timeout(FOREVER_SECONDS):
        async with service.http.stream("GET", f"/v1/groups/{group_id}/live", headers=headers) as reply:
            assert reply.status_code == 200
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert reply.headers["cache-control"] == "no-store"
            yield Stream(reply)


@asynccontextmanager
async def talking(service: Service, path: str, **headers: str) -> AsyncIterator[ClientConnection]:
    """A WebSocket that was accepted. Raises `InvalidStatus`, with the answer, when it is refused."""
    url = service.url.replace("http", "ws", 1) + path
    async with asyncio.timeout(FOREVER_SECONDS), connect(url, proxy=None, additional_headers=headers) as socket:
        yield socket


async def opened(service: Service, **terms: Any) -> tuple[Sale, Member, dict[str, Any]]:
    """A sale, a leader, and the answer to opening a group."""
    sale = await service.sale(**terms)
    leader = await service.member("Leonore")
    reply = await leader.open(sale)
    assert reply.status_code == 201, reply.text
    return sale, leader, dict(reply.json())


async def joined(service: Service, sale: Sale, group_id: str, name: str = "guest") -> tuple[Member, str]:
    """A new member of the group, and the id of their order."""
    member = await service.member(name)
    reply = await member.join(sale, group_id)
    assert reply.status_code == 201, reply.text
    return member, str(reply.json()["order"]["id"])


async def poll(service: Service, group_id: str, **query: float) -> dict[str, Any]:
    """One long poll."""
    reply = await service.http.get(f"/v1/groups/{group_id}/changes", params=query)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(FOREVER_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def waiting(service: Service, group_id: str) -> int:
    """How many wait for changes of the group."""
    room = service.state.live.rooms.get(group_id)
    watches = [watch for watch in room.watchers if isinstance(watch, Watch)] if room else []
    return sum(watch._waiting is not None for watch in watches)


async def until_listened(service: Service, group_id: str, count: int = 1) -> None:
    """Wait until so many wait for changes of the group."""
    await until(lambda: waiting(service, group_id) == count)
