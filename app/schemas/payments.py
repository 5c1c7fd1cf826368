from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.payments import PaymentState
from app.schemas.fields import Body


class PaymentCreate(Body):
    provider: Annotated[str, Field(pattern="^[a-z_]{1,20}$", examples=["sandbox"])]


class PaymentPublic(BaseModel):
    payment_id: str
    order_id: str
    provider: str
    state: PaymentState
    amount: int = Field(description="Minor units")
    currency: str
    pay_url: str = Field(description="Where the member pays 支付地址")
    expires_at: datetime


class NoticeAnswer(BaseModel):
    code: str = "SUCCESS"
