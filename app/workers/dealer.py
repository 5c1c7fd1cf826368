"""Keep Redis in step with the rows: return the places of dead claims, repeat words that were lost, and load
sales anew when Redis is another server than before, or lost its data.
"""

import logging
from datetime import datetime

from app.services import dealing
from app.state import State

log = logging.getLogger(__name__)


async def start(state: State) -> None:
    """Forget what Redis has: nobody compared it with the rows while no worker ran."""
    for sale_id in await dealing.selling_sales(state):
        await state.dealer.forget(sale_id)


async def run_once(state: State, now: datetime) -> int:
    """Returns how many places and counters had to be mended."""
    mended = 0
    sale_ids = await dealing.selling_sales(state)
    if await state.dealer.is_new_server():
        log.info("Redis is another server than before: loading %d sales from the rows", len(sale_ids))
        for sale_id in sale_ids:
            await state.dealer.forget(sale_id)
        await state.dealer.remember_server()
    for sale_id in sale_ids:
        if await state.dealer.is_loaded(sale_id):
            mended += await dealing.reap(state, sale_id, now) + await dealing.sync(state, sale_id, now)
        else:
            await dealing.load(state, sale_id, now)
    return mended
