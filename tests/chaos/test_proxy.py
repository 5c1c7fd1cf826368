"""The proxy does to connections what it is told to, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from chaos.proxy import Fault, Proxy, proxied

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Connection]]


class Echo:
    """A server that notes what it is asked, and answers it."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.asked.append(line)
            writer.write(b"done " + line)
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1")
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with proxied(("127.0.0.1", echo.port)) as proxy:
        yield proxy


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    """Opens connections through the proxy, which are closed afterwards."""
    opened: list[Connection] = []

    async def connect() -> Connection:
        opened.append(await asyncio.open_connection("127.0.0.1", proxy.port))
        return opened[-1]

    yield connect
    for _, writer in opened:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ask(connection: Connection, line: bytes = b"this\n") -> bytes:
    """What is answered; nothing when the connection was cut."""
    reader, writer = connection
    try:
        writer.write(line)
        return await reader.readline()
    except OSError:
        return b""


async def test_without_a_fault_everything_passes(connect: Connect) -> None:
    connection = await connect()
    assert await ask(connection) == b"done this\n"
    connection[1].write_eof()
    assert await connection[0].read() == b"", "and so does its end"


async def test_cut_before_nothing_is_done(proxy: Proxy, echo: Echo, connect: Connect) -> None:
    connection = await connect()
    async with proxy.during(Fault.CUT_BEFORE):
        assert await ask(connection) == b""
    assert echo.asked == []


async def test_cut_after_it_is_done_and_nobody_knows(proxy: Proxy, echo: Echo, connect: Connect) -> None:
    connection = await connect()
    async with proxy.during(Fault.CUT_AFTER):
        assert await ask(connection) == b""
    assert echo.asked == [b"this\n"]
    assert await ask(await connect()) == b"done this\n"


async def test_hanging_ends_and_nothing_is_lost(proxy: Proxy, echo: Echo, connect: Connect) -> None:
    connection = await connect()
    async with proxy.during(Fault.HANG):
        asking = asyncio.create_task(ask(connection))
        await asyncio.sleep(0.05)
        assert (asking.done(), echo.asked) == (False, [])
    assert await asking == b"done this\n"


async def test_delay_is_all_it_is(proxy: Proxy, connect: Connect) -> None:
    connection = await connect()
    async with proxy.during(Fault.DELAY):
        assert await ask(connection) == b"done this\n"


async def test_refusing_ends_old_connections_and_new_ones(proxy: Proxy, echo: Echo, connect: Connect) -> None:
    old = await connect()
    assert await ask(old) == b"done this\n"
    async with proxy.during(Fault.REFUSE):
        assert await ask(old) == b""
        assert await ask(await connect()) == b""
    assert len(echo.asked) == 1
    assert await ask(await connect()) == b"done this\n"


async def test_who_does_not_accept_is_passed_over(proxy: Proxy, echo: Echo, connect: Connect) -> None:
    proxy.upstreams = [("127.0.0.1", 1), ("127.0.0.1", echo.port)]
    for _ in range(3):
        assert await ask(await connect()) == b"done this\n"
