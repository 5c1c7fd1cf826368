from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, status

from app.deps import MEMBER_ERRORS, OPERATOR_ERRORS, LimitQuery, MemberDep, StateDep, require_scope
from app.domain.errors import (
    BadRequest,
    CommunityNotFound,
    CouponCodeTaken,
    CouponEnded,
    CouponLimit,
    CouponMinSpend,
    CouponMismatch,
    CouponNotFound,
    CouponNotOpen,
    CouponUsedUp,
    InvalidTerms,
    MemberNotFound,
    OfferNotFound,
    OrderLimit,
    ProductNotFound,
    SaleNotFound,
)
from app.domain.operators import Scope
from app.domain.sales import MAX_ORDER_LIMIT
from app.routers.examples import COUPON, GRANT
from app.routers.problems import problems
from app.schemas.coupons import CouponCreate, CouponQuote, GrantCreate, Granted, MemberCoupon, OperatorCoupon
from app.schemas.fields import CouponCode, CouponId, OfferId, Page
from app.services import coupons

router = APIRouter(prefix="/v1/coupons", tags=["coupons"])
operator_router = APIRouter(
    prefix="/v1/ops/coupons",
    tags=["operators: sales"],
    dependencies=[Depends(require_scope(Scope.SALES))],
)


@router.get("", responses=problems(*MEMBER_ERRORS), summary="My coupons 我的优惠券")
async def list_my_coupons(
    state: StateDep, member_id: MemberDep, after: CouponId | None = None, limit: LimitQuery = 20
) -> Page[MemberCoupon]:
    """Granted to you and not over, newest first, with what is left of each."""
    return await coupons.list_granted(state, member_id, after, limit)


@router.get(
    "/{coupon_code}",
    responses=problems(
        *MEMBER_ERRORS,
        CouponNotFound,
        OfferNotFound,
        CouponNotOpen,
        CouponMismatch,
        CouponMinSpend,
        CouponLimit,
        CouponUsedUp,
        CouponEnded,
        OrderLimit,
        SaleNotFound,
    ),
    summary="What a coupon takes off 优惠试算",
)
async def quote_coupon(
    state: StateDep,
    member_id: MemberDep,
    coupon_code: CouponCode,
    offer_id: OfferId | None = None,
    quantity: Annotated[
        int, Query(ge=1, le=MAX_ORDER_LIMIT, description="Units you take in any case 至少购买件数")
    ] = 1,
) -> CouponQuote:
    """What it would take off this order now, or why it would not; without an offer, whether you may use it at all.
    Nothing is taken: the claim decides.
    """
    return await coupons.quote(state, member_id, coupon_code, offer_id, quantity)


@operator_router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(
        *OPERATOR_ERRORS,
        BadRequest,
        CommunityNotFound,
        SaleNotFound,
        ProductNotFound,
        CouponCodeTaken,
        InvalidTerms,
    ),
    summary="Make a coupon 新建优惠券",
)
async def create_coupon(
    state: StateDep, body: Annotated[CouponCreate, Body(openapi_examples=COUPON)]
) -> OperatorCoupon:
    """With a code that everybody may use, or `granted` to members one by one."""
    return await coupons.create_coupon(state, body)


@operator_router.get("", responses=problems(*OPERATOR_ERRORS), summary="List coupons 优惠券列表")
async def list_coupons(
    state: StateDep, after: CouponId | None = None, limit: LimitQuery = 20
) -> Page[OperatorCoupon]:
    """Newest first, with their redemptions."""
    return await coupons.list_coupons(state, after, limit)


@operator_router.get(
    "/{coupon_id}", responses=problems(*OPERATOR_ERRORS, CouponNotFound), summary="Get a coupon 优惠券详情"
)
async def get_coupon(state: StateDep, coupon_id: CouponId) -> OperatorCoupon:
    return await coupons.get_coupon(state, coupon_id)


@operator_router.post(
    "/{coupon_id}/end",
    responses=problems(*OPERATOR_ERRORS, CouponNotFound, CouponEnded),
    summary="End a coupon now 停用优惠券",
)
async def end_coupon(state: StateDep, coupon_id: CouponId) -> OperatorCoupon:
    """Nobody redeems it from now on; orders that have keep their discount."""
    return await coupons.end_coupon(state, coupon_id)


@operator_router.post(
    "/{coupon_id}/grants",
    responses=problems(*OPERATOR_ERRORS, BadRequest, CouponNotFound, MemberNotFound),
    summary="Grant a coupon to members 发放优惠券",
)
async def grant_coupon(
    state: StateDep, coupon_id: CouponId, body: Annotated[GrantCreate, Body(openapi_examples=GRANT)]
) -> Granted:
    """Puts it into their lists, once each: asking again changes nothing."""
    return await coupons.grant_coupon(state, coupon_id, body)
