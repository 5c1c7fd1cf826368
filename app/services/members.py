"""What members see and change of themselves."""

from sqlalchemy import update
from sqlmodel import col

from app.domain.errors import TokenInvalid
from app.models import Member
from app.schemas.members import MemberMe, MemberUpdate
from app.services.transactions import transaction
from app.state import State


async def get_me(state: State, member_id: str) -> MemberMe:
    """A member. Raises `TokenInvalid` when there is no such member."""
    async with state.database.snapshot() as session:
        member = await session.get(Member, member_id)
    if member is None:
        raise TokenInvalid
    return MemberMe.model_validate(member, from_attributes=True)


async def update_me(state: State, member_id: str, body: MemberUpdate) -> MemberMe:
    """Change what the body names. Raises `TokenInvalid` when there is no such member."""
    async with transaction(state, state.clock()) as work:
        await work.session.exec(
            update(Member).where(col(Member.id) == member_id).values(seen_by_friends=body.seen_by_friends),
        )
    return await get_me(state, member_id)
