"""Clients that cost little: they share their core with the database and Valkey.

Requests are bytes that are ready, replies are read as far as their status and length. A run with one reply that
was not expected is no measurement: it raises `Unexpected`.
"""

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar, cast

Script = Callable[[bytes], bytes]
"""What one connection asks: given the last reply (none at first), the next request."""
Meters = Mapping[str, Callable[[], float]]
"""Seconds of processor time a process has used so far, by the name of who used it."""
Arrival = tuple[bytes, Callable[[bytes], None] | None]
"""A request, and who wants to read its reply."""

CONNECTING_AT_ONCE = 64
DRAIN_SECONDS = PATIENCE_SECONDS = 30.0
FEWEST_ARRIVALS = 20
STEP_SECONDS = 0.001
"""Arrivals are sent in steps of a millisecond, the finest the event loop's timers have."""
MOST_WAITING_SECONDS = 2.0
"""Arrivals of this long may wait for a free connection; beyond it the server does not keep up."""
WITHOUT_BODY = (b"204", b"304")
CHUNK = 65_536
HEAD_SHOWN, BODY_SHOWN = 12, 300


class Unexpected(Exception):
    """A reply that is not what the measurement is about, or none at all. There is no figure then."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was counted between two moments, after the warm-up."""

    requests: int
    seconds: float
    cpu_seconds: dict[str, float]
    answered: int
    """Expected replies from first to last, with warm-up and drain."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def cpu_us(self, *names: str) -> float:
        """Microseconds of processor time per request, of these together."""
        return sum(self.cpu_seconds[name] for name in names) / self.requests * 1e6

    @property
    def server_busy(self) -> float:
        """Which part of its core the server used: below about 0.95 something else was the limit."""
        return self.cpu_seconds["server"] / self.seconds

    @property
    def others_busy(self) -> float:
        """Which part of their core the client, the database and Valkey used together."""
        return sum(self.cpu_seconds.values()) / self.seconds - self.server_busy


@dataclass(frozen=True, slots=True)
class Latency:
    """How long replies took, in milliseconds, from the moment their requests were due."""

    rate: float
    answered: int
    """Expected replies from first to last, with warm-up and drain."""
    p50_ms: float
    p99_ms: float
    max_ms: float


class _Load:
    """What the connections of one run share."""

    def __init__(self, expected: int) -> None:
        self.expected = str(expected).encode()
        self.done = 0
        self.busy = 0
        self.running = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.failed.add_done_callback(lambda failed: failed.exception())  # it may come when nobody asks any more
        self.idle = asyncio.Event()

    def fail(self, reason: str) -> None:
        self.running = False
        if not self.failed.done():
            self.failed.set_exception(Unexpected(reason))

    def rest(self) -> None:
        """A connection has nothing left to wait for."""
        self.busy -= 1
        if self.busy == 0:
            self.idle.set()

    async def during(self, seconds: float) -> None:
        """Let the run go on. Raises `Unexpected` as soon as it fails."""
        await asyncio.wait({self.failed}, timeout=seconds)
        if self.failed.done():
            self.failed.result()

    async def drain(self) -> None:
        """Send nothing more and wait for what is under way. Raises `Unexpected` when the run has failed."""
        self.running = False
        self.idle.clear()
        if not self.busy:
            self.idle.set()
        idle = asyncio.ensure_future(self._until_idle())
        await asyncio.wait({self.failed, idle}, timeout=DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if self.failed.done():
            self.failed.result()
        if not self.idle.is_set():
            raise Unexpected(f"{self.busy} requests were not answered in {DRAIN_SECONDS:.0f} s")

    async def _until_idle(self) -> None:
        await self.idle.wait()


class _Connection(asyncio.Protocol):
    """One keep-alive connection; has one request under way at most."""

    def __init__(self, load: _Load) -> None:
        self.load = load
        self.closing = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closing:
            self.load.fail(f"the server closed a connection ({error})")

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        try:
            length = reply_length(data)
            if length > len(data):
                self._rest = data
                return
            self._rest = b""
            if data[9:12] == self.load.expected and length == len(data):
                self.load.done += 1
                self.answered(data)
            else:
                self.load.fail(f"expected {self.load.expected.decode()}, got {_shown(data)}")
        except Unexpected as error:
            self.load.fail(str(error))

    def answered(self, reply: bytes) -> None:
        raise NotImplementedError


Client = TypeVar("Client", bound=_Connection)


class _Caller(_Connection):
    """Asks again as soon as it was answered."""

    def __init__(self, load: _Load, script: Script) -> None:
        super().__init__(load)
        self._script = script

    def answered(self, reply: bytes) -> None:
        if self.load.running:
            self.transport.write(self._script(reply))
        else:
            self.load.rest()


class _Arrivals(_Load):
    """Requests that are sent when they are due, whether or not earlier ones were answered."""

    def __init__(self, expected: int) -> None:
        super().__init__(expected)
        self.free: deque[_Carrier] = deque()
        self.waiting: deque[tuple[Arrival, float]] = deque()
        self.counted_from = 0.0
        self.latencies: list[float] = []

    def send(self, arrival: Arrival, due: float) -> None:
        if not self.free:
            self.waiting.append((arrival, due))
            return
        self.busy += 1
        self.free.pop().carry(arrival, due)


class _Carrier(_Connection):
    """Carries one arrival after the other, and notes when each was answered."""

    load: _Arrivals

    def carry(self, arrival: Arrival, due: float) -> None:
        request, self._reader = arrival
        self._due = due
        self.transport.write(request)

    def answered(self, reply: bytes) -> None:
        load = self.load
        if self._due >= load.counted_from:
            load.latencies.append(perf_counter() - self._due)
        if self._reader is not None:
            self._reader(reply)
        if load.waiting:
            self.carry(*load.waiting.popleft())
        else:
            load.free.append(self)
            load.rest()


async def saturate(
    port: int, scripts: Sequence[Script], *, expected: int, seconds: float, warm_up: float, meters: Meters
) -> Run:
    """One connection for each script, every one asking again as soon as it was answered.

    Counts the replies of `seconds`, after `warm_up` seconds that count for nothing. Raises `Unexpected` on any
    status but `expected`, a lost connection or a missing reply.
    """
    load = _Load(expected)
    async with _connected(port, [partial(_Caller, load, script) for script in scripts]) as callers:
        load.running, load.busy = True, len(callers)
        for caller, script in zip(callers, scripts, strict=True):
            caller.transport.write(script(b""))
        await load.during(warm_up)
        before, count, begun = {name: meter() for name, meter in meters.items()}, load.done, perf_counter()
        await load.during(seconds)
        while load.done == count and perf_counter() - begun < PATIENCE_SECONDS:
            await load.during(seconds)
        after, requests, ended = (
            {name: meter() for name, meter in meters.items()},
            load.done - count,
            perf_counter(),
        )
        await load.drain()
    if not requests:
        raise Unexpected(f"no reply in {PATIENCE_SECONDS:.0f} s")
    return Run(
        requests=requests,
        seconds=ended - begun,
        cpu_seconds={name: after[name] - before[name] for name in meters},
        answered=load.done,
    )


async def arrive(
    port: int,
    next_arrival: Callable[[], Arrival],
    *,
    connections: int,
    rate: float,
    expected: int,
    seconds: float,
    warm_up: float,
) -> Latency:
    """Send `rate` requests a second, evenly, and count the time from when each was due: a server that stops for a
    moment makes all wait that were due in it. Goes on for longer than `seconds` when few would come in that time.

    Raises `Unexpected` as `saturate` does, and when requests of two seconds wait for a connection.
    """
    load = _Arrivals(expected)
    async with _connected(port, [lambda: _Carrier(load)] * connections) as carriers:
        load.free.extend(carriers)
        load.running = True
        begun, sent = perf_counter(), 0
        seconds = max(seconds, FEWEST_ARRIVALS / rate)
        load.counted_from = begun + warm_up
        while load.running and (now := perf_counter() - begun) < warm_up + seconds:
            step = int(now / STEP_SECONDS)
            while sent < (step + 1) * STEP_SECONDS * rate:
                load.send(next_arrival(), begun + int(sent / rate / STEP_SECONDS) * STEP_SECONDS)
                sent += 1
            if len(load.waiting) > rate * MOST_WAITING_SECONDS:
                load.fail(f"the server does not keep up with {rate:.0f} requests/s")
            # uvloop rounds to milliseconds: less than half of one would be a loop that never sleeps.
            await asyncio.sleep(max((step + 1) * STEP_SECONDS - (perf_counter() - begun), STEP_SECONDS * 0.6))
        await load.drain()
    counted = sorted(load.latencies)
    return Latency(
        rate=len(counted) / seconds,
        answered=load.done,
        p50_ms=counted[len(counted) // 2] * 1000,
        p99_ms=counted[int(len(counted) * 0.99)] * 1000,
        max_ms=counted[-1] * 1000,
    )


async def ask(port: int, request: bytes, *, expected: int) -> bytes:
    """Send one request and return its reply. Raises `Unexpected` when its status is another."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        reply = await reader.read(CHUNK)
        while reply_length(reply) > len(reply):
            more = await reader.read(CHUNK)
            if not more:
                raise Unexpected(f"the server closed the connection after {reply!r}")
            reply += more
    finally:
        writer.close()
    if reply[9:12] != str(expected).encode():
        raise Unexpected(f"expected {expected}, got {_shown(reply)}")
    return reply


