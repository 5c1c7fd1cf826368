"""A TCP proxy that injects faults: what a network does to connections, when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path

CHUNK = 65_536
Address = tuple[str, int] | Path
"""Host and port, or the path of a socket."""


class Fault(StrEnum):
    """What happens to the bytes that pass."""

    NONE = "none"
    REFUSE = "refuse"
    """Connections are reset, and new ones at once."""
    HANG = "hang"
    """Nothing passes in either direction, until the fault is over."""
    DELAY = "delay"
    """Everything arrives, later."""
    CUT_BEFORE = "cut before"
    """What is asked does not arrive; the connection is reset."""
    CUT_AFTER = "cut after"
    """What is asked arrives and is done, but the answer is lost; the connection is reset."""


class Proxy:
    """Passes connections on to the first of `upstreams` that accepts them, beginning with another one each time."""

    def __init__(self, *upstreams: Address) -> None:
        self.upstreams: Sequence[Address] = upstreams
        self.delay_seconds = 0.05
        self.port = 0
        self._fault = Fault.NONE
        self._passing = asyncio.Event()
        self._passing.set()
        self._turn = 0
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    @property
    def fault(self) -> Fault:
        """What is wrong at present."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if fault == Fault.HANG:
            self._passing.clear()
        else:
            self._passing.set()
        if fault == Fault.REFUSE:
            self.reset()

    def reset(self) -> None:
        """Reset every connection there is."""
        for writers in self._connections.values():
            for writer in writers:
                writer.transport.abort()

    async def end(self) -> None:
        """Reset every connection, and wait until all are done with."""
        self.reset()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @asynccontextmanager
    async def during(self, fault: Fault) -> AsyncIterator[None]:
        """Inject a fault for the time of the context."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = Fault.NONE

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a connection is served by a task")
        self._connections[task] = (writer,)
        try:
            if self._fault == Fault.REFUSE:
                return
            up_reader, up_writer = await self._connect()
            self._connections[task] = (writer, up_writer)
            await asyncio.gather(
                self._pass(reader, up_writer, (writer, up_writer), lost=Fault.CUT_BEFORE),
                self._pass(up_reader, writer, (writer, up_writer), lost=Fault.CUT_AFTER),
            )
        except OSError:
            pass
        finally:
            for each in self._connections.pop(task):
                each.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._turn += 1
        count = len(self.upstreams)
        for number in range(count):
            address = self.upstreams[(self._turn + number) % count]
            with suppress(OSError):
                if isinstance(address, Path):
                    return await asyncio.open_unix_connection(address)
                return await asyncio.open_connection(*address)
        raise ConnectionRefusedError

    async def _pass(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        lost: Fault,
    ) -> None:
        while data := await source.read(CHUNK):
            await self._passing.wait()
            if self._fault == Fault.DELAY:
                await asyncio.sleep(self.delay_seconds)
            if self._fault == lost:
                for writer in both:
                    writer.transport.abort()
                return
            target.write(data)
            await target.drain()
        if not target.is_closing():
            target.write_eof()


@asynccontextmanager
async def proxied(*upstreams: Address) -> AsyncIterator[Proxy]:
    """A proxy that listens on a port of its own, for the time of the context."""
    proxy = Proxy(*upstreams)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", backlog=1024)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.fault = Fault.NONE
        await proxy.end()
