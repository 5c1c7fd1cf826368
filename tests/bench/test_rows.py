"""The rows a measurement begins with are as the service would have written them."""

from pathlib import Path

import pytest

from app.schemas.groups import ClaimAnswer, ClaimCreate
from app.services.claims import open_group
from app.services.sessions import read_access_token
from bench.claimants import mint
from bench.load import Unexpected
from bench.rows import Past, World, migrated, seeded_id
from bench.servers import Postgresql
from bench.settle import check_invariants, check_refunded_once
from bench.shop import check_durable


@pytest.fixture(scope="module")
async def template(postgresql: str) -> str:
    """A database with every table and no row."""
    return await migrated(Postgresql(pid=0, url=postgresql))


@pytest.fixture
async def world(postgresql: str, template: str, valkey: str, tmp_path: Path) -> World:
    server = Postgresql(pid=0, url=postgresql)
    made = World(server, await server.create(template), valkey, tmp_path)
    await made.add_members(30)
    return made


@pytest.mark.parametrize(("taken", "paid"), [(3, False), (1, True), (2, True)])
async def test_a_seeded_past_keeps_every_promise(world: World, taken: int, paid: bool) -> None:
    earlier, sale = await world.add_sale(stock=50), await world.add_sale(stock=12)
    await world.add_past(Past(earlier, groups=2, size=3, taken=taken, paid=paid))
    await world.add_past(Past(sale, groups=4, size=3, taken=taken, paid=paid, first=2))
    await check_invariants(world)
    await check_durable(world, sale, 4 * taken)
    with pytest.raises(Unexpected, match="orders are there"):
        await check_durable(world, sale, 4 * taken + 1)
    (counts,) = await world.fetch(
        "SELECT count(DISTINCT member_id), count(DISTINCT group_id), min(seat_number), max(seat_number) FROM orders"
    )
    assert tuple(counts) == (6 * taken, 6, 1, taken)


async def test_the_service_goes_on_from_a_seeded_past(world: World) -> None:
    sale = await world.add_sale(stock=7)
    await world.add_past(Past(sale, groups=2, size=3, taken=3))
    async with world.open() as state:
        answer = await open_group(state, seeded_id("mem", 20), sale.id, ClaimCreate(offer_id=sale.offer_id), "key")
    assert ClaimAnswer.model_validate_json(answer).order.seat_number == 1
    ((units,),) = await world.fetch("SELECT array_agg(number ORDER BY number) FROM units")
    assert units == [1, 2, 3, 4, 5, 6, 7]
    await check_invariants(world)


async def test_a_minted_token_is_the_members(world: World) -> None:
    (header,) = mint(7, 8)
    async with world.open() as state:
        assert read_access_token(state, header.decode().rpartition(" ")[2]) == seeded_id("mem", 7)


async def test_money_that_is_not_back_is_seen(world: World) -> None:
    sale = await world.add_sale(stock=3)
    await world.add_past(Past(sale, groups=1, size=3, taken=1, paid=True))
    with pytest.raises(Unexpected, match="exactly once"):
        await check_refunded_once(world)


async def test_a_broken_promise_is_seen(world: World) -> None:
    sale = await world.add_sale(stock=3)
    await world.add_past(Past(sale, groups=1, size=3, taken=1))
    await world.postgresql.execute(world.database_url, "DELETE FROM units")
    with pytest.raises(Unexpected, match="invariants are broken"):
        await check_invariants(world)
