"""Keep Redis in step with the rows: return the places of dead claims, repeat words that were lost, and load
sales anew when Redis is another server than before, lost its data, or was out of reach for a while.
"""

import logging
from datetime import datetime

from app.domain.errors import Busy, DealerUnavailable
from app.gateways.database import is_outage
from app.gateways.dealer import IN_FLIGHT
from app.services import dealing, lines
from app.services.dealing import ToCompare
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
    return sum([await _try(state, sale) for sale in await dealing.compared_sales(state, now)])


async def _try(state: State, sale: ToCompare) -> int:
    """Keep a sale in step, and outlive what is wrong with it."""
    try:
        return await _compare(state, sale)
    except Exception as error:
        if isinstance(error, DealerUnavailable) or is_outage(error):
            raise
        if not isinstance(error, Busy):  # somebody else is loading it
            log.exception("sale %s", sale.id)
        return 0


async def _compare(state: State, sale: ToCompare) -> int:
    now = state.clock()  # those before it may have taken long
    loaded = await state.dealer.loaded(sale.id)
    if loaded is None and not sale.selling:
        return 0
    if loaded is None or loaded.version != sale.version:  # the word of a change was lost
        await dealing.load(state, sale.id, now)
        return 0
    mended = await dealing.reap(state, sale.id, now) + await dealing.sync(state, sale.id, now)
    if loaded.lines:
        await lines.tell(state, sale.id, now)
    if loaded.undealt < sale.undealt and loaded.at + dealing.RELOAD_EVERY > now:
        await state.dealer.make_unsure(sale.id)
    elif loaded.undealt < sale.undealt:
        await dealing.load(state, sale.id, now)
    elif not loaded.sure and loaded.at + IN_FLIGHT < now:
        # Claims that Redis had lost before it was loaded have their rows by now, or are dead.
        await dealing.load(state, sale.id, now, sure=True)
    return mended
