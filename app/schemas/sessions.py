from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from app.domain.identities import Login, may_be_code
from app.schemas.fields import Body, Device, Name, PhoneNumber, VisitorToken
from app.schemas.identities import Code


class SessionCreate(Body):
    """Log in. With provider `dev` (development and staging only) the code is any you like, of letters, digits and
    `._@-`.
    """

    provider: Annotated[str, Field(pattern="^[a-z_]{1,20}$", examples=["dev"])]
    code: Code
    name: Name | None = Field(default=None, description="Name to show; only used at the first login")

    visitor_token: VisitorToken | None = Field(
        default=None,
        description="Whose taps on invites were yours: the `visitor_token` of `GET /i/{code}` 访客令牌",
    )
    device: Device | None = Field(default=None, description="An id of the device, the same each time 设备标识")
    phone: PhoneNumber | None = Field(
        default=None, description="With provider `dev` only: of others see `PUT /v1/members/me/phone` 手机号"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not may_be_code(self.provider, self.code):
            raise ValueError("code: none of this provider's")
        if self.phone is not None and self.provider != Login.DEV:
            raise ValueError("phone: only with provider `dev`")
        return self


class SessionRefresh(Body):
    refresh_token: Annotated[str, StringConstraints(pattern="^[0-9A-Za-z_.-]{1,200}$")]


class MemberPublic(BaseModel):
    id: str
    name: str


class SessionPublic(BaseModel):
    access_token: str = Field(description="Send as `Authorization: Bearer …`")
    refresh_token: str = Field(description="Works once; the answer brings the next one")
    token_type: str = "Bearer"  # noqa: S105 - the scheme's name
    expires_in_seconds: int
    member: MemberPublic


class SessionShown(BaseModel):
    """One login of yours."""

    id: str
    provider: str | None = Field(description="Who confirmed it; null of an old one")
    created_at: datetime
    refreshed_at: datetime | None = Field(description="When its refresh token was last used 最近活跃")
    expires_at: datetime = Field(description="When it ends if that is not used again")
    is_current: bool = Field(description="Whether it is the one you ask with 当前会话")
