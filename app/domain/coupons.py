"""What a coupon takes off an order, and when it may.

It looks at what the order costs at least: on the lowest step of its offer's price ladder. So the same coupon takes
off the same, whoever joins when, and something is left to pay whatever is given back when the group closes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.errors import (
    CouponEnded,
    CouponLimit,
    CouponMinSpend,
    CouponMismatch,
    CouponNotFound,
    CouponNotOpen,
    CouponUsedUp,
    InvalidTerms,
)

MAX_TOTAL = 1_000_000
MAX_COUPON_LIMIT = 100
MAX_PERCENT = 99


class CouponKind(StrEnum):
    """So much money off, or so many percent."""

    FIXED = "fixed"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class CouponTerms:
    """The rules of a coupon. `value` is minor units or whole percents; a target of None allows any."""

    kind: CouponKind
    value: int
    currency: str
    opens_at: datetime
    closes_at: datetime
    total: int
    member_limit: int
    granted: bool = False
    max_discount: int | None = None
    min_spend: int = 0
    community_id: str | None = None
    sale_id: str | None = None
    product_id: str | None = None
    ended_at: datetime | None = None


def check_coupon(terms: CouponTerms) -> None:
    """Refuse terms under which a coupon could not work. Raises `InvalidTerms`: the window is empty, `value` is no
    percentage, or a cap is set where there is nothing to cap.
    """
    if terms.closes_at <= terms.opens_at:
        raise InvalidTerms(field="closes_at", reason="must be after opens_at")
    if terms.kind == CouponKind.PERCENT and terms.value > MAX_PERCENT:
        raise InvalidTerms(field="value", reason=f"a percentage must not exceed {MAX_PERCENT}")
    if terms.kind == CouponKind.FIXED and terms.max_discount is not None:
        raise InvalidTerms(field="max_discount", reason="is for coupons of kind percent")


def least_spend(terms: CouponTerms) -> int:
    """What an order must cost at least, in minor units, for the coupon to take anything off it."""
    smallest = -(-100 // terms.value) if terms.kind == CouponKind.PERCENT else 2
    return max(terms.min_spend, smallest)


def discount(terms: CouponTerms, at_least: int) -> int:
    """What is taken off an order that costs `at_least` so much, in minor units: a percentage is rounded down, and
    one unit of money is always left to pay. Raises `CouponMinSpend`.
    """
    if at_least < (needed := least_spend(terms)):
        raise CouponMinSpend(min_spend=needed)
    off = terms.value if terms.kind == CouponKind.FIXED else at_least * terms.value // 100
    return min(off, terms.max_discount or off, at_least - 1)


def check_redeemable(
    terms: CouponTerms, now: datetime, *, targets: Mapping[str, str], granted: bool, taken: int, own: int
) -> None:
    """Refuse a coupon that is not this member's, not valid now, for something else, or used up.

    `targets` are the `currency`, `community_id`, `sale_id` and `product_id` of what is bought; `taken` redemptions
    there are, `own` of them this member's. Raises `CouponNotFound`, `CouponNotOpen`, `CouponEnded`,
    `CouponMismatch`, `CouponLimit`, `CouponUsedUp`.
    """
    if terms.granted and not granted:
        raise CouponNotFound
    if now < terms.opens_at:
        raise CouponNotOpen(opens_at=terms.opens_at.isoformat())
    if now >= ends_at(terms):
        raise CouponEnded
    for name, target in targets.items():
        if getattr(terms, name) not in {None, target}:
            raise CouponMismatch(field=name)
    if own >= terms.member_limit:
        raise CouponLimit(limit=terms.member_limit)
    if taken >= terms.total:
        raise CouponUsedUp


def ends_at(terms: CouponTerms) -> datetime:
    """From when on a coupon takes nothing off: the end of its window, or when an operator ended it."""
    return terms.closes_at if terms.ended_at is None else min(terms.ended_at, terms.closes_at)


def left(terms: CouponTerms, *, taken: int, own: int) -> int:
    """How often a member may still redeem a coupon."""
    return max(min(terms.member_limit - own, terms.total - taken), 0)
