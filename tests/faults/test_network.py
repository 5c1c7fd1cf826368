"""The lines to Redis and to the database are cut, at the worst moments: nothing happens twice, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chaos.proxy import Address, Fault, Proxy, proxied
from tests.databases import create_database
from tests.faults.test_redis import reachable
from tests.service import Member, Sale, Service, running_service


@dataclass(slots=True)
class Lines:
    """A service that reaches Redis and PostgreSQL through proxies."""

    service: Service
    redis: Proxy
    database: Proxy


@asynccontextmanager
async def opened(postgresql: str, valkey: str, data: Path) -> AsyncIterator[Lines]:
    direct = httpx.URL(await create_database(postgresql))
    server: Address = (direct.host, direct.port or 5432)
    if folder := direct.params.get("host"):
        server = Path(folder) / ".s.PGSQL.5432"
    redis = httpx.URL(valkey)
    async with proxied((redis.host, redis.port or 6379)) as to_redis, proxied(server) as to_database:
        through = f"postgresql://{direct.userinfo.decode() or 'postgres'}@127.0.0.1:{to_database.port}{direct.path}"
        url = str(redis.copy_with(host="127.0.0.1", port=to_redis.port))
        async with running_service(through, url, data) as service:
            yield Lines(service, to_redis, to_database)


@pytest.fixture
async def lines(postgresql: str, valkey: str, tmp_path: Path) -> AsyncIterator[Lines]:
    async with opened(postgresql, valkey, tmp_path) as lines:
        yield lines


async def insist(member: Member, sale: Sale) -> httpx.Response:
    """Claim with one key, until the answer is definite."""
    for _ in range(100):
        reply = await member.open(sale, key="mine")
        if reply.status_code != 503:
            return reply
        assert reply.headers["retry-after"]
        await asyncio.sleep(0.05)
    raise AssertionError("no definite answer in 100 tries")


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.DELAY])
@pytest.mark.parametrize("line", ["redis", "database"])
async def test_a_claim_whose_line_is_cut_is_made_once(lines: Lines, line: str, fault: Fault) -> None:
    service, proxy = lines.service, lines.redis if line == "redis" else lines.database
    sale = await service.sale(stocks=[10], member_limit=3)
    first, *members = await service.members(6)
    assert (await first.open(sale)).status_code == 201
    async with proxy.during(fault):
        replies = await asyncio.gather(*(member.open(sale, key="mine") for member in members))
    assert {reply.status_code for reply in replies} <= {201, 503}
    if line == "database" and fault != Fault.DELAY:
        assert {reply.status_code for reply in replies} == {503}, "nothing is acknowledged that may be lost"
    told = await asyncio.gather(*(insist(member, sale) for member in members))
    assert {reply.status_code for reply in told} == {201}
    for before, after in zip(replies, told, strict=True):
        assert before.status_code == 503 or before.text == after.text
    assert await service.left(sale) == [4]
    assert await service.violations() == []


async def test_a_cancel_that_was_cut_after_it_was_done_is_done_once(lines: Lines) -> None:
    service = lines.service
    sale = await service.sale(stocks=[2], member_limit=3)
    member = await service.member()
    order = (await member.open(sale)).json()["order"]
    async with lines.redis.during(Fault.CUT_AFTER):
        assert (await member.post(f"/v1/orders/{order['id']}/cancel")).status_code == 200
    await reachable(service)
    await service.tick()
    assert await service.left(sale) == [2]
    assert (await member.post(f"/v1/orders/{order['id']}/cancel")).json()["code"] == "order_not_held"


async def test_a_database_that_is_away_acknowledges_nothing_and_views_go_on(lines: Lines) -> None:
    service = lines.service
    sale = await service.sale()
    member = await service.member()
    group_id = (await member.open(sale)).json()["group"]["id"]
    seen = await service.group(group_id)
    async with lines.database.during(Fault.REFUSE):
        reply = await member.join(sale, group_id)
        assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")
        assert await service.group(group_id) == seen
    assert (await (await service.member()).join(sale, group_id)).status_code == 201
    assert await service.violations() == []
