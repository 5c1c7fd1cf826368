"""What members are told: written in the transaction of what it tells, read in their inbox."""

from collections.abc import Iterable, Sequence

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import NoticeNotFound
from app.domain.notices import NoticeKind, worded
from app.domain.pushes import digest_text
from app.models import Community, Notice, Push
from app.schemas.notices import NoticePage, NoticePublic, UnreadPublic
from app.services.pages import read_page
from app.services.transactions import Work, transaction
from app.state import State

MOST_UNREAD = 100
"""Unread notices are counted up to here."""


def notify(
    work: Work,
    member_ids: Iterable[str],
    kind: NoticeKind,
    text: str,
    *,
    community_id: str | None = None,
    subject_id: str | None = None,
) -> None:
    """Tell members something that is not advertising: it takes no place of their day, and keeps no quiet hours. It
    is written with the events, at the end of the transaction.
    """
    work.notices += [
        Notice(
            member_id=member_id,
            kind=kind,
            text=text,
            community_id=community_id,
            subject_id=subject_id,
            created_at=work.now,
        )
        for member_id in member_ids
    ]


async def list_notices(
    state: State, member_id: str, *, unread: bool, zh: bool, after: str | None, limit: int
) -> NoticePage:
    """What a member was told, newest first, in their language; and how much of it they have not read."""
    statement = select(Notice).where(Notice.member_id == member_id)
    if unread:
        statement = statement.where(col(Notice.read_at).is_(None))
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Notice, statement, after, limit)
        texts = {row.id: row.text for row in rows} | await _read_digests(session, rows)
        waiting = await _count_unread(session, member_id)
    items = [
        NoticePublic.model_validate(row.model_dump() | {"text": worded(row.kind, texts[row.id], zh=zh)})
        for row in rows
    ]
    return NoticePage(items=items, next=following, unread=waiting)


async def read_notices(state: State, member_id: str, notice_id: str) -> UnreadPublic:
    """Mark a member's notices as read, up to and with this one. Again changes nothing. Raises `NoticeNotFound`,
    also for somebody else's.
    """
    async with transaction(state, state.clock()) as work:
        newest = await work.session.get(Notice, notice_id)
        if newest is None or newest.member_id != member_id:
            raise NoticeNotFound
        await work.session.exec(
            update(Notice)
            .where(col(Notice.member_id) == member_id, col(Notice.id) <= notice_id, col(Notice.read_at).is_(None))
            .values(read_at=work.now)
            .execution_options(synchronize_session=False),
        )
        return UnreadPublic(unread=await _count_unread(work.session, member_id))


async def _read_digests(session: AsyncSession, rows: Sequence[Notice]) -> dict[str, str]:
    """What the digests among these notices say, by their ids: they keep the ids of pushes."""
    pushes = {row.id: row.text.split() for row in rows if row.kind == NoticeKind.DIGEST}
    if not pushes:
        return {}
    found = await session.exec(
        select(Push.id, Community.name, Push.text)
        .join(Community, col(Community.id) == Push.community_id)
        .where(col(Push.id).in_({push_id for ids in pushes.values() for push_id in ids}), Push.text != ""),
    )
    lines = {push_id: (name, text) for push_id, name, text in found.all()}
    return {id_: digest_text([lines[one] for one in ids if one in lines]) for id_, ids in pushes.items()}


async def _count_unread(session: AsyncSession, member_id: str) -> int:
    waiting = select(Notice.id).where(Notice.member_id == member_id, col(Notice.read_at).is_(None))
    return (await session.exec(select(func.count()).select_from(waiting.limit(MOST_UNREAD).subquery()))).one()
