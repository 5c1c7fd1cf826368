from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.domain.invites import INVITE_TTL_DAYS, MAX_INVITE_DAYS, MAX_USES, InviteChannel
from app.schemas.fields import Body, CommunityId, GroupId, Moment, SaleId


class InviteCreate(Body):
    """Name exactly one of group, sale or community."""

    group_id: GroupId | None = None
    sale_id: SaleId | None = None
    community_id: CommunityId | None = None
    channel: Annotated[InviteChannel, Field(strict=False)] = InviteChannel.LINK
    expires_at: Annotated[
        Moment | None,
        Field(
            description=f"Until when it works, at most {MAX_INVITE_DAYS} days; without it, {INVITE_TTL_DAYS} days"
            " 失效时间"
        ),
    ] = None
    max_uses: Annotated[int, Field(ge=1, le=MAX_USES)] | None = Field(
        default=None, description="How many members it may bring; without it, any number 最多邀请人数"
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(target is not None for target in (self.group_id, self.sale_id, self.community_id)) != 1:
            raise ValueError("name exactly one of group_id, sale_id, community_id")
        return self


class InvitePublic(BaseModel):
    code: str
    url: str = Field(description="The short link to share 分享链接")
    group_id: str | None
    sale_id: str | None
    community_id: str | None
    channel: InviteChannel
    expires_at: datetime
    max_uses: int | None


class InviteMine(InvitePublic):
    """An invite of your own, and what came of it."""

    created_at: datetime
    revoked_at: datetime | None
    used_up_at: datetime | None = Field(description="When it had brought `max_uses` members")
    taps: int = Field(description="How often it was tapped or typed by others 点击次数")
    logins: int = Field(description="Members that came by it 登录人数")
    brought: int = Field(description="Members that bought after it 成功邀请人数")


class InviteLanding(InvitePublic):
    """What somebody who taps the link learns."""

    inviter_name: str = Field(description="Masked 脱敏昵称")
    target_url: str = Field(description="Where the link leads")
    visitor_token: str | None = Field(
        description="Show it at the next tap (`visitor-token` header) and at login, so that"
        " it is known who brought you; None for a member who is logged in 访客令牌"
    )
