"""Many groups end in the same second, each with one paid order: how fast they fail, and all money is back."""

import asyncio
from contextlib import ExitStack
from time import time

from app.services.invariants import find_violations
from bench import servers
from bench.load import Unexpected
from bench.rows import Past, Sale, World
from bench.stage import Stage

GROUP_SIZE = 3
BEFORE_THE_END_SECONDS = 2
LOOK_SECONDS, TELL_SECONDS = 0.25, 10
MOST_SECONDS = 420
FAILED = "SELECT count(*) FROM groups WHERE sale_id = $1 AND state = 'failed'"
REFUNDED = "SELECT count(*) FROM refunds WHERE state = 'succeeded'"
NOT_ONCE = """
    SELECT payments.id, orders.state, count(DISTINCT refunds.id), count(DISTINCT sandbox_refunds.id)
    FROM payments JOIN orders ON orders.id = payments.order_id
    LEFT JOIN refunds ON refunds.payment_id = payments.id AND refunds.state = 'succeeded'
    LEFT JOIN sandbox_refunds ON sandbox_refunds.charge_id = payments.id
    GROUP BY payments.id, orders.state
    HAVING (orders.state, count(DISTINCT refunds.id), count(DISTINCT sandbox_refunds.id)) <> ('refunded', 1, 1)
    LIMIT 10"""


async def measure(stage: Stage) -> None:
    """Let the deadline of all groups pass, with one worker process.

    The sandbox cashier is a third party and runs on the neighbours' core. Raises `Unexpected` when a payment was
    not refunded exactly once, or an invariant is broken.
    """
    groups, report = stage.options.groups, stage.report
    report.say(f"Settle: {groups:,} groups end in the same second")
    async with stage.world() as (world, valkey):
        await world.add_members(groups)
        sale = await world.add_sale(stock=groups, group_size=GROUP_SIZE)
        await world.add_past(Past(sale, groups, GROUP_SIZE, taken=1, paid=True))
        await stage.postgresql.execute(world.database_url, "VACUUM ANALYZE")
        await check_invariants(world)
        with ExitStack() as stack:
            where = world.database_url, world.redis_url
            cashier = stack.enter_context(servers.service(stage.folder, stage.cores.neighbours, *where))
            cashier_url = f"http://127.0.0.1:{cashier.port}"
            worker = stack.enter_context(servers.worker(stage.folder, stage.cores.measured, *where, cashier_url))
            await valkey.filled()  # by the worker's first look, which loads the sale
            await worker.calm()
            await stage.postgresql.checkpoint()
            cpu = worker.cpu_seconds()
            failed_seconds, refunded_seconds = await _wait_until_settled(stage, world, sale)
            cpu = worker.cpu_seconds() - cpu
        await check_refunded_once(world)
        await check_invariants(world)
    note = f"one worker; {groups:,} payments were refunded exactly once, every invariant holds"
    report.add("settle_groups_per_second", [groups / failed_seconds], "/s", note="until all had failed")
    report.add("settle_refunds_per_second", [groups / refunded_seconds], "/s", note=note)
    report.add("settle_cpu_us", [cpu / groups * 1e6], "µs", note="CPU of the worker per group with its refund")


async def _wait_until_settled(stage: Stage, world: World, sale: Sale) -> tuple[float, float]:
    """Seconds from the deadline until all groups had failed, and until all refunds had succeeded."""
    groups = stage.options.groups
    deadline = time() + BEFORE_THE_END_SECONDS
    await stage.postgresql.execute(
        world.database_url,
        f"UPDATE groups SET opened_at = to_timestamp({deadline}) - (deadline_at - opened_at),"
        f" deadline_at = to_timestamp({deadline}) WHERE sale_id = '{sale.id}'",
    )
    failed_seconds = 0.0
    told = time()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = time() - deadline
        ((failed,),) = await world.fetch(FAILED, sale.id)
        ((refunded,),) = await world.fetch(REFUNDED)
        if not failed_seconds and failed == groups:
            failed_seconds = now
        if time() - told > TELL_SECONDS:
            told = time()
            stage.report.say(f"  after {now:.0f} s: {failed:,} failed, {refunded:,} refunded")
        if failed_seconds and refunded >= groups:
            stage.report.say(f"  all had failed after {failed_seconds:.1f} s, all money was back after {now:.1f} s")
            return failed_seconds, now
        if now > MOST_SECONDS:
            raise Unexpected(f"after {now:.0f} s {failed} of {groups} groups had failed, {refunded} were refunded")


async def check_refunded_once(world: World) -> None:
    """Raise `Unexpected` unless the cashier gave the money of every payment back, once."""
    if wrong := await world.fetch(NOT_ONCE):
        raise Unexpected(f"not refunded exactly once: {[tuple(row) for row in wrong]}")


async def check_invariants(world: World) -> None:
    """Raise `Unexpected` when a promise is broken."""
    async with world.open() as state, state.database.snapshot() as session:
        if violations := await find_violations(session):
            raise Unexpected(f"{len(violations)} invariants are broken: {violations[:3]}")
