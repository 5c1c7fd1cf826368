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
    pay_url: str | None = Field(description="The page where the member pays, if there is one 支付地址")
    pay_params: dict[str, str] | None = Field(
        description="What the front end calls the provider's own cashier with, if there is no page: for WeChat Pay"
        " the parameters of `wx.requestPayment` 调起支付参数"
    )
    expires_at: datetime


class NoticeAnswer(BaseModel):
    code: str = "SUCCESS"
