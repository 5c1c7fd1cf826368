"""`python -m bench`: how fast the service is, beside yardsticks, on this machine."""

import asyncio
import signal
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
import uvloop

from bench import community, growth, live, machine, rounds, servers, settle
from bench.load import Unexpected
from bench.report import Report
from bench.servers import NotReady
from bench.stage import QUICK, Options, staged

OTHERS = {"live": live.measure, "growth": growth.measure, "community": community.measure, "settle": settle.measure}
MEASUREMENTS = (*rounds.RUNS, *OTHERS)


def main(
    seconds: Annotated[float | None, typer.Option(min=0.1, max=60, help="How long each run counts")] = None,
    number_of_rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, max=20, help="Runs of each kind")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"{', '.join(MEASUREMENTS)}; repeat for several")] = None,
    orders: Annotated[int | None, typer.Option(min=1000, max=5_000_000, help="Orders of a large sale")] = None,
    groups: Annotated[int | None, typer.Option(min=1, max=100_000, help="Groups that end in one second")] = None,
    clients: Annotated[int | None, typer.Option(min=1, max=4000, help="Live clients")] = None,
    quick: Annotated[
        bool, typer.Option(help="Only see whether everything works; the figures mean nothing")
    ] = False,
) -> None:
    """Measure the service beside an empty application, the usual endpoint and fastapi.sse.

    Starts and stops everything it needs: PostgreSQL with fsync, Valkey, the service, the yardsticks. Prints a
    table, and as its last line one JSON object with the medians.
    """
    for name in only or ():
        if name not in MEASUREMENTS:
            raise typer.BadParameter(f"--only {name}: there are {', '.join(MEASUREMENTS)}")
    given = {
        "seconds": seconds,
        "rounds": number_of_rounds,
        "orders": orders,
        "groups": groups,
        "clients": clients,
    }
    options = replace(
        QUICK if quick else Options(),
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    report = Report(quick=quick)
    servers.open_many_files()
    try:
        uvloop.run(_measure(options, report, only or list(MEASUREMENTS)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    report.print()
    if report.failures:
        raise typer.Exit(1)


async def _measure(options: Options, report: Report, wanted: list[str]) -> None:
    task = asyncio.current_task()
    if task is not None:  # so that everything is stopped also when we are told to
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="kaituan-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with staged(options, report, folder) as stage:
            with servers.valkey(folder) as valkey:
                report.facts = machine.facts(stage.cores, stage.postgresql, valkey)
            fsync = [machine.fsync_us(stage.postgresql.folder) for _ in range(options.rounds)]
            if in_rounds := [measurement for measurement in wanted if measurement in rounds.RUNS]:
                await attempt(report, ", ".join(in_rounds), rounds.measure(stage, in_rounds))
            for measurement, measure in OTHERS.items():
                if measurement in wanted:
                    await attempt(report, measurement, measure(stage))
            report.add("fsync_us", fsync, "µs", note="one durable write of 8 KB on the database's disk")


async def attempt(report: Report, name: str, measuring: Coroutine[None, None, None]) -> None:
    """Measure; what goes wrong takes only the figures along that it would have given."""
    try:
        await measuring
    except (Unexpected, NotReady, TimeoutError, OSError, asyncpg.PostgresError) as error:
        report.fail(name, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    cli.command()(main)
    cli()
