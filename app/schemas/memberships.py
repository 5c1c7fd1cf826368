from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.domain.memberships import SAID_REASONS, LeaveReason, MembershipState, Role, Shown
from app.domain.notices import PushWish
from app.schemas.fields import PRINTABLE, Body, InviteCode, Prose, printable
from app.schemas.orders import OrderPublic

Nickname = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=60), AfterValidator(printable), PRINTABLE
]


def _said(reason: LeaveReason) -> LeaveReason:
    if reason not in SAID_REASONS:
        raise ValueError("is not for members to say")
    return reason


def _given(role: Role) -> Role:
    if role == Role.OWNER:
        raise ValueError("is handed over")
    return role


SaidReason = Annotated[
    LeaveReason,
    AfterValidator(_said),
    Field(description="Why 退出原因", json_schema_extra={"enum": [str(reason) for reason in SAID_REASONS]}),
]
GivenRole = Annotated[Role, Field(strict=False), AfterValidator(_given)]
ShownField = Annotated[Shown, Field(strict=False)]


class JoinCreate(Body):
    invite_code: InviteCode | None = Field(default=None, description="Who brought you 邀请码")
    application: Prose = Field(
        default="",
        description="Why you would like to join, where that is decided 申请理由",
        examples=["我也爱喝茶"],
    )


class MembershipUpdate(Body):
    """What is named here changes; an empty text takes one back."""

    nickname: Nickname | None = Field(
        default=None, description="Shown instead of your masked name 群昵称", examples=["小满"]
    )
    bio: Prose | None = None
    shown: Annotated[list[ShownField], Field(max_length=len(Shown))] | None = Field(
        default=None, description="What others see of you here, besides your name, bio and role 对外展示的资料"
    )
    push_wish: Annotated[PushWish, Field(strict=False)] | None = Field(
        default=None, description="How you want to be told of what is promoted 推送偏好"
    )


class RoleSet(Body):
    role: GivenRole = Field(
        description="Any but `owner`, which is handed over 角色",
        examples=["moderator"],
        json_schema_extra={"enum": [str(role) for role in Role if role != Role.OWNER]},
    )


class MembershipPublic(BaseModel):
    """One's own membership of a community."""

    community_id: str
    member_id: str
    state: MembershipState
    role: Role
    application: str
    nickname: str
    bio: str
    shown: list[Shown] = Field(description="What others see of you here")
    push_wish: PushWish
    paid_until: datetime | None = Field(description="Until when you have paid, where one pays 有效期至")
    joined_at: datetime | None
    left_at: datetime | None
    leave_reason: LeaveReason | None


class JoinAnswer(BaseModel):
    membership: MembershipPublic | None = Field(description="None until the first payment in a paid community")
    order: OrderPublic | None = Field(description="What has to be paid, in a paid community 待支付订单")
