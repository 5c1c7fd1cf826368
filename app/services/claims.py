"""A claim: deal the places, commit them, answer. The way of every order into the system.

1. The dealer hands out place numbers (`dealing.deal`), or refuses; a refusal changes nothing. While Redis is away
   the numbers are found in the rows (`undealt.py`).
2. `commits.commit` inserts the order and its places, together with those of everybody who waits. Their keys refuse
   a number that somebody has; then the dealer was wrong, the sale is loaded from the rows, and it is dealt again.
3. The answer is stored in the order row, so that the same Idempotency-Key gets the same answer for ever.

A process that dies between 1 and 2 leaves places that no order holds; `dealing.reap` gives them back.
"""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace

from app.domain.errors import (
    AmountTooLarge,
    BargainClosed,
    Busy,
    ConflictError,
    CouponLimit,
    CouponUsedUp,
    DealerUnavailable,
    ForbiddenError,
    GoneError,
    GroupClosed,
    GroupNotFound,
    IdempotencyKeyReused,
    InvalidError,
    NotFoundError,
    NotYourBargain,
    OfferNotInGroup,
    SaleIsPlan,
    TicketUsed,
    TokenInvalid,
)
from app.domain.groups import group_deadline
from app.domain.invites import check_target, check_usable
from app.domain.money import MAX_AMOUNT
from app.domain.rescues import OnUnfilled, check_choice
from app.domain.sales import SaleKind, check_drawn, check_kind, check_quantity
from app.gateways.bulk import Conflict
from app.gateways.dealer import Claim, ClaimRequest, Refused
from app.models import new_id
from app.schemas.groups import ClaimCreate
from app.services import dealing, redemptions, undealt
from app.services.answers import Answered, Asked, find_answer, is_spent
from app.services.commits import Draft, Want, commit, is_committing
from app.services.gates import pass_gate
from app.services.terms import (
    GroupFacts,
    bargain_facts,
    find_invite,
    forget_coupon,
    forget_sale,
    group_facts,
    sale_facts,
)
from app.services.tickets import read_ticket
from app.state import State

