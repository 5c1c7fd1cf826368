"""Send what is due to endpoints: each at its own pace, so that none waits for another that hangs."""

import asyncio
from datetime import datetime

from sqlmodel import col, select

from app.models import Lane
from app.services.deliveries import deliver, find_ready
from app.state import State
from app.workers.due import work_through

LOOK_AGAIN_SECONDS = 0.5


async def run_once(state: State, _now: datetime) -> int:
    """Returns how many attempts were made. It comes to its end when no endpoint has anything due; one for which
    nothing could be done is not looked at again before.
    """
    made, running = 0, dict[str, asyncio.Task[int]]()
    idle: set[str] = set()
    try:
        while True:
            for id_ in await find_ready(state, state.clock()):
                if id_ not in running and id_ not in idle:
                    running[id_] = asyncio.create_task(_send_to(state, id_))
            if not running:
                return made
            await asyncio.wait(running.values(), timeout=LOOK_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for id_, task in [*running.items()]:
                if task.done():
                    del running[id_]
                    made += task.result()
                    if not task.result():
                        idle.add(id_)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


async def _send_to(state: State, endpoint_id: str) -> int:
    """What failed most comes first: it keeps the times of its retries, whatever else waits."""
    now = state.clock()
    due = (
        select(Lane.endpoint_id, Lane.subject)
        .where(Lane.endpoint_id == endpoint_id, col(Lane.due_at) <= now)
        .order_by(col(Lane.failures).desc(), col(Lane.due_at))
    )
    return await work_through(state, now, due, _deliver)


async def _deliver(state: State, lane: tuple[str, str], _now: datetime) -> bool:
    endpoint_id, subject = lane
    return await deliver(state, endpoint_id, subject)
