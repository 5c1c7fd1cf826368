"""The loop that runs the jobs: each as often as it says, again at once while it finds a full batch of work."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from app.domain.errors import UnavailableError
from app.gateways.database import is_outage
from app.state import State
from app.workers import (
    bargains,
    causes,
    communities,
    days,
    dealer,
    deliveries,
    endpoints,
    erasure,
    facts,
    groups,
    holds,
    lines,
    memberships,
    memories,
    messages,
    payments,
    payouts,
    pushes,
    reconciliations,
    refunds,
    reminders,
    retention,
    rewards,
    robots,
    sales,
    sandbox,
)

log = logging.getLogger(__name__)
AFTER_OUTAGE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """A `run_once(state, now)` that returns how much it did, and how long to pause when that was little."""

    name: str
    run_once: Callable[[State, datetime], Awaitable[int]]
    every_seconds: float


JOBS = [
    Job("sales", sales.run_once, 0.5),
    Job("holds", holds.run_once, 0.5),
    Job("groups", groups.run_once, 0.5),
    Job("bargains", bargains.run_once, 0.5),
    Job("lines", lines.run_once, 0.5),
    Job("payments", payments.run_once, 1.0),
    Job("refunds", refunds.run_once, 0.5),
    Job("causes", causes.run_once, 0.5),
    Job("facts", facts.run_once, 0.5),
    Job("rewards", rewards.run_once, 1.0),
    Job("payouts", payouts.run_once, 1.0),
    Job("messages", messages.run_once, 0.2),
    Job("reconciliations", reconciliations.run_once, 5.0),
    Job("reminders", reminders.run_once, 0.5),
    Job("memberships", memberships.run_once, 0.5),
    Job("communities", communities.run_once, 1.0),
    Job("memories", memories.run_once, 5.0),
    Job("pushes", pushes.run_once, 1.0),
    Job("robots", robots.run_once, 0.5),
    Job("endpoints", endpoints.run_once, 0.5),
    Job("deliveries", deliveries.run_once, 0.5),
    Job("days", days.run_once, 1.0),
    Job("erasure", erasure.run_once, 1.0),
    Job("retention", retention.run_once, 3600.0),
    Job("dealer", dealer.run_once, 2.0),
]
SANDBOX_JOB = Job("sandbox", sandbox.run_once, 0.2)
FULL_BATCH = 50


@asynccontextmanager
async def running_workers(state: State) -> AsyncIterator[None]:
    """Run every job in the background for the time of the context."""
    jobs = [*JOBS, SANDBOX_JOB] if state.settings.has_sandbox else JOBS
    tasks = [asyncio.create_task(_run(state, job), name=f"worker {job.name}") for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(state: State, job: Job) -> None:
    while True:
        pause = job.every_seconds
        try:
            if await job.run_once(state, state.clock()) >= FULL_BATCH:
                pause = 0
        except Exception as error:
            # A worker outlives whatever happens to it: the rows it could not do are still due.
            pause = AFTER_OUTAGE_SECONDS
            if isinstance(error, UnavailableError) or is_outage(error):
                log.warning("worker %s: %r; trying again", job.name, error)
            else:
                log.exception("worker %s", job.name)
        await asyncio.sleep(pause)
