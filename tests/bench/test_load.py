"""The clients that measure: they count what was answered, and refuse to report anything else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter, process_time
from typing import cast

import pytest

from bench.claimants import Claimants, arriving, filling, opening
from bench.load import Unexpected, arrive, ask, reply_length, saturate
from bench.rows import Sale

SALE = Sale("sal_1", "off_1")
GROUP = b"grp_" + b"a" * 32
CREATED = b"HTTP/1.1 201 Created\r\ncontent-length: 36\r\n\r\n" + GROUP
GONE = b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def server(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[int]:
    """A server that answers every request with these pieces; yields its port. No piece: it hangs up."""

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            pieces = answer(data)
            if not pieces:
                self.transport.close()
            for number, piece in enumerate(pieces):
                asyncio.get_running_loop().call_later(0.005 * number, self.transport.write, piece)

    listening = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def run(port: int, connections: int = 3) -> int:
    claimants = Claimants([b"\r\nauthorization: Bearer token"])
    scripts = [filling(claimants, SALE) for _ in range(connections)]
    done = await saturate(port, scripts, expected=201, seconds=0.1, warm_up=0.05, meters={"client": process_time})
    assert done.answered >= done.requests > 0
    assert done.cpu_us("client") > 0
    return done.answered


async def test_every_answer_is_counted_and_every_request_is_answered() -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        asked.append(data)
        return [CREATED]

    async with server(answer) as port:
        assert await run(port) == len(asked)
    opened = [request for request in asked if request.startswith(b"POST /v1/sales/sal_1/groups HTTP/1.1\r\n")]
    joined = [request for request in asked if request.startswith(b"POST /v1/groups/%b/seats HTTP/1.1\r\n" % GROUP)]
    assert len(opened) + len(joined) == len(asked)
    assert len(opened) * 2 - 6 <= len(joined) <= len(opened) * 2
    assert len({request.partition(b"idempotency-key: ")[2].partition(b"\r\n")[0] for request in asked}) == len(
        asked
    )


async def test_a_reply_in_pieces_is_one_reply() -> None:
    async with server(lambda _: [CREATED[:30], CREATED[30:50], CREATED[50:]]) as port:
        await run(port)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([GONE], "expected 201, got '409"),
        ([GONE.replace(b"2\r\n\r\n{}", b"36\r\n\r\n" + GROUP)], "expected 201, got '409"),
        ([CREATED + CREATED], "expected 201"),
        ([], "closed a connection"),
        ([b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"], "content-length"),
        ([b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"], "no grp_"),
        ([CREATED[:-1]], "3 requests were not answered"),
    ],
)
async def test_one_wrong_reply_makes_a_run_worthless(
    pieces: list[bytes], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.load.DRAIN_SECONDS", 0.1)
    monkeypatch.setattr("bench.load.PATIENCE_SECONDS", 0.1)
    replies = 0

    def answer(_: bytes) -> list[bytes]:
        nonlocal replies
        replies += 1
        return pieces if replies >= 9 else [CREATED]

    async with server(answer) as port:
        with pytest.raises(Unexpected, match=message):
            await run(port)


async def test_one_missing_reply_makes_a_run_worthless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.DRAIN_SECONDS", 0.1)
    replies = 0

    def answer(_: bytes) -> list[bytes]:
        nonlocal replies
        replies += 1
        return [CREATED[:-1]] if replies == 9 else [CREATED]

    async with server(answer) as port:
        with pytest.raises(Unexpected, match="1 requests were not answered"):
            await run(port)


async def test_a_mention_is_asked_for_in_every_reply() -> None:
    claimants = Claimants([b""])
    async with server(lambda _: [GONE]) as port:
        with pytest.raises(Unexpected, match="sold_out"):
            await saturate(
                port,
                [opening(claimants, SALE, mention=b"sold_out")],
                expected=409,
                seconds=0.1,
                warm_up=0,
                meters={},
            )


async def test_arrivals_come_at_their_rate_and_join_what_was_opened() -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        asked.append(data)
        return [CREATED]

    claimants = Claimants([b"\r\nauthorization: Bearer token"])
    async with server(answer) as port:
        latency = await arrive(
            port,
            arriving(claimants, SALE),
            connections=8,
            rate=400,
            expected=201,
            seconds=0.4,
            warm_up=0.1,
        )
    assert latency.answered == len(asked) <= 400 * 0.5 + 1
    assert 0 < latency.p50_ms <= latency.p99_ms <= latency.max_ms
    assert any(b"/seats " in request for request in asked)


async def test_a_server_that_stops_makes_all_wait_that_were_due() -> None:
    """One slow reply on the only connection: those behind it were due long before they could be sent."""
    came: list[float] = []

    def answer(_: bytes) -> list[bytes]:
        came.append(perf_counter())
        return [b""] * 40 + [CREATED] if len(came) == 1 else [CREATED]  # the first one after 0.2 s

    async with server(answer) as port:
        latency = await arrive(
            port,
            arriving(Claimants([b""]), SALE),
            connections=1,
            rate=100,
            expected=201,
            seconds=0.2,
            warm_up=0,
        )
    stop_ms = (came[1] - came[0]) * 1000
    assert latency.max_ms >= stop_ms - 1000 / 100  # what came second was due so long after what came first
    assert latency.p50_ms > stop_ms / 4  # counted from when they were sent, it would be next to nothing


async def test_a_server_that_does_not_keep_up_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.MOST_WAITING_SECONDS", 0.01)
    async with server(lambda _: [CREATED[:9], CREATED[9:]]) as port:
        with pytest.raises(Unexpected, match="does not keep up"):
            await arrive(
                port,
                arriving(Claimants([b""]), SALE),
                connections=1,
                rate=2000,
                expected=201,
                seconds=1,
                warm_up=0,
            )


async def test_ask_wants_the_status_it_was_told() -> None:
    async with server(lambda _: [GONE[:5], GONE[5:]]) as port:
        assert await ask(port, b"GET / HTTP/1.1\r\n\r\n", expected=409) == GONE
        with pytest.raises(Unexpected, match="expected 200, got"):
            await ask(port, b"GET / HTTP/1.1\r\n\r\n", expected=200)


def test_the_length_of_a_reply() -> None:
    assert reply_length(GONE) == len(GONE)
    assert reply_length(GONE[:-1]) == len(GONE)
    assert reply_length(GONE[:20]) > 20
    assert reply_length(GONE.replace(b"content-length", b"Content-Length")) == len(GONE)
    unchanged = b"HTTP/1.1 304 Not Modified\r\netag: 1\r\n\r\n"
    assert reply_length(unchanged) == len(unchanged)
