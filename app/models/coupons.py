"""Coupons, whom they were granted to, and the numbered places of their redemptions."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.coupons import MAX_COUPON_LIMIT, MAX_PERCENT, MAX_TOTAL, CouponKind, CouponTerms
from app.domain.money import MAX_AMOUNT
from app.models.columns import big_field, check, id_field, link_field, loose_link_field, state_field


class Coupon(SQLModel, table=True):
    """What a code takes off an order; None as target means any. A `granted` one is for those who have a grant."""

    __tablename__ = "coupons"
    __table_args__ = (
        UniqueConstraint("code"),
        check("window", "opens_at < closes_at"),
        check(
            "value",
            f"value BETWEEN 1 AND CASE WHEN kind = 'percent' THEN {MAX_PERCENT} ELSE {MAX_AMOUNT} END",
        ),
        check("max_discount", "max_discount IS NULL OR (max_discount >= 1 AND kind = 'percent')"),
        check("min_spend", f"min_spend BETWEEN 0 AND {MAX_AMOUNT}"),
        check("total", f"total BETWEEN 1 AND {MAX_TOTAL}"),
        check("member_limit", f"member_limit BETWEEN 1 AND {MAX_COUPON_LIMIT}"),
    )

    id: str = id_field("cpn")
    code: str = Field(max_length=20)
    granted: bool
    title: str = Field(max_length=120)
    kind: CouponKind = state_field(CouponKind)
    value: int = big_field()
    max_discount: int | None = big_field(default=None, nullable=True)
    min_spend: int = big_field()
    currency: str = Field(max_length=3)
    community_id: str | None = link_field("communities.id", default=None, nullable=True)
    sale_id: str | None = link_field("sales.id", default=None, nullable=True)
    product_id: str | None = link_field("products.id", default=None, nullable=True)
    opens_at: datetime
    closes_at: datetime
    ended_at: datetime | None = None
    total: int
    member_limit: int
    created_at: datetime

    def terms(self) -> CouponTerms:
        """Its rules, as the domain reads them."""
        return CouponTerms(
            kind=self.kind,
            value=self.value,
            currency=self.currency,
            opens_at=self.opens_at,
            closes_at=self.closes_at,
            total=self.total,
            member_limit=self.member_limit,
            granted=self.granted,
            max_discount=self.max_discount,
            min_spend=self.min_spend,
            community_id=self.community_id,
            sale_id=self.sale_id,
            product_id=self.product_id,
            ended_at=self.ended_at,
        )


class Grant(SQLModel, table=True):
    """A coupon that is in a member's list."""

    __tablename__ = "grants"

    member_id: str = link_field("members.id", primary_key=True)
    coupon_id: str = link_field("coupons.id", primary_key=True, index=True)
    created_at: datetime


class Redemption(SQLModel, table=True):
    """Redemption `number` of 1..total of a coupon, and `member_number` of 1..member_limit of its member."""

    __tablename__ = "redemptions"
    __table_args__ = (
        UniqueConstraint("coupon_id", "member_id", "member_number"),
        UniqueConstraint("order_id"),
        check("number", "number BETWEEN 1 AND total"),
        check("member_number", "member_number BETWEEN 1 AND member_limit"),
    )

    coupon_id: str = loose_link_field(primary_key=True)
    number: int = Field(primary_key=True)
    total: int
    member_id: str = loose_link_field()
    member_number: int
    member_limit: int
    order_id: str = loose_link_field()
