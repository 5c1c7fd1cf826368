"""Mentions: members whom a post or a comment names, and who are told."""

from collections.abc import Collection

from sqlalchemy import delete, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import MemberNotFound
from app.domain.memberships import MembershipState
from app.domain.notices import NoticeKind
from app.models import Membership, Mention
from app.services.notices import notify
from app.services.transactions import Work

MENTIONED = "有人提到了您 You were mentioned"


async def check_members(session: AsyncSession, community_id: str, member_ids: Collection[str]) -> None:
    """Raise `MemberNotFound` unless all of these belong to a community."""
    found = await session.exec(
        select(func.count())
        .select_from(Membership)
        .where(
            Membership.community_id == community_id,
            col(Membership.member_id).in_(member_ids),
            Membership.state == MembershipState.ACTIVE,
        ),
    )
    if found.one() < len(member_ids):
        raise MemberNotFound


def mention(work: Work, community_id: str, subject_id: str, member_ids: Collection[str]) -> None:
    """Note whom a post or a comment names, and tell them."""
    work.session.add_all(Mention(subject_id=subject_id, member_id=member_id) for member_id in member_ids)
    notify(work, member_ids, NoticeKind.MENTION, MENTIONED, community_id=community_id, subject_id=subject_id)


async def forget_mentions(work: Work, subject_ids: Collection[str]) -> None:
    """Name nobody any more in what was taken back."""
    await work.session.exec(delete(Mention).where(col(Mention.subject_id).in_(subject_ids)))
