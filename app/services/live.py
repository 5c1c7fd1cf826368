"""What there is to see of a group for everybody, as the rows have it: the group, and its changes in order."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import and_, func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.models import Event, Group
from app.schemas.groups import Change
from app.schemas.live import Tick
from app.services import groups
from app.state import State

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


async def read_changes(state: State, group_id: str, after: int) -> Tick:
    """Of a group there is: its changes after an event id from the rows, at most `BATCH`."""
    async with state.database.snapshot() as session:
        newest = await read_newest(session, [group_id])
        return (await read_ticks(session, {group_id: after}, newest))[group_id]


async def read_newest(session: AsyncSession, group_ids: Collection[str]) -> dict[str, int]:
    """The id of the newest change of each of these groups there is."""
    newest = (
        select(func.coalesce(func.max(Event.id), 0))
        .where(Event.group_id == Group.id, col(Event.type).in_(PUBLIC_TYPES))
        .scalar_subquery()
    )
    found = await session.exec(select(Group.id, newest).where(col(Group.id).in_(group_ids)))
    return dict(found.all())


async def read_ticks(session: AsyncSession, after: Mapping[str, int], newest: Mapping[str, int]) -> dict[str, Tick]:
    """Groups as they are, with their changes after an event id each; of all of them together at most `BATCH`.

    `newest` are the ids of their newest changes, read in the same session.
    """
    shown = await groups.views(session, after)
    behind = [
        and_(col(Event.group_id) == group_id, col(Event.id) > known)
        for group_id, known in after.items()
        if known < newest[group_id]
    ]
    changes: defaultdict[str | None, list[Change]] = defaultdict(list)
    if behind:
        found = await session.exec(
            select(Event)
            .where(or_(*behind), col(Event.type).in_(PUBLIC_TYPES))
            .order_by(col(Event.id))
            .limit(BATCH),
        )
        for event in found.all():
            changes[event.group_id].append(
                Change(
                    id=event.id or 0,
                    type=PUBLIC_TYPES[event.type],
                    seat=event.data.get("seat"),
                    at=event.created_at,
                    group=shown[event.group_id or ""],
                )
            )
    return {
        group_id: Tick.of(shown[group_id], changes[group_id], known, newest[group_id])
        for group_id, known in after.items()
    }
