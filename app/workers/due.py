"""Work through rows that are due, a batch at a time; one that fails does not hold up the others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from sqlmodel.sql.expression import Select, SelectOfScalar

from app.domain.errors import UnavailableError
from app.state import State

log = logging.getLogger(__name__)
BATCH = 50
AT_ONCE = 5


async def work_through(
    state: State,
    now: datetime,
    due: SelectOfScalar[Any] | Select[Any, Any],
    act: Callable[..., Awaitable[bool]],
    at_once: int = AT_ONCE,
) -> int:
    """Call `act(state, id, now)` for up to 50 ids that `due` selects, and for as many more as fail: what always
    fails is not in the way of what comes after it. Returns how many acted.

    `act` must be a compare-and-set of its own: another worker may hold the same ids.
    """
    acted, passed_over = 0, 0
    gate = asyncio.Semaphore(at_once)

    async def run(id_: Any) -> bool | None:
        """Whether it acted; None when it failed."""
        async with gate:
            try:
                return await act(state, id_, now)
            except UnavailableError as error:
                log.warning("%s %s: %r; trying again", act.__name__, id_, error)
                return False
            except Exception:
                log.exception("%s %s", act.__name__, id_)
                return None

    while True:
        async with state.database.snapshot() as session:
            ids = (await session.exec(due.offset(passed_over).limit(BATCH))).all()
        outcomes = await asyncio.gather(*map(run, ids))
        acted += sum(map(bool, outcomes))
        failed = outcomes.count(None)
        passed_over += failed
        if not failed or acted >= BATCH or len(ids) < BATCH:
            return acted
