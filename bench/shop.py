"""The service with sales to claim from, one that is sold out, and groups to look at; beside it the usual way."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.claimants import Claimants, always, arriving, filling, id_in, mint, opening, plain_get
from bench.load import Latency, Run, Script, Unexpected, arrive, ask, saturate
from bench.rows import Sale, World
from bench.servers import Process, Valkey
from bench.stage import Stage

STOCK = 5_000_000
GROUPS_READ = 8
GROUP_SIZE = 3
CARRIERS = 1024
NAIVE_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Shop:
    """What is called, and who calls it. Every run of claims has a new sale, so that each begins alike."""

    stage: Stage
    world: World
    valkey: Valkey
    service: Process
    claimants: Claimants
    sold_out: Sale
    groups: list[str]
    etags: list[str]
    """Of the groups; empty when the service gives none."""

    async def fill(self, connections: int) -> Run:
        """Groups are opened, and joined until they are full."""
        return await self._sell(connections, filling)

    async def open(self, connections: int) -> Run:
        """Groups are opened."""
        return await self._sell(connections, opening)

    async def refuse(self, connections: int) -> Run:
        """Nothing is left of an offer."""
        scripts = [opening(self.claimants, self.sold_out, mention=b'"sold_out"') for _ in range(connections)]
        return await self._saturate(scripts, 409)

    async def read(self, connections: int) -> Run:
        """Strangers look at a handful of groups."""
        paths = [f"/v1/groups/{self.groups[number % GROUPS_READ]}" for number in range(connections)]
        return await self._saturate([always(plain_get(path)) for path in paths], 200)

    async def read_unchanged(self, connections: int) -> Run:
        """The same, by those who have seen the groups as they are."""
        requests = [
            plain_get(
                f"/v1/groups/{self.groups[number % GROUPS_READ]}",
                f"if-none-match: {self.etags[number % GROUPS_READ]}",
            )
            for number in range(connections)
        ]
        return await self._saturate([always(request) for request in requests], 304)

    async def arrive(self, rate: float) -> Latency:
        """Claims arrive at a constant rate."""
        options = self.stage.options
        sale = await self._begin()
        latency = await arrive(
            self.service.port,
            arriving(self.claimants, sale),
            connections=min(CARRIERS, options.connections * 4),
            rate=rate,
            expected=201,
            seconds=options.seconds,
            warm_up=options.warm_up,
        )
        await check_durable(self.world, sale, latency.answered + 1)
        return latency

    async def _sell(self, connections: int, script: Callable[[Claimants, Sale], Script]) -> Run:
        sale = await self._begin()
        run = await self._saturate([script(self.claimants, sale) for _ in range(connections)], 201)
        await check_durable(self.world, sale, run.answered + 1)
        return run

    async def _begin(self) -> Sale:
        """A new sale with one claim on it, so that it is in Redis."""
        sale = await self.world.add_sale(stock=STOCK)
        await ask(self.service.port, opening(self.claimants, sale)(b""), expected=201)
        await self.stage.postgresql.checkpoint()
        return sale

    async def _saturate(self, scripts: list[Script], expected: int) -> Run:
        options = self.stage.options
        return await saturate(
            self.service.port,
            scripts,
            expected=expected,
            seconds=options.seconds,
            warm_up=options.warm_up,
            meters=self.stage.meters(self.service, self.valkey),
        )


@asynccontextmanager
async def opened_shop(stage: Stage) -> AsyncIterator[Shop]:
    """A service whose members are there, with nothing sold but one last unit and a handful of full groups."""
    async with stage.world() as (world, valkey):
        await world.add_members(stage.options.members)
        await stage.postgresql.execute(world.database_url, "ANALYZE")
        claimants = Claimants(mint(0, stage.options.members))
        sold_out = await world.add_sale(stock=1)
        popular = await world.add_sale(stock=GROUPS_READ * GROUP_SIZE)
        with stage.service(world) as service:
            await ask(service.port, opening(claimants, sold_out)(b""), expected=201)
            await world.make_sure(sold_out)
            groups = [await _full_group(service, claimants, popular) for _ in range(GROUPS_READ)]
            etags = [await _etag(service, group) for group in groups]
            yield Shop(
                stage=stage,
                world=world,
                valkey=valkey,
                service=service,
                claimants=claimants,
                sold_out=sold_out,
                groups=groups,
                etags=etags if all(etags) else [],
            )


async def check_durable(world: World, sale: Sale, answered: int) -> None:
    """Raise `Unexpected` unless there is exactly one order for every answer."""
    ((orders,),) = await world.fetch("SELECT count(*) FROM orders WHERE sale_id = $1", sale.id)
    if orders != answered:
        raise Unexpected(f"{answered} claims were answered, {orders} orders are there")


async def _full_group(service: Process, claimants: Claimants, sale: Sale) -> str:
    script, reply = filling(claimants, sale), b""
    for _ in range(GROUP_SIZE):
        reply = await ask(service.port, script(reply), expected=201)
    return id_in(reply, b"grp_")


async def _etag(service: Process, group: str) -> str:
    reply = await ask(service.port, plain_get(f"/v1/groups/{group}"), expected=200)
    for line in reply.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"etag":
            return value.strip().decode()
    return ""


@dataclass(frozen=True, slots=True)
class NaiveShop:
    """The usual endpoint, with an offer of its own."""

    shop: Shop
    process: Process
    sale: Sale

    async def buy(self, connections: int) -> Run:
        """Members place orders."""
        options, stage = self.shop.stage.options, self.shop.stage
        await stage.postgresql.checkpoint()
        return await saturate(
            self.process.port,
            [opening(self.shop.claimants, self.sale) for _ in range(connections)],
            expected=201,
            seconds=options.seconds,
            warm_up=options.warm_up,
            meters=stage.meters(self.process, self.shop.valkey),
        )


@asynccontextmanager
async def opened_naive_shop(shop: Shop) -> AsyncIterator[NaiveShop]:
    """The usual endpoint beside the service, in the same database."""
    sale = Sale("sal_naive", shop.sold_out.offer_id)
    with shop.stage.yardstick("naive", DATABASE_URL=shop.world.database_url) as process:
        await add_naive_offer(shop.world, sale, stock=STOCK, member_limit=NAIVE_LIMIT)
        yield NaiveShop(shop, process, sale)


async def add_naive_offer(world: World, sale: Sale, *, stock: int, member_limit: int) -> None:
    """What the usual endpoint sells."""
    await world.add(
        "naive_offers",
        {
            "id": f"'{sale.offer_id}'",
            "sale_id": f"'{sale.id}'",
            "price": "4900",
            "currency": "'CNY'",
            "left": str(stock),
            "member_limit": str(member_limit),
        },
        "generate_series(1, 1)",
    )
