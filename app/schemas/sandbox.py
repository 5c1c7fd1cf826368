"""What the sandbox cashier reads and answers."""

from typing import Annotated

from pydantic import BaseModel, Field

from app.gateways.payments.provider import ChargeState
from app.schemas.fields import Amount, Body, Currency, Moment, Prose

ChargeId = Annotated[str, Field(pattern="^[a-z0-9_]{1,40}$")]


class ChargeCreate(Body):
    id: ChargeId
    amount: Amount
    currency: Currency
    description: Prose
    notify_url: Annotated[str, Field(pattern="^https?://", max_length=500)]
    expires_at: Moment


class ChargeRef(Body):
    id: ChargeId


class ChargeAnswer(BaseModel):
    id: str
    state: ChargeState
    pay_url: str
    amount: int | None
    currency: str | None
    reference: str | None
    payer: str | None


class RefundCreate(Body):
    id: ChargeId
    charge_id: ChargeId
    amount: Amount


class RefundAnswer(BaseModel):
    id: str
    reference: str | None


class PayoutCreate(Body):
    """`account` says what becomes of it: `refuse` is refused, `fail-3` is not answered three times."""

    id: ChargeId
    account: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,120}$")]
    amount: Amount
    currency: Currency


class PayoutAnswer(BaseModel):
    id: str
    reference: str | None


class Pay(Body):
    """How to pay, and how to misbehave. An empty body pays at once and in full."""

    delay_seconds: Annotated[float, Field(ge=0, le=86_400, description="Settle only after so long 延迟到账")] = 0
    duplicates: Annotated[int, Field(ge=0, le=20, description="Notify so many times more 重复通知")] = 0
    reorder: Annotated[bool, Field(description="Tell of an earlier failure after the success 乱序通知")] = False
    drop: Annotated[bool, Field(description="Never notify 丢失通知")] = False
    amount: Amount | None = Field(default=None, description="Pay another amount 金额不符")
    payer: Annotated[str, Field(pattern=r"^[\w.@-]{1,64}$")] | None = Field(
        default=None, description="The account it is paid from 付款账户"
    )
    refuse: Annotated[bool, Field(description="Refuse the payment 拒绝支付")] = False
    refund_failures: Annotated[int, Field(ge=0, le=20, description="Fail so many refund calls 退款失败次数")] = 0
