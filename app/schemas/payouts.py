from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.payouts import PayoutState
from app.schemas.fields import Amount, Body, Currency


class PayoutCreate(Body):
    """Have a part of the balance paid out."""

    amount: Amount
    currency: Currency = "CNY"
    account: Annotated[
        str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,120}$", examples=["alice"], description="Where to 收款账户")
    ]


class PayoutPublic(BaseModel):
    id: str
    amount: int = Field(description="What leaves the balance, minor units")
    fee: int = Field(description="What of it is kept 手续费")
    currency: str
    account: str
    state: PayoutState
    created_at: datetime
    paid_at: datetime | None


class OperatorPayout(PayoutPublic):
    member_id: str
    attempts: int
    last_error: str | None
    provider_ref: str | None