ATTEMPTS = 5
TWIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for, in which kind of sale one asks like that; the group to join, the bargain at whose
    price one buys, or the id of the ticket it comes with. `in_line`: it is the member's turn in the line, and who
    comes first opens the group. `for_plan`: a membership is bought, by joining.
    """

    kind: SaleKind
    body: ClaimCreate
    group_id: str | None = None
    bargain_id: str | None = None
    ticket: str | None = None
    in_line: bool = False
    for_plan: bool = False


async def open_group(state: State, member_id: str, sale_id: str, body: ClaimCreate, request_key: str) -> bytes:
    """Open a group in a sale and take its first seat; returns a `ClaimAnswer` in JSON.

    Raises the refusals of `dealing.deal` and `pass_gate`, `SaleNotFound`, `WrongKind`, `OfferNotFound`,
    `InviteNotFound` and those of `check_usable` and `check_target`, `OrderLimit`, `AmountTooLarge`,
    `IdempotencyKeyReused`, `TokenInvalid`, `Busy`, `DatabaseUnavailable`.
    """
    return await _claim(state, member_id, sale_id, Wish(SaleKind.GROUP, body), request_key)


async def join(state: State, member_id: str, group_id: str, body: ClaimCreate, request_key: str) -> bytes:
    """Take a seat in a group. Raises what `open_group` raises, and `GroupNotFound`, `GroupClosed`,
    `OfferNotInGroup`.
    """
    group = await group_facts(state, group_id)
    return await _claim(state, member_id, group.sale_id, Wish(SaleKind.GROUP, body, group_id), request_key)


async def buy(state: State, member_id: str, sale_id: str, body: ClaimCreate, request_key: str) -> bytes:
    """Buy alone in a flash sale, with a ticket: a group of one, whose only seat is taken as it is opened. Raises
    what `open_group` raises, and, before anything is dealt, `TicketUsed` and what `read_ticket` raises.
    """
    return await _claim(state, member_id, sale_id, Wish(SaleKind.FLASH, body), request_key)


async def buy_membership(state: State, member_id: str, sale_id: str, body: ClaimCreate, request_key: str) -> bytes:
    """Buy a period of a membership in the plan of a community. Raises what `buy` raises."""
    return await _claim(state, member_id, sale_id, Wish(SaleKind.FLASH, body, for_plan=True), request_key)


async def buy_bargain(state: State, member_id: str, bargain_id: str, request_key: str) -> bytes:
    """Buy what one bargained for, at the price there is when the order is committed. Raises what `open_group`
    raises, and `BargainNotFound`, `NotYourBargain`, `BargainClosed`.
    """
    bargain = await bargain_facts(state, bargain_id)
    if bargain.member_id != member_id:
        raise NotYourBargain
    wish = Wish(SaleKind.BARGAIN, ClaimCreate(offer_id=bargain.offer_id), bargain_id=bargain_id)
    return await _claim(state, member_id, bargain.sale_id, wish, request_key)


async def award(
    state: State, kind: SaleKind, member_id: str, sale_id: str, body: ClaimCreate, group_id: str, request_key: str
) -> bytes:
    """Claim for a member whose turn in the line it is, in a group that is there or is opened with this id. What is
    kept for those in line is not kept from them. Raises what `join` raises.
    """
    return await _claim(state, member_id, sale_id, Wish(kind, body, group_id, in_line=True), request_key)


async def _claim(state: State, member_id: str, sale_id: str, wish: Wish, request_key: str) -> bytes:
    body = wish.body
    text = f"{wish.group_id or wish.bargain_id or sale_id} {body.offer_id} {body.quantity} {body.invite_code}"
    if body.on_unfilled != OnUnfilled.REFUND or body.min_quantity is not None:
        text += f" {body.on_unfilled} {body.min_quantity}"
    if body.coupon_code is not None:
        text += f" {body.coupon_code}"
    asked = Asked(sale_id, member_id, request_key, hashlib.sha256(text.encode()).hexdigest())
    try:
        if wish.kind == SaleKind.FLASH and not wish.in_line:
            wish = replace(wish, ticket=await _ticket(state, asked, body.ticket))
        return await _try(state, asked, wish)
    except Refused as refused:
        # A refusal now does not undo an answer given before: the key decides first.
        known = refused.known or asked[:3] in state.committing
        answer = await _answered(state, asked) if known else None
        if answer is None:
            raise refused.refusal from None
        return answer
    except (ConflictError, ForbiddenError, GoneError, InvalidError, NotFoundError):
        answer = await _answered(state, asked)
        if answer is None:
            raise
        return answer


async def _ticket(state: State, asked: Asked, ticket: str | None) -> str:
    """The id of the ticket a request came with. Raises `Refused`."""
    try:
        return read_ticket(state, ticket, asked.member_id, asked.sale_id)
    except ForbiddenError as refusal:
        try:
            known = await state.dealer.is_known(asked.sale_id, asked.member_id)
        except DealerUnavailable:
            known = True
        raise Refused(refusal, known=known) from None


async def _try(state: State, asked: Asked, wish: Wish) -> bytes:
    for _ in range(ATTEMPTS):
        want = await _read(state, asked, wish)
        try:
            return await _take(state, asked, want)
        except Conflict:
            if want.ticket is not None and await is_spent(state, asked, want.ticket):
                raise TicketUsed from None  # Redis has forgotten it
            await _learn(state, asked)
        except CouponUsedUp:
            forget_coupon(state, wish.body.coupon_code)  # the next is to know before anything is dealt
            raise
    raise Busy


async def _read(state: State, asked: Asked, wish: Wish) -> Want:
    """What is wanted, if the rules that do not change allow it."""
    now, body, group_id = state.clock(), wish.body, wish.group_id
    sale = await sale_facts(state, asked.sale_id, body.offer_id)
    check_kind(sale.terms, wish.kind)
    if sale.is_plan != wish.for_plan:
        raise SaleIsPlan
    if not wish.in_line:
        check_drawn(sale.terms)
    await pass_gate(state, sale.gate, asked.member_id)
    offer = sale.offers[body.offer_id]
    check_quantity(sale.terms, body.quantity)
    check_choice(sale.terms.rescue, body.on_unfilled, body.quantity, body.min_quantity, offer.solo_price)
    if max(offer.price, offer.solo_price or 0) * body.quantity > MAX_AMOUNT:
        raise AmountTooLarge(limit=MAX_AMOUNT)
    group = await _find_group(state, wish)
    if group is not None:
        if group.final:
            raise GroupClosed
        if group.product_id != offer.product_id:
            raise OfferNotInGroup
    invite = None
    if body.invite_code is not None:
        invite = await find_invite(state, body.invite_code)
        check_usable(
            expires_at=invite.expires_at,
            revoked_at=invite.revoked_at,
            used_up_at=invite.used_up_at,
            now=now,
        )
        by_way_of = invite.community_id if invite.community_id in sale.communities else sale.community_id
        check_target((invite.group_id, invite.sale_id, invite.community_id), (group_id, sale.id, str(by_way_of)))
    voucher = None
    if body.coupon_code is not None:
        voucher = await redemptions.check(
            state, body.coupon_code, asked.member_id, sale, offer, body.min_quantity or body.quantity
        )
    return Want(
        asked=asked,
        sale=sale,
        offer=offer,
        quantity=body.quantity,
        group_id=None if group is None else group_id,
        new_group_id=group_id,
        in_line=wish.in_line,
        on_unfilled=body.on_unfilled,
        min_quantity=body.min_quantity,
        # Nobody brings themselves.
        invite_code=invite.code if invite is not None and invite.member_id != asked.member_id else None,
        now=now,
        voucher=voucher,
        bargain_id=wish.bargain_id,
        ticket=wish.ticket,
    )


async def _find_group(state: State, wish: Wish) -> GroupFacts | None:
    """The group to join; None to open one. Only an award names a group that is not there yet: `join` found it."""
    if wish.group_id is not None:
        with suppress(GroupNotFound):
            return await group_facts(state, wish.group_id)
    return None


async def _take(state: State, asked: Asked, want: Want) -> bytes:
    """Deal and commit. Places that were dealt are given back, unless an order holds them or nobody knows."""
    if want.group_id is None and not want.in_line:
        with suppress(DealerUnavailable):
            await state.dealer.check_left(asked.sale_id, want.offer.id, want.quantity, asked.member_id)
    dealt = await dealing.deal(state, _request(want), want.now)
    if dealt is None:
        return await _answered(state, asked) or await undealt.commit(state, want)
    claim, again = dealt
    if again and not is_committing(state, claim.order_id):
        earlier = await find_answer(state, asked)
        if earlier is not None:
            return await _replay(state, asked, earlier, claim)
    if max(claim.units) > want.offer.stock:
        want = await _restocked(state, want)
    try:
        return await _commit(state, asked, Draft(want, claim))
    except Busy:
        if not again:  # or its twin is about to commit it, at another process
            await _release(state, asked, claim)
        raise
    except (Conflict, BargainClosed, CouponLimit, CouponUsedUp, GroupClosed, TokenInvalid) as refusal:
        # A twin was first, or the dealer was wrong, or the group, the bargain or the coupon ended meanwhile.
        earlier = await find_answer(state, asked)
        if earlier is not None:
            return await _replay(state, asked, earlier, claim)
        await _release(state, asked, claim, None if isinstance(refusal, Conflict) else want.ticket)
        raise


async def _commit(state: State, asked: Asked, draft: Draft) -> bytes:
    request = asked[:3]
    state.committing[request] += 1
    try:
        return await commit(state, draft)
    finally:
        state.committing[request] -= 1
        if not state.committing[request]:
            del state.committing[request]


async def _restocked(state: State, want: Want) -> Want:
    """The same with the terms as they are now: the dealer knows of more stock than we remember."""
    forget_sale(state, want.sale.id)
    sale = await sale_facts(state, want.sale.id, want.offer.id)
    return replace(want, sale=sale, offer=sale.offers[want.offer.id])


def _request(want: Want) -> ClaimRequest:
    asked = want.asked
    identity = f"{asked.member_id} {asked.request_key} {asked.request_hash}"
    return ClaimRequest(
        sale_id=asked.sale_id,
        order_id=new_id("ord"),
        member_id=asked.member_id,
        offer_id=want.offer.id,
        quantity=want.quantity,
        group_id=want.group_id or want.new_group_id or new_id("grp"),
        new_deadline_at=group_deadline(want.sale.terms, want.now) if want.group_id is None else None,
        request_key=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
        ticket=want.ticket,
        in_line=want.in_line,
    )


async def _answered(state: State, asked: Asked) -> bytes | None:
    """The answer this request got before, if it did. Raises `IdempotencyKeyReused`.

    A twin that is being committed is waited for: the dealer may have forgotten it.
    """
    while asked[:3] in state.committing:  # noqa: ASYNC110 - hardly ever
        await asyncio.sleep(TWIN_SECONDS)
    earlier = await find_answer(state, asked)
    return None if earlier is None else await _replay(state, asked, earlier, None)


async def _replay(state: State, asked: Asked, earlier: Answered, claim: Claim | None) -> bytes:
    """The answer of an order; what was dealt to this claim besides is given back."""
    if claim is not None and claim.order_id != earlier.order_id:
        await _release(state, asked, claim)
    if earlier.request_hash != asked.request_hash:
        raise IdempotencyKeyReused
    return earlier.answer.encode()


async def _learn(state: State, asked: Asked) -> None:
    """The database refused what the dealer dealt: load the sale from the rows, and read its terms anew."""
    forget_sale(state, asked.sale_id)
    await dealing.reload(state, asked.sale_id)


async def _release(state: State, asked: Asked, claim: Claim, ticket: str | None = None) -> None:
    """Give back what was dealt, and a ticket that has bought nothing."""
    with suppress(DealerUnavailable):  # then the reaper gives them back
        await state.dealer.release(asked.sale_id, claim.order_id, claim.offer_id, claim.group_id)
        if ticket is not None:
            await state.dealer.unspend(asked.sale_id, ticket)
