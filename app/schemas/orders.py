from datetime import datetime

from pydantic import BaseModel, Field

from app.domain.orders import OrderState
from app.domain.payments import PaymentOutcome, PaymentState, RefundReason
from app.domain.refunds import RefundState
from app.domain.rescues import OnUnfilled


class OrderPublic(BaseModel):
    id: str
    sale_id: str
    group_id: str
    offer_id: str
    bargain_id: str | None = Field(description="The bargain at whose price it was bought 砍价")
    seat_number: int
    quantity: int
    unit_price: int = Field(description="Minor units")
    discount: int = Field(description="What a coupon takes off, minor units 优惠金额")
    amount: int = Field(description="`unit_price × quantity − discount`, minor units")
    settled_price: int | None = Field(
        description="What a unit costs in the end, where that is decided when the group closes 最终单价"
    )
    on_unfilled: OnUnfilled = Field(
        description="Your wish for the case that the group does not fill 未成团时的选择"
    )
    min_quantity: int | None = Field(description="Units you want in any case 至少要几件")
    settled_quantity: int | None = Field(description="Units you have in the end, where you left it open 最终件数")
    currency: str
    state: OrderState
    invite_code: str | None
    coupon_code: str | None
    hold_expires_at: datetime = Field(description="Pay before this moment 支付截止时间")
    paid_at: datetime | None
    confirmed_at: datetime | None = Field(description="When its group succeeded 成团时间")
    created_at: datetime


class PaymentSummary(BaseModel):
    id: str
    provider: str
    state: PaymentState
    outcome: PaymentOutcome | None = Field(
        description="Of captured money: kept for the seat, or refunded; null while it is being decided",
    )
    amount: int
    captured_amount: int | None
    captured_at: datetime | None


class RefundSummary(BaseModel):
    id: str
    payment_id: str
    reason: RefundReason
    state: RefundState
    amount: int
    created_at: datetime
    succeeded_at: datetime | None


class OrderDetail(OrderPublic):
    """An order with the money that moved for it."""

    payments: list[PaymentSummary]
    refunds: list[RefundSummary]


class OperatorOrder(OrderPublic):
    """An order as operators see it."""

    member_id: str
