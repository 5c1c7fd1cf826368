"""The one connection to Redis: in order, together, and honest about what is not known."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ResponseError

from app.gateways.dealer import pipe as pipe_module
from app.gateways.dealer.pipe import Pipe


@pytest.fixture
async def pipe(valkey: str) -> AsyncIterator[Pipe]:
    opened = Pipe(valkey)
    yield opened
    opened.close()


async def test_many_at_once_get_their_own_replies(pipe: Pipe) -> None:
    replies = await asyncio.gather(*(pipe.call("ECHO", f"number {number}") for number in range(500)))
    assert replies == [f"number {number}".encode() for number in range(500)]
    assert await pipe.calls([("SET", "pipe:a", 1), ("INCRBY", "pipe:a", 4), ("GET", "pipe:a")]) == [b"OK", 5, b"5"]
    assert await pipe.call("HMGET", "pipe:nothing", "a", "b") == [None, None]


async def test_an_error_reply_is_the_error_of_its_own_command(pipe: Pipe) -> None:
    replies = await asyncio.gather(
        pipe.call("ECHO", "before"), pipe.call("GET"), pipe.call("ECHO", "after"), return_exceptions=True
    )
    assert (replies[0], replies[2]) == (b"before", b"after")
    assert isinstance(replies[1], ResponseError)
    with pytest.raises(ResponseError):
        await pipe.calls([("ECHO", "x"), ("GET",)])
    assert await pipe.call("ECHO", "still there") == b"still there"


async def test_one_who_gives_up_does_not_shift_the_others(pipe: Pipe) -> None:
    await pipe.call("PING")
    calls = [asyncio.create_task(pipe.call("ECHO", str(number))) for number in range(10)]
    await asyncio.sleep(0)
    calls[3].cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert [reply for reply in replies if isinstance(reply, bytes)] == [
        str(number).encode() for number in range(10) if number != 3
    ]


class Neighbour:
    """A server that does what it is told with its connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.answers = True
        self.cut_after_reading = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await reader.read(65536):
            if self.cut_after_reading:
                writer.transport.abort()
                return
            if self.answers:
                writer.write(b"+OK\r\n")
        writer.close()


@pytest.fixture
async def neighbour() -> AsyncIterator[tuple[Neighbour, Pipe]]:
    one = Neighbour()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    opened = Pipe(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield one, opened
    opened.close()
    server.close()


async def test_a_cut_is_an_unknown_outcome_and_the_next_call_connects_anew(
    neighbour: tuple[Neighbour, Pipe],
) -> None:
    one, pipe = neighbour
    assert await pipe.call("PING") == b"OK"
    one.cut_after_reading = True
    outcomes = await asyncio.gather(pipe.call("SET", "a", 1), pipe.call("SET", "b", 1), return_exceptions=True)
    assert all(isinstance(outcome, OSError) for outcome in outcomes)
    one.cut_after_reading = False
    assert await pipe.call("PING") == b"OK"
    assert one.connections == 2


async def test_silence_is_given_up(neighbour: tuple[Neighbour, Pipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe_module, "TIMEOUT_SECONDS", 0.05)
    one, pipe = neighbour
    one.answers = False
    with pytest.raises(OSError, match="silent"):
        await pipe.call("PING")
    one.answers = True
    assert await pipe.call("PING") == b"OK"


async def test_nobody_there_is_not_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    tries = 0
    create = asyncio.get_running_loop().create_connection

    async def counted(*arguments: object, **options: object) -> object:
        nonlocal tries
        tries += 1
        return await create(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", counted)
    pipe = Pipe(f"redis://127.0.0.1:{port}")
    outcomes = await asyncio.gather(*(pipe.call("PING") for _ in range(20)), return_exceptions=True)
    outcomes += await asyncio.gather(*(pipe.call("PING") for _ in range(20)), return_exceptions=True)
    assert all(isinstance(outcome, ConnectionError) for outcome in outcomes)
    assert tries == 1


async def test_a_server_that_is_not_the_one_to_ask_is_left() -> None:
    connections = 0

    async def demoted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.read(65536):
            writer.write(b"-READONLY You can't write against a read only replica.\r\n")
        writer.close()

    server = await asyncio.start_server(demoted, "127.0.0.1", 0)
    pipe = Pipe(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    for _ in range(2):
        with pytest.raises(ResponseError, match="READONLY"):
            await pipe.call("SET", "a", 1)
    assert connections == 2, "its address may lead to another server by now"
    pipe.close()
    await asyncio.sleep(0.05)  # the server sees its last reader go
    server.close()


async def test_name_and_password_and_database(valkey: str) -> None:
    admin = Pipe(valkey)
    await admin.call("ACL", "SETUSER", "pipe-tester", "on", ">a-password", "~*", "+@all")
    try:
        server = re.sub(r"/\d*$", "", valkey).removeprefix("redis://")
        pipe = Pipe(f"redis://pipe-tester:a-password@{server}/3")
        assert await pipe.call("ACL", "WHOAMI") == b"pipe-tester"
        info = (await pipe.call("CLIENT", "INFO")).decode()
        assert " db=3 " in info
        pipe.close()
        wrong = Pipe(f"redis://pipe-tester:wrong@{server}")
        with pytest.raises(ConnectionError, match="WRONGPASS"):
            await wrong.call("PING")
    finally:
        await admin.call("ACL", "DELUSER", "pipe-tester")
        admin.close()
