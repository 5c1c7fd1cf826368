"""People who look at a group while it fills: by server-sent events, or by long poll."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx

from app.demo.books import BookedGroup, Books
from app.demo.client import Json, Refused, Service

POLL_WAIT_SECONDS = 10
RECONNECT_SECONDS = 1.0
LINE_LOST_AFTER = 2
SEAT_STEPS = {"seat.held": 1, "seat.released": -1}


@dataclass(slots=True)
class Watch:
    """What somebody saw of a group: where it stood at first, every change since, and its end."""

    group: BookedGroup
    books: Books
    way: str
    last_id: int | None = None
    taken: int = 0
    paid: int = 0
    end: str | None = None
    out_of_order: bool = False
    refused: str | None = None

    def begin(self, group: Json, last_id: int) -> None:
        """The first look."""
        self.taken, self.paid = group["held"] + group["paid"], group["paid"]
        self.last_id = last_id

    def see(self, change: Json) -> None:
        """One change. Its id must be greater than that of the one before."""
        self.out_of_order = self.out_of_order or self.last_id is None or change["id"] <= self.last_id
        self.last_id = change["id"]
        self.taken += SEAT_STEPS.get(change["type"], 0)
        self.paid += change["type"] == "seat.paid"
        self.books.changes_seen += 1

    def breaches(self) -> Iterator[str]:
        """What was seen and should not have been, or the other way round."""
        who = f"a watcher of {self.group.id} by {self.way}"
        if self.refused is not None:
            yield f"{who} was refused: {self.refused}"
        elif self.end != self.group.state:
            yield f"{who} saw it end as {self.end}, it is {self.group.state}"
        if self.out_of_order:
            yield f"{who} saw a change twice or out of order"
        if self.end == "succeeded" and (self.taken, self.paid) != (self.group.size, self.group.size):
            yield f"{who} saw {self.taken} seats taken and {self.paid} paid of {self.group.size} at its success"
        if self.end == "failed" and self.taken != 0:
            yield f"{who} saw {self.taken} seats not released at its failure"


async def follow_stream(service: Service, watch: Watch, *, loses_line: bool) -> None:
    """Watch by server-sent events to the end; after a lost line go on from the last change that was seen."""
    while watch.end is None:
        headers = {} if watch.last_id is None else {"last-event-id": str(watch.last_id)}
        try:
            async with service.http.stream("GET", f"/v1/groups/{watch.group.id}/live", headers=headers) as reply:
                if not reply.is_success:
                    watch.refused = str(reply.status_code)
                    return
                await _read_stream(reply, watch, LINE_LOST_AFTER if loses_line else None)
        except httpx.TransportError:
            await asyncio.sleep(RECONNECT_SECONDS)
        loses_line = False


async def follow_polls(service: Service, watch: Watch) -> None:
    """Watch by long poll to the end."""
    path = f"/v1/groups/{watch.group.id}/changes"
    try:
        found = await service.call("GET", path)
        watch.begin(found["group"], found["after"])
        while not found["final"]:
            found = await service.call("GET", f"{path}?after={found['after']}&wait={POLL_WAIT_SECONDS}")
            for change in found["changes"]:
                watch.see(change)
        watch.end = found["group"]["state"]
    except (Refused, httpx.TransportError) as error:
        watch.refused = str(error)


async def _read_stream(reply: httpx.Response, watch: Watch, cut_after: int | None) -> None:
    seen = 0
    async for name, event_id, data in _events(reply):
        if name == "snapshot":
            watch.begin(data, event_id)
        elif name == "end":
            watch.end = data["state"]
        else:
            watch.see(data)
            seen += 1
        if seen == cut_after:
            return


async def _events(reply: httpx.Response) -> AsyncIterator[tuple[str, int, Json]]:
    """Name, id and data of each event of a stream."""
    fields: dict[str, str] = {}
    async for line in reply.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield fields.get("event", "message"), int(fields.get("id", 0)), json.loads(fields["data"])
            fields = {}
        else:
            fields = {}
