"""Work through rows that are due, a batch at a time; one that fails does not hold up the others."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from sqlmodel.sql.expression import SelectOfScalar

from app.domain.errors import UnavailableError
from app.state import State

log = logging.getLogger(__name__)
BATCH = 50
AT_ONCE = 5


async def work_through(
    state: State,
    now: datetime,
    due: SelectOfScalar[Any],
    act: Callable[..., Awaitable[bool]],
    at_once: int = AT_ONCE,
) -> int:
    """Call `act(state, id, now)` for up to 50 ids that `due` selects. Returns how many acted.

    `act` must be a compare-and-set of its own: another worker may hold the same ids.
    """
    async with state.database.snapshot() as session:
        ids = (await session.exec(due.limit(BATCH))).all()
    gate = asyncio.Semaphore(at_once)

    async def run(id_: Any) -> bool:
        async with gate:
            try:
                return await act(state, id_, now)
            except UnavailableError as error:
                log.warning("%s %s: %r; trying again", act.__name__, id_, error)
                return False
            except Exception:
                log.exception("%s %s", act.__name__, id_)
                return False

    return sum(await asyncio.gather(*map(run, ids)))
