"""What a claim costs in a sale with a million orders, beside one that has just begun."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from bench.claimants import Claimants, filling, mint, opening
from bench.load import Run, Unexpected, ask, saturate
from bench.rows import Past, Sale, World
from bench.servers import Process, Valkey
from bench.stage import Stage

STOCK = 5_000_000
GROUP_SIZE = 3
LOAD_SECONDS = 300
ALL = ("server", "postgresql", "valkey")


@dataclass(frozen=True, slots=True)
class Side:
    """A service whose sales have so many orders when they begin to be measured."""

    stage: Stage
    world: World
    valkey: Valkey
    service: Process
    claimants: Claimants
    orders: int

    async def begin(self, number: int) -> tuple[Sale, float, int]:
        """A sale with its past, loaded by the service at the first claim. Returns the sale, the seconds that claim
        took, and the bytes of Valkey the sale takes.
        """
        groups = self.orders // GROUP_SIZE
        sale = await self.world.add_sale(stock=STOCK, group_size=GROUP_SIZE)
        await self.world.add_past(Past(sale, groups, GROUP_SIZE, GROUP_SIZE, first=number * groups))
        await self.stage.postgresql.execute(self.world.database_url, "VACUUM ANALYZE")
        before, begun = self.valkey.used_memory(), perf_counter()
        async with asyncio.timeout(LOAD_SECONDS):
            await self._claim_first(sale)
        return sale, perf_counter() - begun, self.valkey.used_memory() - before

    async def claim(self, sale: Sale) -> tuple[Run, float]:
        """Fill groups in the sale. Returns what was counted, and the bytes of Valkey a claim takes."""
        options = self.stage.options
        await self.stage.postgresql.checkpoint()
        orders, memory = await self._orders(sale), self.valkey.used_memory()
        run = await saturate(
            self.service.port,
            [filling(self.claimants, sale) for _ in range(options.connections)],
            expected=201,
            seconds=options.seconds,
            warm_up=options.warm_up,
            meters=self.stage.meters(self.service, self.valkey),
        )
        taken = self.valkey.used_memory() - memory
        if await self._orders(sale) != orders + run.answered:
            raise Unexpected(f"{run.answered} claims were answered, {await self._orders(sale) - orders} are there")
        return run, taken / run.answered

    async def _claim_first(self, sale: Sale) -> None:
        while True:
            try:
                await ask(self.service.port, opening(self.claimants, sale)(b""), expected=201)
            except Unexpected as error:
                if "503" not in str(error):
                    raise
                await asyncio.sleep(1)  # told to come again while the sale is being loaded
            else:
                return

    async def _orders(self, sale: Sale) -> int:
        ((orders,),) = await self.world.fetch("SELECT count(*) FROM orders WHERE sale_id = $1", sale.id)
        return int(orders)


async def measure(stage: Stage) -> None:
    """Claim in a small sale, which is a new one every round, and in the large one, which goes on growing."""
    options, report = stage.options, stage.report
    async with AsyncExitStack() as stack:
        report.say(f"Growth: {options.orders:,} orders of as many members beside {options.few_orders:,}")
        large = await stack.enter_async_context(_side(stage, options.orders))
        small = await stack.enter_async_context(_side(stage, options.few_orders))
        large_sale, load_seconds, loaded_bytes = await large.begin(0)
        report.say(f"  the large sale was loaded in {load_seconds:.1f} s, {loaded_bytes / 2**20:,.0f} MB of Valkey")
        runs: dict[str, list[Run]] = {"small": [], "large": []}
        bytes_per_claim: list[float] = []
        for number in range(options.rounds):
            small_sale, _, _ = await small.begin(number)
            for name, side, sale in (("small", small, small_sale), ("large", large, large_sale)):
                run, memory = await side.claim(sale)
                runs[name].append(run)
                report.say_run(f"{name} sale", run)
                if side is small:
                    bytes_per_claim.append(memory)
    pairs = list(zip(runs["large"], runs["small"], strict=True))
    report.add(
        "growth",
        [of.cpu_us(*ALL) / to.cpu_us(*ALL) for of, to in pairs],
        goal="≤ 1.2",
        note=f"CPU of all per claim: with {options.orders:,} orders ÷ from {options.few_orders:,} on",
    )
    report.add("growth_of_time", [to.rate / of.rate for of, to in pairs], note="the same, of 1 ÷ claims/s")
    for name, each in runs.items():
        report.add(
            f"{name}_sale_claim_cpu_us",
            [run.cpu_us(*ALL) for run in each],
            "µs",
            note="of server, PostgreSQL and Valkey",
        )
        report.add(f"{name}_sale_per_second", [run.rate for run in each], "/s")
    report.add("redis_bytes_per_claim", bytes_per_claim, "B", note="growth of used_memory while claims come")
    report.add(
        "redis_bytes_per_loaded_claim", [loaded_bytes / options.orders], "B", note="after a load from the rows"
    )
    report.add("load_seconds", [load_seconds], "s", note=f"the first claim on a sale of {options.orders:,} orders")


@asynccontextmanager
async def _side(stage: Stage, orders: int) -> AsyncIterator[Side]:
    """A database with a member for each order, and others who will claim."""
    async with stage.world() as (world, valkey):
        await world.add_members(orders + stage.options.members)
        claimants = Claimants(mint(orders, orders + stage.options.members))
        with stage.service(world) as service:
            yield Side(stage, world, valkey, service, claimants, orders)
