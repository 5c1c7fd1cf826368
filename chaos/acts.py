"""What is done to the service while members use it. Each act leaves the service running, and says what it saw."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from time import time

import httpx

from app.domain.errors import KaituanError
from app.gateways.dealer import IN_FLIGHT, Keys
from app.services import dealing
from bench.rows import Past, Sale
from chaos.crashes import CRASH_POINTS, CrashPoint, Role
from chaos.crowd import Crowd
from chaos.processes import Server, Valkey, World
from chaos.proxy import Fault
from chaos.receiver import IS_WANTED
from chaos.report import Report

HOLD_SECONDS, GROUP_SECONDS = 3, 6
LATE_SECONDS = GROUP_SECONDS + 1
"""So late is a payment that arrives after its group's deadline."""
LIVES, SHOPPERS, FEW_SHOPPERS = 10, 30, 6
"""Members at the same time: those who pay, cancel and forget, and those who only claim. Few of these leave the
processor to those that are started.
"""
REACH_SECONDS = 120.0
BUYERS_PER_UNIT = 1.5
REAPED_SECONDS = IN_FLIGHT.total_seconds() + 3.0
"""So long after the last kill the places of dead claims have been given back."""
WATCHERS = 8
BEGIN_SHARE = 0.3
"""What happens during a rush begins when this part of the stock is sold."""


