"""Words that operators put on members who have agreed to that; members see them, and may have them taken off."""

from collections.abc import Sequence

from sqlmodel import col, select

from app.domain.errors import ConsentMissing, MemberNotFound
from app.domain.segments import Consented
from app.models import Consent, Member, Tag
from app.schemas.facts import TagsPublic
from app.services.facts import forget_tags, keep_row
from app.services.locks import lock_facts
from app.services.transactions import transaction
from app.state import State


async def put_tags(state: State, member_id: str, tags: Sequence[str]) -> TagsPublic:
    """Let these be the operators' words on a member. Raises `MemberNotFound`, `ConsentMissing`."""
    async with transaction(state, state.clock()) as work:
        if await work.session.get(Member, member_id) is None:
            raise MemberNotFound
        await keep_row(work, member_id)
        await lock_facts(work.session, [member_id])  # a consent is not withdrawn meanwhile
        if tags and await work.session.get(Consent, (member_id, Consented.TAGS)) is None:
            raise ConsentMissing(fact=Consented.TAGS)
        await forget_tags(work, member_id, own=False)
        for tag in dict.fromkeys(tags):
            work.session.add(Tag(member_id=member_id, tag=tag, own=False, created_at=work.now))
        work.record("tags.put", member_id, member_id=member_id)
    return await get_tags(state, member_id)


async def get_tags(state: State, member_id: str) -> TagsPublic:
    """The operators' words on a member. Raises `MemberNotFound`."""
    async with state.database.snapshot() as session:
        if await session.get(Member, member_id) is None:
            raise MemberNotFound
        found = await session.exec(
            select(Tag.tag).where(Tag.member_id == member_id, col(Tag.own).is_(False)).order_by(Tag.tag),
        )
        return TagsPublic(member_id=member_id, tags=list(found.all()))
