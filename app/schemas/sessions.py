from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from app.schemas.fields import Body, Device, Name, VisitorToken


class SessionCreate(Body):
    """Log in. With provider `dev` (development and staging only) the code is any name you like."""

    provider: Annotated[str, Field(pattern="^[a-z_]{1,20}$", examples=["dev"])]
    code: Annotated[
        str,
        StringConstraints(pattern=r"^[\w.@-]{1,120}$"),
        Field(examples=["alice"], description="What the provider gave the client 登录凭证"),
    ]
    name: Name | None = Field(default=None, description="Name to show; only used at the first login")

    visitor_token: VisitorToken | None = Field(
        default=None,
        description="Whose taps on invites were yours: the `visitor_token` of `GET /i/{code}` 访客令牌",
    )
    device: Device | None = Field(default=None, description="An id of the device, the same each time 设备标识")
    phone: Annotated[str, Field(pattern=r"^\+?[0-9]{5,20}$")] | None = Field(
        default=None, description="With provider `dev` only: others tell us themselves. Kept as a digest 手机号"
    )


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
