"""A claim: deal the places, commit them, answer. The way of every order into the system.

1. The dealer hands out place numbers (`dealing.deal`), or refuses; a refusal changes nothing.
2. One transaction inserts the order and its places (`places.take`). Their keys refuse a number that somebody
   has; then the dealer was wrong, the sale is loaded from the rows, and the claim is dealt again.
3. The answer is stored in the order row, so that the same Idempotency-Key gets the same answer for ever.

A process that dies between 1 and 2 leaves places that no order holds; `dealing.reap` gives them back.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain.errors import (
    AmountTooLarge,
    Busy,
    DealerUnavailable,
    GroupClosed,
    GroupNotFound,
    IdempotencyKeyReused,
    InviteNotFound,
    KaituanError,
    OfferNotFound,
    OfferNotInGroup,
    SaleNotFound,
    TokenInvalid,
)
from app.domain.groups import FINAL_GROUP_STATES, GroupState, group_deadline, next_state
from app.domain.invites import check_invite
from app.domain.money import MAX_AMOUNT, order_amount
from app.domain.orders import OrderState, hold_deadline
from app.domain.sales import SaleState, check_open, check_quantity
from app.gateways.dealer import Claim, ClaimRequest
from app.models import Group, Invite, Member, Offer, Order, Sale, new_id
from app.schemas.groups import ClaimAnswer, ClaimCreate
from app.schemas.orders import OrderPublic
from app.services import dealing, groups
from app.services.groups import Seated
from app.services.locks import lock_group
from app.services.places import record_order, take
from app.services.transactions import Work, transaction
from app.state import State

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class _Claimant:
    """Who claims what, and under which rules."""

    member: Member
    sale: Sale
    offer: Offer
    group: Group | None
    body: ClaimCreate
    invite: Invite | None
    request_key: str
    request_hash: str


async def open_group(
    state: State, member_id: str, sale_id: str, body: ClaimCreate, request_key: str
) -> ClaimAnswer:
    """Open a group in a sale and take its first seat. Raises the refusals of `dealing.deal` and of the sale's
    rules, `SaleNotFound`, `OfferNotFound`, `InviteNotFound`, `IdempotencyKeyReused`, `Busy`.
    """
    return await _claim(state, member_id, sale_id, None, body, request_key)


async def join(state: State, member_id: str, group_id: str, body: ClaimCreate, request_key: str) -> ClaimAnswer:
    """Take a seat in a group. Raises what `open_group` raises, and `GroupNotFound`, `GroupClosed`,
    `OfferNotInGroup`.
    """
    return await _claim(state, member_id, None, group_id, body, request_key)


async def _claim(
    state: State,
    member_id: str,
    sale_id: str | None,
    group_id: str | None,
    body: ClaimCreate,
    request_key: str,
) -> ClaimAnswer:
    now = state.clock()
    text = f"{sale_id} {group_id} {body.model_dump_json()}"
    async with state.database.snapshot() as session:
        claimant = await _read(session, member_id, sale_id, group_id, body, request_key, text)
    claim: Claim | None = None
    try:
        _check(claimant, now)
        for _ in range(ATTEMPTS):
            claim = await dealing.deal(state, _request(claimant, now), now)
            try:
                return await _commit(state, claimant, claim, now)
            except IntegrityError:
                # A twin was first, or the dealer was wrong.
                answer = await _answered(state, claimant, claim)
                if answer is not None:
                    return answer
                await _release(state, claimant, claim)
                claim = None
                await dealing.load(state, claimant.sale.id, now)
        raise Busy
    except KaituanError:
        # A refusal now does not undo an answer given before: the key decides first.
        answer = await _answered(state, claimant, claim)
        if answer is not None:
            return answer
        if claim is not None:
            await _release(state, claimant, claim)
        raise


async def _read(
    session: AsyncSession,
    member_id: str,
    sale_id: str | None,
    group_id: str | None,
    body: ClaimCreate,
    request_key: str,
    text: str,
) -> _Claimant:
    group = None
    if group_id is not None:
        group = await session.get(Group, group_id)
        if group is None:
            raise GroupNotFound
        sale_id = group.sale_id
    sale = await session.get(Sale, sale_id)
    if sale is None or sale.state == SaleState.DRAFT:
        raise SaleNotFound
    offer = await session.get(Offer, body.offer_id)
    if offer is None or offer.sale_id != sale.id:
        raise OfferNotFound
    member = await session.get(Member, member_id)
    if member is None:
        raise TokenInvalid
    invite = None
    if body.invite_code is not None:
        invite = await session.get(Invite, body.invite_code)
        if invite is None:
            raise InviteNotFound
    return _Claimant(
        member=member,
        sale=sale,
        offer=offer,
        group=group,
        body=body,
        invite=invite,
        request_key=request_key,
        request_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


def _check(claimant: _Claimant, now: datetime) -> None:
    terms = claimant.sale.terms()
    check_open(terms, now)
    check_quantity(terms, claimant.body.quantity)
    if claimant.offer.price * claimant.body.quantity > MAX_AMOUNT:
        raise AmountTooLarge(limit=MAX_AMOUNT)
    group, invite = claimant.group, claimant.invite
    if invite is not None:
        check_invite(
            expires_at=invite.expires_at,
            now=now,
            targets=(invite.group_id, invite.sale_id, invite.community_id),
            claim=(None if group is None else group.id, claimant.sale.id, claimant.sale.community_id),
        )
    if group is not None:
        if group.state in FINAL_GROUP_STATES or now >= group.deadline_at:
            raise GroupClosed
        if group.product_id != claimant.offer.product_id:
            raise OfferNotInGroup


def _request(claimant: _Claimant, now: datetime) -> ClaimRequest:
    opening = claimant.group is None
    identity = f"{claimant.member.id} {claimant.request_key} {claimant.request_hash}"
    return ClaimRequest(
        sale_id=claimant.sale.id,
        order_id=new_id("ord"),
        member_id=claimant.member.id,
        offer_id=claimant.offer.id,
        quantity=claimant.body.quantity,
        group_id=new_id("grp") if claimant.group is None else claimant.group.id,
        new_deadline_at=group_deadline(claimant.sale.terms(), now) if opening else None,
        request_key=hashlib.sha256(identity.encode()).hexdigest()[:32],
    )


async def _commit(state: State, claimant: _Claimant, claim: Claim, now: datetime) -> ClaimAnswer:
    sale, offer, member, invite = claimant.sale, claimant.offer, claimant.member, claimant.invite
    async with transaction(state, now) as work:
        group = await _group(work, claimant, claim)
        seats = await groups.read_seats(work.session, group.id)
        seats.append(Seated(number=claim.seat, member_id=member.id, name=member.name, paid=False))
        order = Order(
            id=claim.order_id,
            sale_id=sale.id,
            group_id=group.id,
            offer_id=offer.id,
            member_id=member.id,
            seat_number=claim.seat,
            quantity=claimant.body.quantity,
            unit_price=offer.price,
            amount=order_amount(offer.price, claimant.body.quantity),
            currency=sale.currency,
            state=OrderState.HELD,
            # Nobody brings themselves.
            invite_code=invite.code if invite is not None and invite.member_id != member.id else None,
            hold_expires_at=hold_deadline(sale.terms(), now, group.deadline_at),
            created_at=now,
            changed_at=now,
            request_key=claimant.request_key,
            request_hash=claimant.request_hash,
            answer="",
        )
        leader = member if group.leader_id == member.id else await work.session.get_one(Member, group.leader_id)
        answer = ClaimAnswer(
            group=groups.present(group, sorted(seats, key=lambda seat: seat.number), leader.name, member.id),
            order=OrderPublic.model_validate(order, from_attributes=True),
        )
        answer.group.state = next_state(group.state, group.size, answer.group.held, answer.group.paid)
        order.answer = answer.model_dump_json()
        await work.session.exec(insert(Order).values(**order.model_dump()))
        await take(work, claim, sale, offer, group)
        record_order(work, order, None)
        await groups.settle(work, group)
        return answer


async def _group(work: Work, claimant: _Claimant, claim: Claim) -> Group:
    """The claim's group: locked, or made by this claim."""
    if claimant.group is not None:
        group = await lock_group(work.session, claimant.group.id)
        if group is None or group.state in FINAL_GROUP_STATES or work.now >= group.deadline_at:
            raise GroupClosed
        return group
    group = Group(
        id=claim.group_id,
        sale_id=claimant.sale.id,
        product_id=claimant.offer.product_id,
        state=GroupState.OPEN,
        size=claimant.sale.group_size,
        leader_id=claimant.member.id,
        opened_at=work.now,
        deadline_at=group_deadline(claimant.sale.terms(), work.now),
    )
    work.session.add(group)
    await work.session.flush()
    work.record(
        "group.opened",
        group.id,
        states=(None, GroupState.OPEN),
        sale_id=group.sale_id,
        group_id=group.id,
        member_id=claimant.member.id,
    )
    return group


async def _answered(state: State, claimant: _Claimant, claim: Claim | None) -> ClaimAnswer | None:
    """The answer this key got before, if it did. Places dealt to this claim besides are given back."""
    async with state.database.snapshot() as session:
        found = await session.exec(
            select(Order).where(
                Order.sale_id == claimant.sale.id,
                Order.member_id == claimant.member.id,
                Order.request_key == claimant.request_key,
            ),
        )
        order = found.one_or_none()
    if order is None:
        return None
    if claim is not None and claim.order_id != order.id:
        await _release(state, claimant, claim)
    if order.request_hash != claimant.request_hash:
        raise IdempotencyKeyReused
    return ClaimAnswer.model_validate_json(order.answer)


async def _release(state: State, claimant: _Claimant, claim: Claim) -> None:
    with suppress(DealerUnavailable):  # then the reaper gives them back
        await state.dealer.release(claimant.sale.id, claim.order_id, claim.offer_id, claim.group_id)
