"""The feed of events: everything that happened, once, in one order."""

import asyncio
from collections.abc import Collection, Sequence
from time import monotonic

from sqlmodel import col, select

from app.models import Event
from app.schemas.events import EventPage, event_public
from app.state import State

SPAN = 100_000
"""How many ids are looked through at once for events of some types."""
PAUSE_SECONDS = 0.5
"""Between two looks of somebody who waits."""


async def read_horizon(state: State) -> int:
    """The id up to which every event is settled: no transaction that is still on its way will add one below it."""
    return await state.horizon.read()


async def read_events(
    state: State, after: int, *, types: Collection[str] = (), limit: int = 100
) -> tuple[Sequence[Event], int]:
    """Up to `limit` settled events behind `after`, in the order of their ids, of these types or all; and the id to
    go on behind, which passes over what has other types, at most `SPAN` ids at a time.
    """
    found, next_, _ = await _read(state, after, types, limit)
    return found, next_


async def read_page(state: State, after: int, types: Collection[str], limit: int, wait: float) -> EventPage:
    """A page of the feed. While there is nothing to show, look again for so many seconds."""
    until = monotonic() + wait
    while True:
        found, after, settled = await _read(state, after, types, limit)
        left = until - monotonic()
        if found or left <= 0 or state.live.closing:
            return EventPage(items=list(map(event_public, found)), next=after, settled=settled)
        if after >= settled:
            await asyncio.sleep(min(left, PAUSE_SECONDS))


async def _read(state: State, after: int, types: Collection[str], limit: int) -> tuple[Sequence[Event], int, int]:
    """As `read_events`, and the horizon."""
    settled = await read_horizon(state)
    upto = max(after, min(settled, after + SPAN))
    wanted = select(Event).where(col(Event.id) > after, col(Event.id) <= upto)
    if types:
        wanted = wanted.where(col(Event.type).in_(types))
    async with state.database.snapshot() as session:  # begun after the horizon was read
        found = (await session.exec(wanted.order_by(col(Event.id)).limit(limit))).all()
    if len(found) == limit and found[-1].id is not None:
        return found, found[-1].id, settled
    return found, upto, settled