@dataclass(slots=True)
class Stage:
    """Where it happens, and to whom."""

    world: World
    crowd: Crowd
    report: Report
    random: random.Random
    away_seconds: float
    """How long Redis and PostgreSQL are away."""
    stock: int
    """Units of a rush."""
    rebuilt_units: int
    fault_seconds: float
    """How long a line is disturbed."""
    life: Sale = field(init=False)
    shop: Sale = field(init=False)

    async def begin(self) -> None:
        """Draw up the sales that members are busy on: in one all that is taken is given back soon, in the other
        nothing.
        """
        add = self.world.rows.add_sale
        self.life = await add(
            stock=1_000_000, hold_ttl_seconds=HOLD_SECONDS, group_ttl_seconds=GROUP_SECONDS, member_limit=100
        )
        self.shop = await add(stock=5_000_000, member_limit=100)

    @asynccontextmanager
    async def busy(self, shoppers: int = SHOPPERS) -> AsyncIterator[None]:
        """Members are busy, for the time of the context."""
        crowd = self.crowd
        lives = LIVES, lambda: crowd.live(self.life, LATE_SECONDS)
        async with crowd.busy(lives, (shoppers, lambda: crowd.shop(self.shop))):
            yield

    async def rush(self, name: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Everybody wants what there is not enough of; when a third is sold, `meanwhile` happens."""
        sale = await self.world.rows.add_sale(stock=self.stock, member_limit=1)
        self.crowd.ledger.rushes.append(sale)
        rushing = asyncio.create_task(self.crowd.rush(sale, int(sale.stock * BUYERS_PER_UNIT)))
        enough = self.crowd.acknowledged + sale.stock * BEGIN_SHARE
        await self.crowd.until(lambda: self.crowd.acknowledged >= enough or rushing.done())
        begun = self.crowd.now
        await meanwhile()
        self.report.say(f"  {name}: {self.crowd.now - begun:.1f} s")
        await rushing


async def crash_at_every_point(stage: Stage) -> None:
    """Have a process kill itself at each named point, under load, and start it again."""
    apis = [point for point in CRASH_POINTS if point.role == Role.API]
    workers = [point for point in CRASH_POINTS if point.role == Role.WORKER]
    first, second = stage.world.apis
    async with stage.busy(FEW_SHOPPERS):
        await asyncio.gather(
            _crash_one_after_the_other(stage, first, apis[::2]),
            _crash_one_after_the_other(stage, second, apis[1::2]),
            _crash_one_after_the_other(stage, stage.world.worker, workers),
        )


async def _crash_one_after_the_other(stage: Stage, server: Server, points: Sequence[CrashPoint]) -> None:
    recovering = []
    await server.stop()
    for point in points:
        many = point.name.startswith("claim.")
        await server.start(point.name, stage.random.randint(2, 12) if many else 1)
        helping = asyncio.create_task(_lead_to(stage, point, server))
        died = await server.died(REACH_SECONDS)
        at = stage.crowd.now
        helping.cancel()
        await asyncio.gather(helping, return_exceptions=True)
        if died:
            stage.report.crashed_at.append(point.name)
            stage.report.kills[point.role] += 1
        else:
            stage.report.fail(f"{server.name} did not come to {point.name} (exit code {server.exit_code})")
            await server.kill()
        recovering.append(asyncio.create_task(_recover(stage, point.role, at)))
    at = stage.crowd.now
    await server.start()
    stage.report.restarted[server.name.partition("-")[0]].append(stage.crowd.now - at)
    await asyncio.gather(*recovering)


async def _recover(stage: Stage, name: str, at: float) -> None:
    """Note how long it took until the next claim was acknowledged."""
    outage = await stage.crowd.acknowledged_after(at)
    if outage is None:
        stage.report.fail(f"nothing was acknowledged after {name} was killed")
    else:
        stage.report.outages[name].append(outage)


async def _lead_to(stage: Stage, point: CrashPoint, server: Server) -> None:
    """Bring about what leads to the point, where members alone do not."""
    while point.name.startswith("sale.") and server.exit_code is None:
        with suppress(KaituanError):  # it took so long that the end is past
            await stage.world.rows.add_sale(stock=5, closes_at=datetime.now(UTC) + timedelta(seconds=1))
        await asyncio.sleep(2)
    while point.name.startswith("load.") and server.exit_code is None:
        await stage.world.valkey.call("UNLINK", Keys(stage.life.id).terms)
        await asyncio.sleep(0.3)


async def kill_at_random(stage: Stage, seconds: float) -> None:
    """Kill one process or another, for so long, and start it again."""
    end_at = stage.crowd.now + seconds
    names = ["api", "api", "worker", "valkey", "postgresql"]
    async with stage.busy():
        while stage.crowd.now < end_at:
            for name in stage.random.sample(names, len(names)):
                await kill(stage, name)
                await asyncio.sleep(stage.random.uniform(0.2, 1.5))
                if stage.crowd.now >= end_at:
                    break


async def kill(stage: Stage, name: str) -> None:
    """Kill one process, start it again, and wait until something is acknowledged, or done by the worker."""
    world, crowd = stage.world, stage.crowd
    stage.report.kills[name] += 1
    at, wall = crowd.now, time()
    match name:
        case "postgresql":
            await world.postgresql.kill()
            at = crowd.now  # until then it may have answered
            await world.start_postgresql()
        case "valkey":
            await world.valkey.kill()
            await world.valkey.forget_saved()
            await world.start_valkey()
        case "worker":
            await world.worker.kill()
            await world.worker.start()
            await _until_compared(stage, wall)
        case _:
            server = stage.random.choice(world.apis)
            await server.kill()
            await server.start()
    stage.report.restarted[name].append(crowd.now - at)
    await _recover(stage, name, at)


async def _until_compared(stage: Stage, since: float, patience: float = 60.0) -> None:
    """Wait until a worker has compared Redis with the rows."""
    give_up_at = stage.crowd.now + patience
    while await stage.world.valkey.compared_at(stage.life.id) < since * 1000:
        if stage.crowd.now > give_up_at:
            stage.report.fail("the worker does not compare Redis with the rows any more")
            return
        await asyncio.sleep(0.05)


async def lie(stage: Stage) -> None:
    """Flush Redis, set it back, let it evict, replace it by a stale replica: each while everybody buys."""
    await stage.rush("Redis flushed", lambda: _flush(stage))
    await stage.rush("Redis set back", lambda: rewind(stage))
    await stage.rush("Redis evicting", lambda: _evict(stage))
    replica = await _replica(stage.world)
    await stage.rush("Redis replaced by a stale replica", lambda: _promote(stage, replica))


async def _flush(stage: Stage) -> None:
    for _ in range(3):
        await stage.world.valkey.call("FLUSHALL")
        await asyncio.sleep(stage.random.uniform(0.05, 0.2))


async def rewind(stage: Stage) -> None:
    """Set Redis back to what it was a moment ago."""
    await stage.world.valkey.call("SAVE")
    await _sell_on(stage, 0.2)
    await stage.world.valkey.kill()
    await stage.world.start_valkey()
    stage.report.kills["valkey"] += 1
    await stage.world.valkey.forget_saved()


async def _evict(stage: Stage) -> None:
    call = stage.world.valkey.call
    used = int((await call("INFO", "memory"))["used_memory"])
    await call("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    await call("CONFIG", "SET", "maxmemory", str(used - used // 50))
    await asyncio.sleep(0.3)
    await call("CONFIG", "SET", "maxmemory", "0")
    await call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    stage.report.figures["evicted_keys"] = int((await call("INFO", "stats"))["evicted_keys"])


async def _replica(world: World) -> Valkey:
    """A replica that has caught up."""
    replica = Valkey(world.valkey.folder.with_name(f"replica-{token_hex(2)}"))
    await replica.start()
    await replica.call("REPLICAOF", "127.0.0.1", str(world.valkey.port))
    while (await replica.call("INFO", "replication"))["master_link_status"] != "up":
        await asyncio.sleep(0.05)
    return replica


async def _promote(stage: Stage, replica: Valkey) -> None:
    await replica.call("REPLICAOF", "NO", "ONE")  # it hears nothing from now on
    await _sell_on(stage, 0.2)
    stage.report.kills["valkey"] += 1
    await stage.world.replace_valkey(replica)


async def _sell_on(stage: Stage, share: float) -> None:
    """Wait until more of the stock is sold, or nobody comes any more."""
    enough = stage.crowd.acknowledged + stage.stock * share
    await stage.crowd.until(lambda: stage.crowd.acknowledged >= enough, 3.0)


async def take_redis_away(stage: Stage) -> None:
    """Sell from the rows while Redis is away, for all and then for one of the two."""
    world, crowd, report = stage.world, stage.crowd, stage.report
    async with stage.busy():
        await _until_compared(stage, time())
        before = await _rate(stage, 1.0)
        unavailable, begun, acknowledged = crowd.tally.unavailable, crowd.now, crowd.acknowledged
        await world.valkey.kill()
        report.kills["valkey"] += 1
        await asyncio.sleep(stage.away_seconds)
        sold = crowd.acknowledged - acknowledged
        report.figures["redis_away"] = {
            "seconds": round(crowd.now - begun, 1),
            "acknowledged_per_second": round(sold / (crowd.now - begun), 1),
            "before_per_second": round(before, 1),
            "unavailable": crowd.tally.unavailable - unavailable,
        }
        if not sold:
            report.fail("nothing was sold while Redis was away")
        wall = time()
        await world.valkey.forget_saved()
        await world.start_valkey()
        await _until_compared(stage, wall)
        report.figures["redis_back_seconds"] = round(time() - wall, 2)
        async with world.redis_lines[0].during(Fault.REFUSE):
            await _sell_on(stage, 0.5)


async def _rate(stage: Stage, seconds: float) -> float:
    begun, count = stage.crowd.now, stage.crowd.acknowledged
    await asyncio.sleep(seconds)
    return (stage.crowd.acknowledged - count) / (stage.crowd.now - begun)


async def take_postgresql_away(stage: Stage) -> None:
    """Acknowledge nothing while PostgreSQL is away, and go on showing what was seen."""
    world, crowd, report = stage.world, stage.crowd, stage.report
    async with stage.busy():
        await crowd.until(lambda: bool(crowd.joinable[stage.life.id]))
        path = f"/v1/groups/{crowd.joinable[stage.life.id][-1]}"
        for url in crowd.urls:
            while (await crowd.http.get(f"{url}{path}")).status_code != httpx.codes.OK:
                await asyncio.sleep(0.1)
        await world.postgresql.kill()
        report.kills["postgresql"] += 1
        begun = crowd.now + 0.1  # answers that were on their way have arrived
        statuses, refusals = [], Counter[str]()
        while crowd.now < begun + stage.away_seconds:
            reply = await crowd.ask("GET", path)
            statuses.append(0 if reply is None else reply.status_code)
            if reply is not None and reply.status_code != httpx.codes.OK:
                refusals[reply.text] += 1
            await asyncio.sleep(0.1)
        acknowledged = len(crowd.acknowledged_since(begun))
        await world.start_postgresql()
        report.figures["postgresql_away"] = {
            "seconds": round(stage.away_seconds, 1),
            "acknowledged": acknowledged,
            "reads_answered": statuses.count(httpx.codes.OK),
            "reads": len(statuses),
        }
        if acknowledged:
            report.fail(f"{acknowledged} claims were acknowledged without a database")
        if statuses.count(httpx.codes.OK) < len(statuses) / 2:
            report.fail(f"reads did not go on without a database: {statuses} {refusals}")
        if await crowd.acknowledged_after(crowd.now) is None:
            report.fail("nothing was acknowledged after PostgreSQL came back")


async def disturb_the_lines(stage: Stage) -> None:
    """Delay, hang and cut the lines to Redis and to PostgreSQL."""
    world = stage.world
    lines = {"Redis": world.redis_lines, "PostgreSQL": [world.database_line]}
    async with stage.busy():
        for name, proxies in lines.items():
            for fault in (Fault.DELAY, Fault.HANG, Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.REFUSE):
                for proxy in proxies:
                    proxy.fault = fault
                await asyncio.sleep(stage.fault_seconds)
                for proxy in proxies:
                    proxy.fault = Fault.NONE
                if await stage.crowd.acknowledged_after(stage.crowd.now) is None:
                    stage.report.fail(f"nothing was acknowledged after {name}: {fault}")


async def restart_by_turns(stage: Stage) -> None:
    """Stop each API process in order, under load, and start it again."""
    world, crowd, report = stage.world, stage.crowd, stage.report
    before = crowd.tally.unanswered
    codes, cut = [], 0
    async with crowd.balanced(), stage.busy():
        for server in world.apis:
            await crowd.until(lambda: bool(crowd.joinable[stage.life.id]))
            streams = [
                asyncio.create_task(
                    _watch(crowd, f"{server.url}/v1/groups/{crowd.joinable[stage.life.id][-1]}/live")
                )
                for _ in range(WATCHERS)
            ]
            await asyncio.sleep(0.5)
            codes.append(await server.stop())
            cut += sum(await asyncio.gather(*streams))
            await server.start()
            await asyncio.sleep(0.5)
    unanswered = crowd.tally.unanswered - before
    report.figures["rolling_restart"] = {
        "unanswered": unanswered,
        "streams": WATCHERS * len(world.apis),
        "streams_cut": cut,
    }
    if set(codes) - {0, -signal.SIGTERM}:  # uvicorn ends with the signal it was sent, after all is done
        report.fail(f"a process that was asked to stop ended with {codes}")
    if cut:
        report.fail(f"{cut} streams were cut instead of ended")
    if unanswered:
        report.fail(f"{unanswered} requests were dropped by a process that was asked to stop")


async def _watch(crowd: Crowd, url: str) -> bool:
    """Watch a group to the end of the stream; True when it was cut instead of ended."""
    try:
        async with crowd.http.stream("GET", url, timeout=60) as stream:
            async for _ in stream.aiter_lines():
                pass
    except httpx.HTTPError:
        return True
    return False


async def rebuild(stage: Stage) -> None:
    """Load a large sale from its rows."""
    world, units = stage.world, stage.rebuilt_units
    sale = await world.rows.add_sale(stock=units * 2)
    await world.rows.add_past(Past(sale, units // 4, 4, taken=4))
    await world.postgresql.opened.execute(world.direct_url, "ANALYZE")
    async with world.rows.open() as state:
        begun = stage.crowd.now
        await state.dealer.forget(sale.id)
        await dealing.load(state, sale.id, state.clock())
        seconds = stage.crowd.now - begun
        # A worker may be loading it too: then it tells nothing for a moment.
        told: dict[str, int] = {}
        while not told and stage.crowd.now < begun + REACH_SECONDS:
            told = await state.dealer.taken(sale.id, [sale.offer_id])
            await asyncio.sleep(0.1)
        taken = told.get(sale.offer_id)
    stage.report.figures["rebuild"] = {"units": units, "seconds": round(seconds, 2)}
    if taken != units:
        stage.report.fail(f"{units} units were rebuilt as {taken}")


UNSETTLED = {
    "holds": "SELECT count(*) FROM orders WHERE state = 'held' AND hold_expires_at < now() + interval '1 minute'",
    "groups": """SELECT count(*) FROM groups
        WHERE state IN ('open', 'filled') AND deadline_at < now() + interval '1 minute'""",
    "refunds": "SELECT count(*) FROM refunds WHERE state <> 'succeeded'",
    "captures": "SELECT count(*) FROM payments WHERE state = 'captured' AND outcome IS NULL",
    "charges": """SELECT count(*) FROM sandbox_charges LEFT JOIN payments USING (id)
        WHERE sandbox_charges.state = 'paid' AND payments.captured_amount IS NULL""",
    "events to line up": f"""SELECT count(*) FROM endpoints
        WHERE cursor < (SELECT max(id) FROM events WHERE {IS_WANTED})""",
    "deliveries": "SELECT count(*) FROM deliveries WHERE delivered_at IS NULL",
}
"""What must be over before the service can be judged."""


async def settle(stage: Stage, since: float, patience: float = 240.0) -> None:
    """Wait until workers have nothing left to do and the reaper has been; then sell what came back.

    Nothing was killed or cut `since` that moment.
    """
    begun, left = stage.crowd.now, {"something": 1}
    while stage.crowd.now < begun + patience:
        left = {}
        for name, query in UNSETTLED.items():
            ((number,),) = await stage.world.rows.fetch(query)
            if number:
                left[name] = number
        if not left and stage.crowd.now > since + REAPED_SECONDS:
            break
        await asyncio.sleep(0.5)
    if left:
        stage.report.fail(f"after {patience:.0f} s there was still something to do: {left}")
    for sale in stage.crowd.ledger.rushes:
        await stage.crowd.buy_the_rest(sale)
