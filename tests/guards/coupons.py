"""Guards of coupons: what they are, whose they are, how often they are redeemed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.coupons import CouponKind, CouponTerms, check_coupon, check_redeemable, discount
from app.domain.errors import (
    CommunityNotFound,
    CouponEnded,
    CouponLimit,
    CouponMinSpend,
    CouponMismatch,
    CouponNotFound,
    CouponNotOpen,
    CouponUsedUp,
    InvalidTerms,
    MemberNotFound,
    OrderLimit,
    ProductNotFound,
    SaleNotFound,
)
from app.domain.money import order_amount
from app.models import Coupon
from app.schemas.coupons import CouponCreate, GrantCreate
from app.services import coupons
from tests.guards.claims import code
from tests.guards.cuts import Cut, cuts, notices
from tests.guards.world import World
from tests.service import BARGAIN, FLASH

DOMAIN, COUPONS, REDEMPTIONS = "app.domain.coupons", "app.services.coupons", "app.services.redemptions"
NOTHING = "0" * 32
NOON = datetime.fromisoformat("2026-11-11T12:00:00+00:00")
GOOD = CouponTerms(CouponKind.FIXED, 2000, "CNY", NOON, NOON + timedelta(hours=1), total=2, member_limit=1)


@notices(
    *cuts(
        f"{DOMAIN}.check_coupon",
        "terms.closes_at <= terms.opens_at",
        "terms.kind == CouponKind.PERCENT and terms.value > MAX_PERCENT",
        "terms.kind == CouponKind.FIXED and terms.max_discount is not None",
    ),
    *cuts(f"{DOMAIN}.discount", "at_least < (needed := least_spend(terms))"),
    Cut(f"{DOMAIN}.discount", "at_least - 1)", "at_least)"),
    *cuts("app.domain.money.order_amount", "not 0 <= discount < amount"),
)
async def a_coupon_leaves_something_to_pay(_world: World) -> None:
    check_coupon(GOOD)
    for wrong in (
        replace(GOOD, closes_at=NOON),
        replace(GOOD, kind=CouponKind.PERCENT),
        replace(GOOD, max_discount=1),
    ):
        with pytest.raises(InvalidTerms):
            check_coupon(wrong)
    with pytest.raises(CouponMinSpend):
        discount(replace(GOOD, min_spend=9900), 9899)
    assert discount(GOOD, 2000) == 1999
    for off in (-1, 100):
        with pytest.raises(ValueError, match="something to pay"):
            order_amount(50, 2, off)


@notices(
    *cuts(
        f"{DOMAIN}.check_redeemable",
        "terms.granted and (not granted)",
        "now < terms.opens_at",
        "now >= ends_at(terms)",
        "getattr(terms, name) not in {None, target}",
        "own >= terms.member_limit",
        "taken >= terms.total",
    ),
    Cut(f"{DOMAIN}.ends_at", "terms.ended_at is None", "True"),
)
async def a_coupon_is_redeemed_as_it_says(_world: World) -> None:
    asked: dict[str, Any] = {"targets": {"sale_id": "sal"}, "granted": False, "taken": 0, "own": 0}
    check_redeemable(GOOD, NOON, **asked)
    for terms, now, change, refusal in (
        (replace(GOOD, granted=True), NOON, {}, CouponNotFound),
        (GOOD, NOON - timedelta(seconds=1), {}, CouponNotOpen),
        (GOOD, GOOD.closes_at, {}, CouponEnded),
        (replace(GOOD, ended_at=NOON), NOON, {}, CouponEnded),
        (replace(GOOD, sale_id="other"), NOON, {}, CouponMismatch),
        (GOOD, NOON, {"own": 1}, CouponLimit),
        (GOOD, NOON, {"taken": 2}, CouponUsedUp),
    ):
        with pytest.raises(refusal):
            check_redeemable(terms, now, **asked | change)


@notices(
    *cuts(
        f"{REDEMPTIONS}.FreePlaces.take",
        "len(own) >= voucher.member_limit",
        down=cuts(f"{DOMAIN}.check_redeemable", "own >= terms.member_limit"),
    )
)
async def a_member_redeems_a_coupon_as_often_as_it_allows(world: World) -> None:
    sale, coupon = await world.service.sale(**FLASH), await world.service.coupon()
    assert (await world.me.buy(sale, coupon_code=coupon["code"])).status_code == 201
    assert await code(world.me.buy(sale, coupon_code=coupon["code"])) == "coupon_limit"


@notices(
    *cuts(
        f"{COUPONS}.create_coupon",
        "body.community_id is not None and await work.session.get(Community, body.community_id) is None",
        "body.sale_id is not None and await work.session.get(Sale, body.sale_id) is None",
        "body.product_id is not None and await work.session.get(Product, body.product_id) is None",
    ),
    Cut(f"{COUPONS}.create_coupon", "coupons.check_coupon(coupon.terms())", "None"),
)
async def a_coupon_is_for_something_there_is(world: World) -> None:
    now = world.service.clock()
    body = CouponCreate(
        title="券",
        kind=CouponKind.FIXED,
        value=5,
        opens_at=now,
        closes_at=now + timedelta(hours=1),
        total=1,
    )
    for field, refusal in (
        ("community_id", CommunityNotFound),
        ("sale_id", SaleNotFound),
        ("product_id", ProductNotFound),
    ):
        with pytest.raises(refusal):
            await coupons.create_coupon(world.state, body.model_copy(update={field: f"nothing_{NOTHING}"}))
    with pytest.raises(InvalidTerms):
        await coupons.create_coupon(world.state, body.model_copy(update={"max_discount": 5}))


@notices(
    *cuts(f"{COUPONS}.end_coupon", "coupon.ended_at is None and coupon.closes_at <= work.now"),
    Cut(f"{COUPONS}.end_coupon", "col(Coupon.ended_at).is_(None)", "True"),
)
async def a_coupon_ends_once(world: World) -> None:
    ended, over = [(await world.service.coupon())["id"] for _ in range(2)]
    await coupons.end_coupon(world.state, ended)
    first = (await world.row(Coupon, ended)).ended_at
    world.service.clock.advance(1)
    await coupons.end_coupon(world.state, ended)
    assert (await world.row(Coupon, ended)).ended_at == first
    assert await world.count("events WHERE subject = :id AND type = 'coupon.ended'", id=ended) == 1
    world.service.clock.advance(2 * 86_400)
    with pytest.raises(CouponEnded):
        await coupons.end_coupon(world.state, over)


@notices(
    *cuts(
        f"{COUPONS}.grant_coupon",
        "await work.session.get(Coupon, coupon_id) is None",
        "known.one() < len(member_ids)",
    )
)
async def a_coupon_is_granted_to_members(world: World) -> None:
    coupon_id = (await world.service.coupon())["id"]
    with pytest.raises(CouponNotFound):
        await coupons.grant_coupon(world.state, f"cpn_{NOTHING}", GrantCreate(member_ids=[world.me.id]))
    nobody = GrantCreate(member_ids=[world.me.id, f"mem_{NOTHING}"])
    with pytest.raises(MemberNotFound):
        await coupons.grant_coupon(world.state, coupon_id, nobody)
    assert (await coupons.grant_coupon(world.state, coupon_id, GrantCreate(member_ids=[world.me.id]))).granted == 1


@notices(
    *cuts(f"{COUPONS}.quote", "sale.terms.kind == SaleKind.BARGAIN"),
    Cut(f"{COUPONS}.quote", "check_quantity(sale.terms, quantity)", "None"),
)
async def a_quote_promises_what_a_claim_can_have(world: World) -> None:
    coupon, bargains = await world.service.coupon(), await world.service.sale(**BARGAIN)
    with pytest.raises(CouponMismatch):
        await coupons.quote(world.state, world.me.id, coupon["code"], bargains.offer, 1)
    with pytest.raises(OrderLimit):
        await coupons.quote(world.state, world.me.id, coupon["code"], world.sale.offer, 6)
