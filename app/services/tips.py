"""Tips (打赏): from one member's balance to another's."""

from sqlalchemy import func
from sqlmodel import col, select

from app.domain.errors import IdempotencyKeyReused, MemberNotFound, SelfTip, TipLimit, TokenInvalid
from app.domain.ledger import AccountKey, AccountKind, TransferKind
from app.domain.tips import DAILY_TIPS
from app.models import Member, Tip
from app.schemas.tips import TipCreate, TipPublic
from app.services import ledger
from app.services.locks import lock_member
from app.services.transactions import transaction
from app.state import State


async def tip(state: State, sender_id: str, receiver_id: str, body: TipCreate, request_key: str) -> TipPublic:
    """Give a member a tip; the same key gives it once. Raises `MemberNotFound`, `SelfTip`, `TipLimit`,
    `BalanceTooLow`, `IdempotencyKeyReused`.
    """
    if sender_id == receiver_id:
        raise SelfTip
    async with transaction(state, state.clock()) as work:
        if await lock_member(work.session, sender_id) is None:
            raise TokenInvalid
        if await work.session.get(Member, receiver_id) is None:
            raise MemberNotFound
        found = await work.session.exec(
            select(Tip).where(Tip.sender_id == sender_id, Tip.request_key == request_key),
        )
        given = found.one_or_none()
        wanted = body.model_dump() | {"receiver_id": receiver_id}
        if given is not None:
            if given.model_dump(include=set(wanted)) != wanted:
                raise IdempotencyKeyReused
            return TipPublic.model_validate(given, from_attributes=True)
        day = work.now.date()
        last = await work.session.exec(
            select(func.coalesce(func.max(Tip.number), 0)).where(Tip.sender_id == sender_id, col(Tip.day) == day),
        )
        number = last.one() + 1
        if number > DAILY_TIPS:
            raise TipLimit(limit=DAILY_TIPS)
        new = Tip(
            **wanted, sender_id=sender_id, day=day, number=number, created_at=work.now, request_key=request_key
        )
        work.session.add(new)
        await work.session.flush()
        source = AccountKey(sender_id, AccountKind.BALANCE, body.currency)
        entries = await ledger.crediting(work, source, receiver_id, body.amount)
        await ledger.post(work, TransferKind.TIP, f"{TransferKind.TIP} {new.id}", entries, subject=new.id)
        work.record("tip.given", new.id, member_id=receiver_id, sender_id=sender_id, amount=body.amount)
    return TipPublic.model_validate(new, from_attributes=True)
