"""What members see and change of themselves."""

from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import TokenInvalid
from app.domain.phones import mask_number
from app.models import Member, Phone
from app.schemas.members import MemberMe, MemberUpdate
from app.services.numbers import read_number
from app.services.transactions import transaction
from app.state import State


async def find_member(session: AsyncSession, member_id: str) -> Member | None:
    """A member who is there, and was not erased."""
    member = await session.get(Member, member_id)
    return None if member is None or member.erased_at is not None else member


async def get_me(state: State, member_id: str) -> MemberMe:
    """A member. Raises `TokenInvalid` when there is no such member."""
    async with state.database.snapshot() as session:
        member, phone = await session.get(Member, member_id), await session.get(Phone, member_id)
    if member is None:
        raise TokenInvalid
    number = None if phone is None else read_number(state, phone)
    return MemberMe.model_validate(member.model_dump() | {"phone": None if number is None else mask_number(number)})


async def update_me(state: State, member_id: str, body: MemberUpdate) -> MemberMe:
    """Change what the body names. Raises `TokenInvalid` when there is no such member."""
    async with transaction(state, state.clock()) as work:
        await work.session.exec(
            update(Member).where(col(Member.id) == member_id).values(seen_by_friends=body.seen_by_friends),
        )
    return await get_me(state, member_id)
