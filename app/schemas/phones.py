from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from app.schemas.fields import Body, PhoneNumber

Masked = Annotated[str, Field(description="Masked 脱敏手机号", examples=["+86138****8000"])]


class PhonePut(Body):
    """A number that somebody confirms is yours."""

    provider: Annotated[Literal["dev", "wechat"], Field(examples=["dev"])]
    code: Annotated[
        str,
        StringConstraints(pattern="^[+0-9A-Za-z_ .-]{1,128}$"),
        Field(
            description="Of `wechat` what `getPhoneNumber` gave the client; of `dev` the number itself 手机号凭证",
            examples=["+8613800138000"],
        ),
    ]


class PhonePublic(BaseModel):
    number: Masked


class PhoneSearch(Body):
    phone: PhoneNumber


class MemberFound(BaseModel):
    """A member, as operators who ship and refund see them."""

    id: str
    name: str
    phone: Masked
    created_at: datetime
