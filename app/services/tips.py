"""Tips (打赏): from one member's balance to another's."""

from sqlalchemy import func
from sqlmodel import col, select

from app.domain.errors import IdempotencyKeyReused, InvalidTerms, MemberNotFound, SelfTip, TipLimit, TokenInvalid
from app.domain.ledger import AccountKey, AccountKind, TransferKind
from app.domain.memberships import Action
from app.domain.tips import DAILY_TIPS
from app.models import Comment, Community, Job, Post, Tip
from app.schemas.tips import TipCreate, TipPublic
from app.services import ledger
from app.services.activity import acted
from app.services.days import note_day
from app.services.encounters import meet
from app.services.locks import lock_member
from app.services.members import find_member
from app.services.mentions import check_members
from app.services.standing import require
from app.services.transactions import Work, transaction
from app.state import State


async def tip(state: State, sender_id: str, receiver_id: str, body: TipCreate, request_key: str) -> TipPublic:
    """Give a member a tip, perhaps for what they did in a community; the same key gives it once. Raises
    `MemberNotFound`, `SelfTip`, `TipLimit`, `BalanceTooLow`, `IdempotencyKeyReused`, and of a community
    `CommunityNotFound`, `MemberBlocked`, `NotAllowed`, `CommunityNotOpen`, `InvalidTerms`.
    """
    if sender_id == receiver_id:
        raise SelfTip
    async with transaction(state, state.clock()) as work:
        community = await _enter(work, sender_id, receiver_id, body)
        if await lock_member(work.session, sender_id) is None:
            raise TokenInvalid
        if await find_member(work.session, receiver_id) is None:
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
        if community is not None:
            await meet(work, community, sender_id, receiver_id)
            await note_day(work, community)
        work.record(
            "tip.given",
            new.id,
            member_id=receiver_id,
            community_id=body.community_id,
            sender_id=sender_id,
            amount=body.amount,
        )
    return TipPublic.model_validate(new, from_attributes=True)


async def _enter(work: Work, sender_id: str, receiver_id: str, body: TipCreate) -> Community | None:
    """The community in which a tip is given. What it is for is the receiver's, or a job that they have or did."""
    if body.community_id is None:
        return None
    place = await require(work.session, body.community_id, sender_id, Action.TAKE_PART, writes=True)
    await acted(work, body.community_id, sender_id)
    await check_members(work.session, body.community_id, [receiver_id])
    if body.subject_id is not None:
        row: Post | Comment | None = await work.session.get(Post, body.subject_id)
        row = row or await work.session.get(Comment, body.subject_id)
        job = await work.session.get(Job, body.subject_id)
        theirs = row is not None and receiver_id in {row.author_id, job and job.holder_id}
        if row is None or row.community_id != body.community_id or not theirs:
            raise InvalidTerms(field="subject_id", reason="is nothing that this member did there")
    return place.community
