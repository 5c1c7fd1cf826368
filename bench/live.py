"""Many clients watch one group by server-sent events while orders change it, beside the same with `fastapi.sse`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import cast

from bench.claimants import claim_body, id_in, mint, plain_get, plain_post, post_as
from bench.load import CONNECTING_AT_ONCE, Unexpected, ask
from bench.rows import Sale
from bench.servers import Process
from bench.stage import Stage

CHANGES_PER_SECOND = 8
GROUP_SIZE = 10
EVENT_END = b"}\n\n"
"""How an event with data ends; comments and `retry` do not."""
READY_SECONDS = 180.0
MOST_WINDOWS = 30
"""How many times the seconds of a run may pass before anybody hears of a change."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What one run came to."""

    changes: int
    deliveries: int
    seconds: float
    server_cpu_seconds: float
    client_cpu_seconds: float

    @property
    def per_cpu_second(self) -> float:
        """Complete events received per second of the server's processor time."""
        return self.deliveries / self.server_cpu_seconds


class _Crowd:
    """Everybody who watches, and how many events they got."""

    def __init__(self) -> None:
        self.received = 0
        self.ready = 0
        self.leaving = False
        self.wrong: list[str] = []

    def check(self) -> None:
        """Raise `Unexpected` when somebody was not let in, or was thrown out."""
        if self.wrong:
            raise Unexpected(f"{len(self.wrong)} live clients went wrong, the first: {self.wrong[0]}")


class _Watcher(asyncio.Protocol):
    """One live client. It counts complete events and keeps none."""

    def __init__(self, crowd: _Crowd, request: bytes) -> None:
        self._crowd = crowd
        self._request = request
        self._let_in = self._ready = False
        self._last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._crowd.leaving:
            self._crowd.wrong.append(f"its stream ended ({error})")

    def data_received(self, data: bytes) -> None:
        crowd = self._crowd
        if not self._let_in:
            self._let_in = True
            if data[9:12] != b"200":
                crowd.wrong.append(data[:200].decode(errors="replace"))
        if events := (self._last + data).count(EVENT_END):
            crowd.received += events
            if not self._ready:
                self._ready = True
                crowd.ready += 1
        self._last = data[-2:]


async def measure(stage: Stage) -> None:
    """Let everybody watch the service, then the yardstick, round by round."""
    options, report = stage.options, stage.report
    report.say(f"Live: {options.clients} clients, {CHANGES_PER_SECOND} changes a second")
    async with stage.world() as (world, _):
        await world.add_members(2)
        leader, visitor = mint(0, 2)
        sale = await world.add_sale(stock=GROUP_SIZE, group_size=GROUP_SIZE)
        with stage.service(world) as service, stage.yardstick("sse") as yardstick:
            open_group = post_as(leader, f"/v1/sales/{sale.id}/groups", claim_body(sale), key="open")
            group = id_in(await ask(service.port, open_group, expected=201), b"grp_")
            path = f"/v1/groups/{group}/live"
            change = _Visitor(service, visitor, sale, group)
            seen = await _one_change(service, path, change)
            post = plain_post("/changes", seen)

            async def change_yardstick() -> None:
                await ask(yardstick.port, post, expected=201)

            ours: list[Watched] = []
            theirs: list[Watched] = []
            for _ in range(options.rounds):
                ours.append(await _watch(stage, "service", service, path, change))
                theirs.append(await _watch(stage, "fastapi.sse", yardstick, path, change_yardstick))
    report.add(
        "live_vs_fastapi_sse",
        [our.per_cpu_second / their.per_cpu_second for our, their in zip(ours, theirs, strict=True)],
        goal="≥ 8",
        note=f"deliveries per CPU second, {options.clients} clients, events of {len(seen)} bytes",
    )
    for name, runs in (("live", ours), ("fastapi_sse", theirs)):
        report.add(f"{name}_deliveries_per_cpu_second", [run.per_cpu_second for run in runs], "/s")
        report.add(f"{name}_delivery_cpu_us", [1e6 / run.per_cpu_second for run in runs], "µs")
        report.add(
            f"{name}_delivered_share",
            [run.deliveries / (run.changes * options.clients) for run in runs],
            note="events received ÷ changes × clients; less where changes are merged, or the server is late",
        )


