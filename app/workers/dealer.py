"""Keep Redis in step with the rows: return the places of dead claims, repeat words that were lost, and load
sales anew when Redis is another server than before, lost its data, or was out of reach for a while.
"""

import logging
from datetime import datetime

from app.domain.errors import Busy, DealerUnavailable
from app.gateways.database import is_outage
from app.services import dealing
from app.state import State

log = logging.getLogger(__name__)


async def run_once(state: State, now: datetime) -> int:
    """Returns how many places and counters had to be mended."""
    server = await state.dealer.server()  # as it was before it was compared: what happens meanwhile counts as new
    if not await state.dealer.is_noted(server):
        sale_ids = await dealing.kept_sales(state, now)
        log.info("Redis may have old data: loading %d sales from the rows", len(sale_ids))
        for sale_id in sale_ids:
            await state.dealer.forget(sale_id)
        await state.dealer.note(server)
    sales = await dealing.selling_sales(state)
    return sum([await _compare(state, sale_id, undealt) for sale_id, undealt in sales.items()])


async def _compare(state: State, sale_id: str, undealt: int) -> int:
    now = state.clock()  # those before it may have taken long
    try:
        if await state.dealer.undealt(sale_id) != undealt:
            await dealing.load(state, sale_id, now)
            return 0
        mended = await dealing.reap(state, sale_id, now) + await dealing.sync(state, sale_id, now)
        if await state.dealer.is_unsure(sale_id, now):
            await dealing.load(state, sale_id, now, sure=True)
    except Exception as error:
        if isinstance(error, DealerUnavailable) or is_outage(error):
            raise
        if not isinstance(error, Busy):  # somebody else is loading it
            log.exception("sale %s", sale_id)
        return 0
    return mended
