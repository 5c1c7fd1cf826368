"""Coupons: made, granted, ended; looked at by operators and by members. They are redeemed in `redemptions.py`."""

from collections.abc import Sequence
from secrets import choice

from sqlalchemy import case, func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.domain import coupons
from app.domain.errors import (
    CommunityNotFound,
    CouponCodeTaken,
    CouponEnded,
    CouponMismatch,
    CouponNotFound,
    MemberNotFound,
    OfferNotFound,
    ProductNotFound,
    SaleNotFound,
)
from app.domain.orders import OrderState
from app.domain.sales import SaleKind, check_quantity
from app.models import Community, Coupon, Grant, Member, Offer, Order, Product, Redemption, Sale
from app.schemas.coupons import (
    CouponCreate,
    CouponPublic,
    CouponQuote,
    GrantCreate,
    Granted,
    MemberCoupon,
    OperatorCoupon,
)
from app.schemas.fields import Page
from app.services import redemptions
from app.services.pages import read_page
from app.services.terms import forget_coupon, sale_facts
from app.services.transactions import transaction
from app.state import State

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Capitals and digits that cannot be mistaken for each other."""
CODE_LENGTH = 12
"""32^12 codes, 60 bits: not to be guessed."""


async def create_coupon(state: State, body: CouponCreate) -> OperatorCoupon:
    """Make a coupon. Raises `InvalidTerms`, `CommunityNotFound`, `SaleNotFound`, `ProductNotFound`,
    `CouponCodeTaken`.
    """
    code = body.code or "".join(choice(ALPHABET) for _ in range(CODE_LENGTH))
    coupon = Coupon(**body.model_dump(exclude={"code"}), code=code, created_at=state.clock())
    coupons.check_coupon(coupon.terms())
    try:
        async with transaction(state, coupon.created_at) as work:
            if body.community_id is not None and await work.session.get(Community, body.community_id) is None:
                raise CommunityNotFound
            if body.sale_id is not None and await work.session.get(Sale, body.sale_id) is None:
                raise SaleNotFound
            if body.product_id is not None and await work.session.get(Product, body.product_id) is None:
                raise ProductNotFound
            work.session.add(coupon)
            work.record("coupon.created", coupon.id, sale_id=coupon.sale_id, code=code, total=coupon.total)
    except IntegrityError as error:
        raise CouponCodeTaken from error
    return await get_coupon(state, coupon.id)


async def end_coupon(state: State, coupon_id: str) -> OperatorCoupon:
    """Let nobody redeem a coupon from now on; orders that have keep their discount. Asking again changes nothing.

    Raises `CouponNotFound`, `CouponEnded` when its time was over before.
    """
    async with transaction(state, state.clock()) as work:
        coupon = await work.session.get(Coupon, coupon_id)
        if coupon is None:
            raise CouponNotFound
        if coupon.ended_at is None and coupon.closes_at <= work.now:
            raise CouponEnded
        ended = await work.session.exec(
            update(Coupon)
            .where(col(Coupon.id) == coupon_id, col(Coupon.ended_at).is_(None))
            .values(ended_at=work.now)
            .returning(col(Coupon.id)),
        )
        if ended.first() is not None:
            work.record("coupon.ended", coupon_id, sale_id=coupon.sale_id)
    forget_coupon(state, coupon.code)
    return await get_coupon(state, coupon_id)


async def grant_coupon(state: State, coupon_id: str, body: GrantCreate) -> Granted:
    """Put a coupon into members' lists, once each. Raises `CouponNotFound`, `MemberNotFound` for any of them."""
    member_ids = set(body.member_ids)
    async with transaction(state, state.clock()) as work:
        if await work.session.get(Coupon, coupon_id) is None:
            raise CouponNotFound
        known = await work.session.exec(
            select(func.count()).where(col(Member.id).in_(member_ids), col(Member.erased_at).is_(None)),
        )
        if known.one() < len(member_ids):
            raise MemberNotFound
        added = await work.session.exec(
            state.database.insert_unless_there(Grant, ["member_id", "coupon_id"])
            .values(
                [
                    {"member_id": member_id, "coupon_id": coupon_id, "created_at": work.now}
                    for member_id in sorted(member_ids)
                ]
            )
            .returning(col(Grant.member_id)),
        )
        new = added.all()
        for (member_id,) in new:
            work.record("coupon.granted", coupon_id, member_id=member_id)
    return Granted(granted=len(new))