def reply_length(data: bytes) -> int:
    """How long the reply that `data` begins with is; more than there is while that is not known yet.

    Raises `Unexpected` for a reply that does not say its length.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return len(data) + 1
    at = data.find(b"content-length:", 0, end)
    if at < 0:
        at = data[:end].lower().find(b"content-length:")
    if at >= 0:
        return end + 4 + int(data[at + 15 : data.find(b"\r\n", at)])
    if data[9:12] in WITHOUT_BODY:
        return end + 4
    raise Unexpected(f"a reply without content-length: {_shown(data)}")


@asynccontextmanager
async def _connected(port: int, make: Sequence[Callable[[], Client]]) -> AsyncIterator[list[Client]]:
    """Connections to a server here, with the garbage collector at rest: it would look like latency."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    try:
        for start in range(0, len(make), CONNECTING_AT_ONCE):
            opened = await asyncio.gather(
                *(
                    loop.create_connection(one, "127.0.0.1", port)
                    for one in make[start : start + CONNECTING_AT_ONCE]
                )
            )
            clients += [client for _, client in opened]
        gc.collect()
        gc.disable()
        yield clients
    finally:
        gc.enable()
        for client in clients:
            client.closing = True
            client.transport.abort()


def _shown(data: bytes) -> str:
    head, _, body = data.partition(b"\r\n\r\n")
    return f"{head[9 : 9 + HEAD_SHOWN].decode(errors='replace')!r} {body[:BODY_SHOWN].decode(errors='replace')}"
