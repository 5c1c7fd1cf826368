"""Keep Redis in step with the rows: return the places of dead claims, repeat words that were lost, and load
sales anew when Redis is another server than before, lost its data, or was out of reach for a while.
"""

import logging
from datetime import datetime

from app.services import dealing
from app.state import State

log = logging.getLogger(__name__)
LEFT_ALONE_SECONDS = dealing.SYNC_WINDOW.total_seconds() / 2
"""After a longer pause than this, changes may have slipped out of the window that is compared."""


async def run_once(state: State, now: datetime) -> int:
    """Returns how many places and counters had to be mended."""
    mended = 0
    server = await state.dealer.server()  # as it was before it was compared: what happens meanwhile counts as new
    sale_ids = await dealing.selling_sales(state)
    if await state.dealer.was_left_alone(server, now, LEFT_ALONE_SECONDS):
        log.info("Redis may have old data: loading %d sales from the rows", len(sale_ids))
        for sale_id in sale_ids:
            await state.dealer.forget(sale_id)
    for sale_id in sale_ids:
        if await state.dealer.is_loaded(sale_id):
            mended += await dealing.reap(state, sale_id, now) + await dealing.sync(state, sale_id, now)
            if await state.dealer.is_unsure(sale_id, now):
                await dealing.load(state, sale_id, now, sure=True)
        else:
            await dealing.load(state, sale_id, now)
    await state.dealer.note_watch(server, now)
    return mended
