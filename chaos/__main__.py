"""`python -m chaos`: kill, cut and mislead a running service, and hold it to everything it acknowledged."""

import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from bench import servers
from bench.rows import migrated
from chaos import acts
from chaos.acts import Stage
from chaos.crowd import Crowd, members
from chaos.ledger import Ledger
from chaos.processes import Postgresql, World, opened_world
from chaos.receiver import Receiver, receiving
from chaos.report import Report

ROOT = Path(__file__).parents[1]
MEMBERS = 30_000
SHORT = {"away_seconds": 2.0, "stock": 150, "rebuilt_units": 10_000, "fault_seconds": 0.3}
LONG = {"away_seconds": 10.0, "stock": 1000, "rebuilt_units": 100_000, "fault_seconds": 2.0}
SHORT_KILLS_SECONDS = 4.0
LEAST_KILLS_SECONDS = 20.0
SETTLE_SECONDS = 60.0


def main(
    minutes: Annotated[float, typer.Option(min=0.1, max=24 * 60, help="How long, about")] = 10,
    short: Annotated[bool, typer.Option(help="Everything once, in about three minutes")] = False,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn by chance; printed at the start")] = None,
) -> None:
    """Kill every process at random and at every named point, make Redis lie, take both stores away, cut the lines.

    Starts and stops everything it needs. Prints a table, and as its last line one JSON object; ends with 1 when a
    promise was broken.
    """
    servers.open_many_files()
    report = Report()
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    report.figures["seed"] = seed
    report.say(f"seed {seed}")
    try:
        asyncio.run(_play(report, seed, minutes=None if short else minutes))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    report.print()
    if report.failures:
        raise typer.Exit(1)


async def _play(report: Report, seed: int, minutes: float | None) -> None:
    servers.forget_settings()
    with tempfile.TemporaryDirectory(prefix="kaituan-chaos-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ledger = Ledger()
        async with servers.postgresql(folder) as opened, receiving(ledger, seed) as receiver:
            postgresql = Postgresql(opened)
            template = await migrated(opened)
            async with opened_world(postgresql, folder, await opened.create(template)) as world:
                sizes = SHORT if minutes is None else LONG
                await world.rows.add_members(max(MEMBERS, int(sizes["rebuilt_units"])))
                crowd = Crowd([api.url for api in world.apis], members(0, MEMBERS), ledger, seed)
                stage = Stage(world, crowd, report, random.Random(seed), **sizes)  # type: ignore[arg-type]
                await stage.begin()
                await receiver.subscribe(world)
                quiet_since = await _act(stage, minutes)
                report.say("Settling: deadlines, refunds, the reaper; and once more without the key of the units")
                unguarded = await opened.create(template)
                await asyncio.gather(
                    acts.settle(stage, quiet_since), _remove_guard(postgresql, folder, unguarded, report, seed)
                )
                await crowd.close()
                ledger.write(folder / "ledger.json")
                report.judge(await _checked(folder / "ledger.json", world))
                _tell(report, crowd, world, receiver)


async def _act(stage: Stage, minutes: float | None) -> float:
    """Everything that is done to it. Returns when the last process was killed or line cut: a claim may be dead
    since then.
    """
    report = stage.report
    report.say("Killing processes at every named point")
    await acts.crash_at_every_point(stage)
    report.say("Killing processes at random")
    fixed = SETTLE_SECONDS * 2
    long = (
        SHORT_KILLS_SECONDS if minutes is None else max(LEAST_KILLS_SECONDS, minutes * 60 - report.seconds - fixed)
    )
    await acts.kill_at_random(stage, long)
    report.say("Misleading Redis while everybody buys")
    await acts.lie(stage)
    report.say("Taking Redis away")
    await acts.take_redis_away(stage)
    report.say("Taking PostgreSQL away")
    await acts.take_postgresql_away(stage)
    report.say("Delaying, hanging and cutting the lines")
    await acts.disturb_the_lines(stage)
    quiet_since = stage.crowd.now
    report.say("Restarting the API processes by turns")
    await acts.restart_by_turns(stage)
    report.say("Loading a large sale into Redis")
    await acts.rebuild(stage)
    return quiet_since


def _tell(report: Report, crowd: Crowd, world: World, receiver: Receiver) -> None:
    tally = crowd.tally
    report.figures |= {
        "asked": len(crowd.ledger.intentions),
        "acknowledged": crowd.ledger.acknowledged,
        "refused": sum(bool(one.refusal) for one in crowd.ledger.intentions),
        "unavailable": tally.unavailable,
        "timed_out": tally.timed_out,
        "webhooks": {
            "sent": receiver.requests,
            "accepted": len(crowd.ledger.heard),
            "events": len({one.webhook_id for one in crowd.ledger.heard}),
        },
    }
    if receiver.forged:
        report.fail(f"{receiver.forged} webhooks were not signed as they should be")
    if tally.without_retry_after:
        report.fail(f"{tally.without_retry_after} answers of 503 had no Retry-After")
    if tally.faults:
        for server in world.apis:
            for text in server.unforeseen():
                report.say(f"{server.name}: {text}")
        report.fail(f"answers that should never be given: {dict(tally.faults)}")


async def _checked(ledger: Path, world: World) -> dict[str, list[str]]:
    """What another process finds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos.check", str(ledger), world.direct_url, world.valkey.url),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    found: dict[str, list[str]] = json.loads(output)
    return found


async def _remove_guard(postgresql: Postgresql, folder: Path, database_url: str, report: Report, seed: int) -> None:
    """The checker has to see what happens when the key of the units is gone and Redis is set back."""
    await postgresql.opened.execute(database_url, "ALTER TABLE units DROP CONSTRAINT pk_units")
    async with opened_world(postgresql, folder, database_url, worker=False) as world:
        ledger = Ledger()
        await world.rows.add_members(2000)
        crowd = Crowd([api.url for api in world.apis], members(0, 2000), ledger, seed)
        stage = Stage(world, crowd, report, random.Random(seed), **SHORT)  # type: ignore[arg-type]
        await stage.rush("Redis set back, without the key", lambda: acts.rewind(stage))
        await crowd.close()
        ledger.write(folder / "unguarded.json")
        found = await _checked(folder / "unguarded.json", world)
    seen = bool(found["oversold"] and any(one.startswith("I1 ") for one in found["violations"]))
    report.figures["checker_sees_a_removed_guard"] = seen
    if not seen:
        report.fail("the checker does not see that units are sold twice")


if __name__ == "__main__":
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    cli.command()(main)
    cli()
