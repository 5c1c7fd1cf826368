"""Redeeming coupons: whether one may, before anything is dealt; and which numbered places, as they are committed.

The numbers are found in the rows, by the transaction that inserts them, for all claims of its batch. Two
transactions may find the same; then the keys refuse one of them, and it looks again. Each begins to look at a place
of its own, so that it seldom comes to that.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from secrets import randbelow

import sqlalchemy
from sqlalchemy import Integer, bindparam, func
from sqlmodel import col, select

from app.domain import coupons
from app.domain.errors import CouponLimit, CouponUsedUp
from app.domain.sales import SaleTerms
from app.gateways.bulk import Bulk, among
from app.models import Coupon, Grant, Offer, Redemption
from app.services.terms import SaleFacts, find_coupon
from app.state import State

GAPS_AT_ONCE = 500
"""Free ranges that are read at a time."""
_START, _END = bindparam("start", type_=Integer()), bindparam("end", type_=Integer())
_NUMBER = col(Redemption.number)
_WITHIN = (among(Redemption.coupon_id, "coupon_ids"), _NUMBER >= _START, _NUMBER <= _END)
_TAKEN = (
    sqlalchemy.select(
        _NUMBER.label("number"), func.lag(_NUMBER, 1, _START - 1).over(order_by=_NUMBER).label("below")
    )
    .where(*_WITHIN)
    .subquery()
)
_GAPS = (
    sqlalchemy.select(_TAKEN.c.below, _TAKEN.c.number)
    .where(_TAKEN.c.number - _TAKEN.c.below > 1)
    .order_by(_TAKEN.c.number)
    .limit(GAPS_AT_ONCE)
    .subquery()
)
FREE_NUMBERS = sqlalchemy.union_all(
    sqlalchemy.select(_GAPS.c.below, _GAPS.c.number),
    sqlalchemy.select(func.coalesce(func.max(_NUMBER), _START - 1), _END + 1).where(*_WITHIN),
)
"""Ranges without redemptions, by what is taken below and above them: the first ones, and the last."""
MEMBER_NUMBERS = select(Redemption.coupon_id, Redemption.member_id, Redemption.member_number).where(
    among(Redemption.coupon_id, "coupon_ids"), among(Redemption.member_id, "member_ids")
)


@dataclass(frozen=True, slots=True)
class Voucher:
    """A coupon that a claim may redeem, and what it takes off."""

    coupon_id: str
    code: str
    total: int
    member_limit: int
    discount: int


@dataclass(frozen=True, slots=True)
class Found:
    """A coupon that its member may redeem now: redemptions `taken` of it, and their `own`."""

    coupon: Coupon
    taken: int
    own: int


async def find(state: State, code: str, member_id: str, targets: Mapping[str, str]) -> Found:
    """A coupon for what is bought. Raises the refusals of `check_redeemable`."""
    coupon, taken = await find_coupon(state, code)
    granted, own = await state.batches(_read_own).ask((coupon.id, member_id), (coupon.id, member_id))
    coupons.check_redeemable(coupon.terms(), state.clock(), targets=targets, granted=granted, taken=taken, own=own)
    return Found(coupon, taken, own)


async def check(state: State, code: str, member_id: str, sale: SaleFacts, offer: Offer, quantity: int) -> Voucher:
    """What a coupon takes off an order now. Raises the refusals of `find`, `CouponMinSpend`."""
    coupon = (await find(state, code, member_id, targets_of(sale, offer))).coupon
    off = coupons.discount(coupon.terms(), at_least(sale.terms, offer, quantity))
    return Voucher(coupon.id, code, coupon.total, coupon.member_limit, off)


def targets_of(sale: SaleFacts, offer: Offer) -> dict[str, str]:
    """What a coupon may be for, of an offer."""
    return {
        "currency": sale.currency,
        "community_id": sale.community_id,
        "sale_id": sale.id,
        "product_id": offer.product_id,
    }


def at_least(sale: SaleTerms, offer: Offer, quantity: int) -> int:
    """What an order costs on the lowest step of its offer's ladder."""
    return min(step.price for step in offer.steps(sale)) * quantity


async def _read_own(state: State, pairs: Sequence[tuple[str, str]]) -> list[tuple[bool, int]]:
    """Of coupons and members: whether it was granted to them, and how often they have redeemed it."""
    coupon_ids, member_ids = ({pair[place] for pair in pairs} for place in (0, 1))
    async with state.database.snapshot() as session:
        granted = await session.exec(
            select(Grant.coupon_id, Grant.member_id).where(
                col(Grant.coupon_id).in_(coupon_ids), col(Grant.member_id).in_(member_ids)
            ),
        )
        counted = await session.exec(
            select(Redemption.coupon_id, Redemption.member_id, func.count())
            .where(col(Redemption.coupon_id).in_(coupon_ids), col(Redemption.member_id).in_(member_ids))
            .group_by(col(Redemption.coupon_id), col(Redemption.member_id)),
        )
        have = set(granted.all())
        redeemed = {(coupon_id, member_id): number for coupon_id, member_id, number in counted.all()}
    return [(pair in have, redeemed.get(pair, 0)) for pair in pairs]


@dataclass(slots=True)
class FreePlaces:
    """Places of coupons that a batch of claims redeems, as the rows have them and as they were given out since."""

    numbers: dict[str, Iterator[int]] = field(default_factory=dict)
    taken: defaultdict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))

    def take(self, voucher: Voucher, member_id: str) -> tuple[int, int]:
        """The number of the next redemption, and which of its member's it is. Raises `CouponLimit`,
        `CouponUsedUp`.
        """
        own = self.taken[voucher.coupon_id, member_id]
        if len(own) >= voucher.member_limit:
            raise CouponLimit(limit=voucher.member_limit)
        number = next(self.numbers[voucher.coupon_id], None)
        if number is None:
            raise CouponUsedUp
        member_number = next(place for place in count(1) if place not in own)
        own.add(member_number)
        return number, member_number


async def find_places(bulk: Bulk, wanted: Sequence[tuple[Voucher, str]]) -> FreePlaces:
    """Free places for members who redeem coupons, in the transaction at hand."""
    places = FreePlaces()
    vouchers = {voucher.coupon_id: voucher for voucher, _ in wanted}
    most: defaultdict[str, int] = defaultdict(int)
    for voucher, _ in wanted:
        most[voucher.coupon_id] += 1
    for coupon_id, voucher in sorted(vouchers.items()):
        places.numbers[coupon_id] = iter(await _free_numbers(bulk, coupon_id, voucher.total, most[coupon_id]))
    own = await bulk.fetch(
        MEMBER_NUMBERS, coupon_ids=sorted(vouchers), member_ids=sorted({member_id for _, member_id in wanted})
    )
    for coupon_id, member_id, member_number in own:
        places.taken[coupon_id, member_id].add(member_number)
    return places


async def _free_numbers(bulk: Bulk, coupon_id: str, total: int, most: int) -> list[int]:
    """Up to so many free numbers of a coupon, from a place of our own on, and around its end."""
    begin = randbelow(total) + 1
    free: list[int] = []
    for start, end in ((begin, total), (1, begin - 1)):
        if len(free) < most and start <= end:
            for below, above in await bulk.fetch(FREE_NUMBERS, coupon_ids=[coupon_id], start=start, end=end):
                free += range(below + 1, min(above, below + 1 + most))
    return free[:most]
