"""Coupons: whatever a coupon takes off and whatever a ladder gives back, something is paid and no money is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.domain.coupons import (
    MAX_PERCENT,
    CouponKind,
    CouponTerms,
    check_coupon,
    check_redeemable,
    discount,
    ends_at,
    least_spend,
    left,
)
from app.domain.errors import (
    CouponEnded,
    CouponLimit,
    CouponMinSpend,
    CouponMismatch,
    CouponNotFound,
    CouponNotOpen,
    CouponUsedUp,
    InvalidTerms,
    KaituanError,
)
from app.domain.ladders import Step, gap, price_at
from app.domain.money import MAX_AMOUNT, order_amount
from tests.domain.test_ladders import ladders

NOON = datetime(2026, 11, 11, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
COUPON = CouponTerms(
    kind=CouponKind.FIXED,
    value=2000,
    currency="CNY",
    opens_at=NOON,
    closes_at=NOON + HOUR,
    total=10,
    member_limit=2,
)
TARGETS = {"currency": "CNY", "community_id": "com", "sale_id": "sal", "product_id": "prd"}


@st.composite
def coupons(draw: st.DrawFn) -> CouponTerms:
    """Coupons that can work."""
    if draw(st.booleans()):
        value, cap = draw(st.integers(1, MAX_AMOUNT)), None
        kind = CouponKind.FIXED
    else:
        value, cap = draw(st.integers(1, MAX_PERCENT)), draw(st.none() | st.integers(1, 10**7))
        kind = CouponKind.PERCENT
    terms = replace(COUPON, kind=kind, value=value, max_discount=cap, min_spend=draw(st.integers(0, 10**7)))
    check_coupon(terms)
    return terms


@given(coupons(), st.integers(1, MAX_AMOUNT))
def test_something_is_taken_off_and_something_is_left(terms: CouponTerms, at_least: int) -> None:
    if at_least < least_spend(terms):
        with pytest.raises(CouponMinSpend) as refusal:
            discount(terms, at_least)
        assert refusal.value.min_spend >= max(terms.min_spend, 2)
        return
    off = discount(terms, at_least)
    assert 1 <= off < at_least
    assert off <= terms.value if terms.kind == CouponKind.FIXED else off * 100 <= at_least * terms.value
    assert terms.max_discount is None or off <= terms.max_discount


@given(coupons(), st.integers(2, MAX_AMOUNT - 1))
def test_who_spends_more_does_not_get_less(terms: CouponTerms, at_least: int) -> None:
    assume(at_least >= least_spend(terms))
    assert discount(terms, at_least) <= discount(terms, at_least + 1)


@given(coupons())
def test_the_least_spend_is_the_least(terms: CouponTerms) -> None:
    assert discount(terms, least_spend(terms)) >= 1
    if terms.min_spend < least_spend(terms):
        below = least_spend(terms) - 1
        assert terms.kind == CouponKind.FIXED or below * terms.value // 100 == 0


@given(coupons(), ladders(), st.integers(1, 100), st.data())
def test_money_is_conserved_on_a_ladder(
    terms: CouponTerms, steps: list[Step], quantity: int, data: st.DataObject
) -> None:
    """Whoever joins on whichever step, and whichever the group closes on: paid = kept + given back."""
    at_least = steps[-1].price * quantity
    assume(at_least >= least_spend(terms))
    off = discount(terms, at_least)
    joined, closed = (price_at(steps, data.draw(st.integers(0, 600))) for _ in range(2))
    settled = min(joined, closed)
    amount = order_amount(joined, quantity, off)
    back = gap(joined, settled, quantity)
    assert 0 <= back < amount
    assert amount - back == settled * quantity - off >= 1


@given(st.integers(1, 10**6), st.integers(1, 100), st.integers(-(10**9), 10**9))
def test_an_order_is_never_free(price: int, quantity: int, off: int) -> None:
    if 0 <= off < price * quantity:
        assert order_amount(price, quantity, off) == price * quantity - off
    else:
        with pytest.raises(ValueError, match="something to pay"):
            order_amount(price, quantity, off)


@pytest.mark.parametrize(
    ("terms", "changes", "refusal"),
    [
        ({}, {}, None),
        ({"granted": True}, {}, CouponNotFound),
        ({"granted": True}, {"granted": True}, None),
        ({}, {"now": NOON - timedelta(microseconds=1)}, CouponNotOpen),
        ({}, {"now": NOON + HOUR}, CouponEnded),
        ({"ended_at": NOON}, {}, CouponEnded),
        ({"ended_at": NOON + 2 * HOUR}, {"now": NOON + HOUR}, CouponEnded),
        ({"currency": "EUR"}, {}, CouponMismatch),
        ({"community_id": "other"}, {}, CouponMismatch),
        ({"sale_id": "other"}, {}, CouponMismatch),
        ({"product_id": "other"}, {}, CouponMismatch),
        ({"community_id": "com", "sale_id": "sal", "product_id": "prd"}, {}, None),
        ({}, {"own": 1}, None),
        ({}, {"own": 2}, CouponLimit),
        ({}, {"taken": 9}, None),
        ({}, {"taken": 10}, CouponUsedUp),
    ],
)
def test_when_a_coupon_is_redeemable(
    terms: dict[str, object], changes: dict[str, object], refusal: type[KaituanError] | None
) -> None:
    coupon = replace(COUPON, **terms)  # type: ignore[arg-type]
    asked = {"now": NOON, "targets": TARGETS, "granted": False, "taken": 0, "own": 0} | changes
    if refusal is None:
        check_redeemable(coupon, **asked)  # type: ignore[arg-type]
    else:
        with pytest.raises(refusal):
            check_redeemable(coupon, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"closes_at": NOON}, "closes_at"),
        ({"kind": CouponKind.PERCENT, "value": 100}, "value"),
        ({"max_discount": 1}, "max_discount"),
    ],
)
def test_terms_that_could_not_work(terms: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidTerms) as refusal:
        check_coupon(replace(COUPON, **terms))  # type: ignore[arg-type]
    assert refusal.value.field == field


@given(st.integers(0, 20), st.integers(0, 5))
def test_what_is_left_is_what_may_be_redeemed(taken: int, own: int) -> None:
    more = left(COUPON, taken=taken, own=own)
    assert (more > 0) == (taken < COUPON.total and own < COUPON.member_limit)
    assert 0 <= more <= COUPON.member_limit


def test_a_coupon_ends_with_its_window_or_before() -> None:
    assert ends_at(COUPON) == NOON + HOUR
    assert ends_at(replace(COUPON, ended_at=NOON)) == NOON
    assert ends_at(replace(COUPON, ended_at=NOON + 2 * HOUR)) == NOON + HOUR
