"""Watching a group fill: what it is, then every change, in order, from wherever one left off."""

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.groups import FINAL_GROUP_STATES
from app.models import Event
from app.schemas.groups import Change, Changes
from app.services import groups
from app.state import State

LOOK_SECONDS = 1.0
"""How often a watcher looks by itself, in case the word of a change was lost."""
BATCH = 200
PUBLIC_TYPES = {
    "group.opened": "group.opened",
    "group.filled": "group.filled",
    "group.reopened": "group.reopened",
    "group.leader_changed": "group.leader_changed",
    "group.succeeded": "group.succeeded",
    "group.failed": "group.failed",
    "order.held": "seat.held",
    "order.paid": "seat.paid",
    "order.expired": "seat.released",
    "order.cancelled": "seat.released",
    "order.refunding": "seat.released",
}
"""Which events a stranger may see of a group, and what they are called there."""


async def read_changes(state: State, group_id: str, after: int | None) -> Changes:
    """The group as it is, and its changes after an event id; None: only the group, from now on.

    An id from the future (of a database that was set back) counts as the newest. Raises `GroupNotFound`.
    """
    async with state.database.snapshot() as session:
        group = await groups.view(session, group_id, None)
        newest = await _newest(session, group_id)
        events = [] if after is None else await _events(session, group_id, after)
    changes = [
        Change(
            id=event.id or 0,
            type=PUBLIC_TYPES[event.type],
            seat=event.data.get("seat"),
            at=event.created_at,
            group=group,
        )
        for event in events
    ]
    return Changes(
        group=group,
        changes=changes,
        after=changes[-1].id if changes else newest,
        final=group.state in FINAL_GROUP_STATES and len(events) < BATCH,
    )


async def wait_changes(state: State, group_id: str, after: int | None, wait_seconds: float) -> Changes:
    """As `read_changes`, but when there is nothing new, wait for it that long. Raises `GroupNotFound`."""
    give_up_at = asyncio.get_running_loop().time() + wait_seconds
    async with state.live.listen(group_id) as changed:
        while True:
            changed.clear()
            found = await _look(state, group_id, after)
            left = give_up_at - asyncio.get_running_loop().time()
            if after is None or found.changes or found.final or left <= 0 or state.live.closing:
                return found
            after = found.after
            await _wait(changed, min(left, LOOK_SECONDS))


async def watch(state: State, group_id: str, after: int | None) -> AsyncIterator[Changes]:
    """The group, then its changes as they happen, until it is final, the stream has lived long enough, or the
    process is about to stop.

    The caller has checked that there is such a group.
    """
    end_at = asyncio.get_running_loop().time() + state.settings.live_stream_seconds
    async with state.live.listen(group_id) as changed:
        while True:
            changed.clear()
            found = await _look(state, group_id, after)
            yield found
            after = found.after
            if found.final or state.live.closing or asyncio.get_running_loop().time() >= end_at:
                return
            if len(found.changes) < BATCH:
                await _wait(changed, LOOK_SECONDS)


async def _look(state: State, group_id: str, after: int | None) -> Changes:
    """Read in a task of its own: a watcher who leaves is cancelled, and must not take a connection in use along."""
    looking = asyncio.create_task(read_changes(state, group_id, after))
    return await asyncio.shield(looking)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        pass


async def _events(session: AsyncSession, group_id: str, after: int) -> list[Event]:
    found = await session.exec(
        select(Event)
        .where(Event.group_id == group_id, col(Event.id) > after, col(Event.type).in_(PUBLIC_TYPES))
        .order_by(col(Event.id))
        .limit(BATCH),
    )
    return list(found.all())


async def _newest(session: AsyncSession, group_id: str) -> int:
    found = await session.exec(select(func.max(Event.id)).where(Event.group_id == group_id))
    return found.one() or 0
