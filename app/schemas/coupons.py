from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.coupons import MAX_COUPON_LIMIT, MAX_TOTAL, CouponKind
from app.domain.money import MAX_AMOUNT
from app.schemas.fields import (
    Amount,
    Body,
    CommunityId,
    CouponCode,
    Currency,
    MemberId,
    Moment,
    ProductId,
    SaleId,
    Title,
)

MAX_GRANTS = 1000


class CouponCreate(Body):
    """A coupon. Its terms do not change; it can be ended. Name at most what it is for; nothing means everything."""

    code: CouponCode | None = Field(default=None, description="Without one, one is made 优惠码，留空则自动生成")
    granted: bool = Field(default=False, description="Only for members it was granted to 仅限已发放的成员使用")
    title: Title
    kind: Annotated[CouponKind, Field(strict=False)]
    value: Amount = Field(
        description="Minor units off (fixed), or whole percents off, 1 to 99 (percent) 面额或折扣百分比"
    )
    max_discount: Amount | None = Field(default=None, description="Most a percentage takes off 最高优惠金额")
    min_spend: Annotated[
        int, Field(ge=0, le=MAX_AMOUNT, description="What the order must cost on its lowest price step 使用门槛")
    ] = 0
    currency: Currency = "CNY"
    community_id: CommunityId | None = None
    sale_id: SaleId | None = None
    product_id: ProductId | None = None
    opens_at: Moment
    closes_at: Moment
    total: Annotated[int, Field(ge=1, le=MAX_TOTAL, description="Redemptions there are 可用总次数")]
    member_limit: Annotated[
        int, Field(ge=1, le=MAX_COUPON_LIMIT, description="Redemptions per member 每人可用次数")
    ] = 1


class GrantCreate(Body):
    """Whom to grant a coupon to; who has it already keeps it."""

    member_ids: Annotated[list[MemberId], Field(min_length=1, max_length=MAX_GRANTS)]


class Granted(BaseModel):
    granted: int = Field(description="Members who did not have it before 本次新发放人数")


class CouponPublic(BaseModel):
    id: str
    code: str
    granted: bool
    title: str
    kind: CouponKind
    value: int = Field(description="Minor units off (fixed), or percents (percent)")
    max_discount: int | None
    min_spend: int = Field(description="What the order must cost on its lowest price step, minor units 使用门槛")
    currency: str
    community_id: str | None = Field(description="What it is for; null: anything 适用范围")
    sale_id: str | None
    product_id: str | None
    opens_at: datetime
    closes_at: datetime
    ended_at: datetime | None
    member_limit: int


class MemberCoupon(CouponPublic):
    """A coupon as its member sees it."""

    left: int = Field(description="How often you can still redeem it 您还可使用的次数")


class CouponQuote(MemberCoupon):
    """What a coupon takes off an order, if it were claimed now; null where no offer was named."""

    at_least: int | None = Field(
        description="What the order costs on its lowest price step, minor units 订单最低金额"
    )
    discount: int | None = Field(description="What it takes off, minor units 优惠金额")


class OperatorCoupon(CouponPublic):
    """A coupon with its redemptions: `total = locked + used + left`."""

    total: int
    locked: int = Field(description="Redemptions of orders that wait for their payment 锁定中")
    used: int = Field(description="Redemptions of paid orders 已使用")
    left: int = Field(description="Redemptions there still are 剩余")
    grants: int = Field(description="Members it was granted to 已发放人数")
    created_at: datetime