async def get_coupon(state: State, coupon_id: str) -> OperatorCoupon:
    """A coupon with its counts. Raises `CouponNotFound`."""
    async with state.database.snapshot() as session:
        coupon = await session.get(Coupon, coupon_id)
        if coupon is None:
            raise CouponNotFound
        return (await _counted(session, [coupon]))[0]


async def list_coupons(state: State, after: str | None, limit: int) -> Page[OperatorCoupon]:
    """Every coupon with its counts, newest first."""
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Coupon, select(Coupon), after, limit)
        return Page[OperatorCoupon](items=await _counted(session, rows), next=following)


async def list_granted(state: State, member_id: str, after: str | None, limit: int) -> Page[MemberCoupon]:
    """Coupons that were granted to a member and are not over, newest first."""
    now = state.clock()
    statement = (
        select(Coupon)
        .join(Grant, col(Grant.coupon_id) == Coupon.id)
        .where(
            Grant.member_id == member_id,
            Coupon.closes_at > now,
            or_(col(Coupon.ended_at).is_(None), col(Coupon.ended_at) > now),
        )
    )
    own = func.coalesce(func.sum(case((col(Redemption.member_id) == member_id, 1), else_=0)), 0)
    async with state.database.snapshot() as session:
        rows, following = await read_page(session, Coupon, statement, after, limit)
        counted = await session.exec(
            select(Redemption.coupon_id, func.count(), own)
            .where(col(Redemption.coupon_id).in_([row.id for row in rows]))
            .group_by(col(Redemption.coupon_id)),
        )
        counts = {coupon_id: (taken, mine) for coupon_id, taken, mine in counted.all()}
    return Page[MemberCoupon](items=[_mine(row, *counts.get(row.id, (0, 0))) for row in rows], next=following)


async def quote(state: State, member_id: str, code: str, offer_id: str | None, quantity: int) -> CouponQuote:
    """What a coupon would take off an order; nothing is taken. Raises `OfferNotFound`, `OrderLimit`, and what
    `redemptions.check` raises.
    """
    if offer_id is None:
        found = await redemptions.find(state, code, member_id, {})
        return CouponQuote(**_mine(found.coupon, found.taken, found.own).model_dump(), at_least=None, discount=None)
    async with state.database.snapshot() as session:
        offer = await session.get(Offer, offer_id)
    if offer is None:
        raise OfferNotFound
    sale = await sale_facts(state, offer.sale_id, offer_id)
    if sale.terms.kind == SaleKind.BARGAIN:
        raise CouponMismatch(field="kind")
    check_quantity(sale.terms, quantity)
    found = await redemptions.find(state, code, member_id, redemptions.targets_of(sale, offer))
    at_least = redemptions.at_least(sale.terms, offer, quantity)
    return CouponQuote(
        **_mine(found.coupon, found.taken, found.own).model_dump(),
        at_least=at_least,
        discount=coupons.discount(found.coupon.terms(), at_least),
    )


def _mine(coupon: Coupon, taken: int, own: int) -> MemberCoupon:
    return MemberCoupon(
        **coupon.model_dump(include=set(CouponPublic.model_fields)),
        left=coupons.left(coupon.terms(), taken=taken, own=own),
    )


async def _counted(session: AsyncSession, rows: Sequence[Coupon]) -> list[OperatorCoupon]:
    ids = [row.id for row in rows]
    counted = await session.exec(
        select(
            Redemption.coupon_id,
            func.count(),
            func.sum(case((col(Order.state) == OrderState.HELD, 1), else_=0)),
        )
        .join(Order, col(Order.id) == Redemption.order_id)
        .where(col(Redemption.coupon_id).in_(ids))
        .group_by(col(Redemption.coupon_id)),
    )
    taken = {coupon_id: (number, locked) for coupon_id, number, locked in counted.all()}
    granted = await session.exec(
        select(Grant.coupon_id, func.count()).where(col(Grant.coupon_id).in_(ids)).group_by(col(Grant.coupon_id)),
    )
    grants: dict[str, int] = dict(granted.all())
    found = []
    for row in rows:
        number, locked = taken.get(row.id, (0, 0))
        found.append(
            OperatorCoupon(
                **row.model_dump(include=set(OperatorCoupon.model_fields)),
                locked=locked,
                used=number - locked,
                left=row.total - number,
                grants=grants.get(row.id, 0),
            )
        )
    return found
