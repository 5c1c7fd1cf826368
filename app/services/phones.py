"""Members' phone numbers: sealed, shown masked, and found by whoever knows the whole of one."""

from sqlalchemy import delete
from sqlmodel import col, select

from app.domain.errors import ProviderDisabled, TokenInvalid
from app.domain.members import MarkKind
from app.domain.phones import mask_number
from app.models import Member, Phone
from app.schemas.fields import MAX_PAGE, Page
from app.schemas.phones import MemberFound, PhonePublic
from app.services.locks import lock_member
from app.services.marks import mark
from app.services.numbers import number_digest, seal_number
from app.services.transactions import Work, transaction
from app.state import State


async def keep(state: State, work: Work, member_id: str, provider: str, number: str) -> None:
    """Keep a number in E.164 as the member's only one, as `provider` says; of nobody who was erased."""
    if await lock_member(work.session, member_id) is None:
        return
    await work.session.exec(delete(Phone).where(col(Phone.member_id) == member_id))
    work.session.add(
        Phone(
            member_id=member_id,
            number=seal_number(state, member_id, number),
            digest=number_digest(state, number),
            provider=provider,
            created_at=work.now,
        ),
    )
    await mark(state, work, member_id, MarkKind.PHONE, number)


async def set_phone(state: State, member_id: str, provider: str, code: str) -> PhonePublic:
    """Keep the number that a provider confirms as the member's.

    Raises `TokenInvalid` when there is no such member, `ProviderDisabled`, `LoginRefused`, `LoginUnavailable`.
    """
    asked = state.phones.get(provider)
    if asked is None:
        raise ProviderDisabled
    number = await asked.confirm_phone(code, state.clock())
    async with transaction(state, state.clock()) as work:
        if await lock_member(work.session, member_id) is None:
            raise TokenInvalid
        await keep(state, work, member_id, provider, number)
    return PhonePublic(number=mask_number(number))


async def forget_phone(state: State, member_id: str) -> None:
    """Keep a member's number no more; also when there is none."""
    async with transaction(state, state.clock()) as work:
        await work.session.exec(delete(Phone).where(col(Phone.member_id) == member_id))


async def find_members(state: State, number: str) -> Page[MemberFound]:
    """Whose number this is, oldest first, a hundred at most."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Member)
            .join(Phone, col(Phone.member_id) == Member.id)
            .where(Phone.digest == number_digest(state, number), col(Member.erased_at).is_(None))
            .order_by(col(Member.id))
            .limit(MAX_PAGE),
        )
        rows = found.all()
    return Page(
        items=[
            MemberFound(id=row.id, name=row.name, phone=mask_number(number), created_at=row.created_at)
            for row in rows
        ]
    )
