"""The usual endpoint is slow, but right: it would be no yardstick otherwise."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from bench.claimants import mint
from bench.rows import Sale, World
from bench.servers import Postgresql, yardstick
from bench.shop import add_naive_offer

SALE = Sale("sal_naive", "off_" + "0" * 32)
BODY = {"offer_id": SALE.offer_id, "quantity": 1}


@pytest.fixture
async def naive(postgresql: str) -> AsyncIterator[httpx.AsyncClient]:
    """The endpoint, with five units, of which a member may have two."""
    server = Postgresql(pid=0, url=postgresql)
    database_url = await server.create()
    with (
        tempfile.TemporaryDirectory() as folder,
        yardstick(Path(folder), frozenset(), "naive", DATABASE_URL=database_url) as process,
    ):
        await add_naive_offer(World(server, database_url, "", Path(folder)), SALE, stock=5, member_limit=2)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", timeout=30) as http:
            yield http


async def test_the_usual_endpoint_sells_what_there_is_once(naive: httpx.AsyncClient) -> None:
    tokens = [header.decode().rpartition(" ")[2] for header in mint(0, 6)]

    async def buy(member: int, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {tokens[member]}", "idempotency-key": key}
        return await naive.post(f"/v1/sales/{SALE.id}/groups", json=BODY, headers=headers)

    twins = await asyncio.gather(*(buy(0, "same") for _ in range(10)))
    assert {reply.status_code for reply in twins} == {201}
    assert len({reply.json()["id"] for reply in twins}) == 1
    assert [(await buy(0, key)).status_code for key in ("second", "third")] == [201, 409]
    bought = await asyncio.gather(*(buy(member, "one") for member in (1, 2, 3, 4, 5)))
    assert sorted(reply.status_code for reply in bought) == [201, 201, 201, 409, 409]
    assert (await buy(0, "same")).json() == twins[0].json()
    assert (await naive.post(f"/v1/sales/{SALE.id}/groups", json=BODY)).status_code == 401