async def _watch(
    stage: Stage, name: str, server: Process, path: str, change: Callable[[], Awaitable[None]]
) -> Watched:
    options = stage.options
    await server.calm()
    meters = stage.meters(server)
    async with _crowd(server, path, options.clients) as crowd:
        changes, changing = 0, True

        async def go_on() -> None:
            nonlocal changes
            due = perf_counter()
            while changing:
                await change()
                changes += 1
                due = max(due + 1 / CHANGES_PER_SECOND, perf_counter() - 1)
                await asyncio.sleep(due - perf_counter())

        going_on = asyncio.create_task(go_on())
        try:
            await asyncio.wait({going_on}, timeout=options.warm_up)
            before = {who: meter() for who, meter in meters.items()}, crowd.received, changes, perf_counter()
            for _ in range(MOST_WINDOWS):
                await asyncio.wait({going_on}, timeout=options.seconds)
                if crowd.received > before[1] or going_on.done():
                    break
            after = {who: meter() for who, meter in meters.items()}, crowd.received, changes, perf_counter()
            changing = False
            await going_on
        finally:
            going_on.cancel()
        crowd.check()
    watched = Watched(
        changes=max(after[2] - before[2], 1),
        deliveries=after[1] - before[1],
        seconds=after[3] - before[3],
        server_cpu_seconds=after[0]["server"] - before[0]["server"],
        client_cpu_seconds=after[0]["client"] - before[0]["client"],
    )
    if not watched.deliveries:
        raise Unexpected(f"nobody was told of a change in {watched.seconds:.0f} s")
    stage.report.say(
        f"  {name:<18} {watched.deliveries / watched.seconds:>9,.0f} deliveries/s of {watched.changes} changes,"
        f" {1e6 / watched.per_cpu_second:.0f} µs of the server's CPU each,"
        f" {watched.client_cpu_seconds / watched.deliveries * 1e6:.0f} of the client's"
    )
    return watched


@asynccontextmanager
async def _crowd(server: Process, path: str, count: int) -> AsyncIterator[_Crowd]:
    """So many clients who watch, each with its first event."""
    loop, crowd = asyncio.get_running_loop(), _Crowd()
    make = partial(_Watcher, crowd, plain_get(path, "accept: text/event-stream"))
    watchers: list[_Watcher] = []
    give_up_at = perf_counter() + READY_SECONDS
    try:
        while len(watchers) < count:
            at_once = min(CONNECTING_AT_ONCE, count - len(watchers))
            for _, watcher in await asyncio.gather(
                *(loop.create_connection(make, "127.0.0.1", server.port) for _ in range(at_once))
            ):
                watchers.append(watcher)
            while crowd.ready < len(watchers):
                crowd.check()
                if perf_counter() > give_up_at:
                    raise Unexpected(f"{crowd.ready} of {count} clients had an event in {READY_SECONDS:.0f} s")
                await asyncio.sleep(0.01)
        yield crowd
    finally:
        crowd.leaving = True
        for watcher in watchers:
            watcher.transport.abort()


class _Visitor:
    """Changes the group whenever called: joins it, and the next time leaves it again."""

    def __init__(self, service: Process, header: bytes, sale: Sale, group: str) -> None:
        self._port = service.port
        self._header = header
        self._seats = f"/v1/groups/{group}/seats"
        self._body = claim_body(sale)
        self._order = ""
        self._visits = 0

    async def __call__(self) -> None:
        if self._order:
            request = post_as(self._header, f"/v1/orders/{self._order}/cancel", b"{}")
            self._order = ""
            await ask(self._port, request, expected=200)
            return
        self._visits += 1
        request = post_as(self._header, self._seats, self._body, key=f"visit-{self._visits}")
        self._order = id_in(await ask(self._port, request, expected=201), b"ord_")


async def _one_change(service: Process, path: str, change: Callable[[], Awaitable[None]]) -> bytes:
    """What the service tells its live clients of one change, as JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        writer.write(plain_get(path, "accept: text/event-stream"))
        async with asyncio.timeout(READY_SECONDS):
            await _next_data(reader)
            await change()
            return await _next_data(reader)
    finally:
        writer.close()


async def _next_data(reader: asyncio.StreamReader) -> bytes:
    while line := await reader.readline():
        if line.startswith(b"data: "):
            return line.removeprefix(b"data: ").strip()
    raise Unexpected("the stream ended before there was an event")
