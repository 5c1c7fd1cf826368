from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.domain.invites import InviteChannel
from app.schemas.fields import Body, CommunityId, GroupId, SaleId


class InviteCreate(Body):
    """Name exactly one of group, sale or community."""

    group_id: GroupId | None = None
    sale_id: SaleId | None = None
    community_id: CommunityId | None = None
    channel: Annotated[InviteChannel, Field(strict=False)] = InviteChannel.LINK

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


class InviteLanding(InvitePublic):
    """What somebody who taps the link learns."""

    inviter_name: str = Field(description="Masked 脱敏昵称")
    target_url: str = Field(description="Where the link leads")
    visitor_token: str | None = Field(
        description="Show it at the next tap (`visitor-token` header) and at login, so that"
        " it is known who brought you; None for a member who is logged in 访客令牌"
    )
