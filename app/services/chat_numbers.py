"""What offers, groups and bargains are called in the chats of a community: numbers, given once and for ever."""

from collections.abc import Collection

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import Busy
from app.models import ChatNumber
from app.services.transactions import Work, transaction
from app.state import State

TRIES = 100


async def number_all(state: State, community_id: str, subjects: Collection[str]) -> dict[str, int]:
    """The numbers of these in a community's chats, by their ids; what has none gets the next. Raises `Busy`."""
    async with state.database.snapshot() as session:
        known = await _read(session, community_id, subjects)
    missing = [subject for subject in subjects if subject not in known]
    if not missing:
        return known
    async with transaction(state, state.clock()) as work:
        return known | {subject: await _take(work, community_id, subject) for subject in missing}


async def find_subject(session: AsyncSession, community_id: str, number: int) -> str | None:
    """What has this number in a community's chats."""
    row = await session.get(ChatNumber, (community_id, number))
    return None if row is None else row.subject


async def _read(session: AsyncSession, community_id: str, subjects: Collection[str]) -> dict[str, int]:
    found = await session.exec(
        select(ChatNumber.subject, ChatNumber.number).where(
            ChatNumber.community_id == community_id, col(ChatNumber.subject).in_(subjects)
        ),
    )
    return dict(found.all())


async def _take(work: Work, community_id: str, subject: str) -> int:
    """The number of a subject, or the first that is free. Whoever was faster has left another."""
    here = ChatNumber.community_id == community_id
    for _ in range(TRIES):
        last = (await work.session.exec(select(func.max(ChatNumber.number)).where(here))).one() or 0
        taken = await work.session.exec(
            work.database.insert_unless_there(ChatNumber)
            .values(community_id=community_id, number=last + 1, subject=subject)
            .returning(col(ChatNumber.number)),
        )
        if taken.first() is not None:
            return last + 1
        if known := await _read(work.session, community_id, [subject]):
            return known[subject]
    raise Busy
