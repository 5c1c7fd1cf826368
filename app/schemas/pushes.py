from datetime import datetime

from pydantic import BaseModel, Field

from app.domain.notices import PushState
from app.schemas.fields import Body, Moment, PostId, PushText, SaleId, SegmentId


class PushCreate(Body):
    """A broadcast to the members of a community."""

    text: PushText = Field(examples=["明前龙井今晚八点开抢"])
    post_id: PostId | None = Field(default=None, description="A post of this community 附带帖子")
    sale_id: SaleId | None = Field(default=None, description="A sale of this community 附带活动")
    segment_id: SegmentId | None = Field(default=None, description="Only to members in it 仅发给此人群")
    to_chats: bool = Field(
        default=False, description="Also to the chats bound to this community, once to each 同时发到已绑定的群聊"
    )
    sends_at: Moment | None = Field(default=None, description="At once unless you say 定时发送")


class Digested(BaseModel):
    """Members who are told in a digest."""

    wish: int = Field(description="Because they want digests 偏好合并推送")
    cap: int = Field(description="Because their day has no place left 已达每日上限")


class PushPreview(BaseModel):
    """What a broadcast would do and cost, if it were sent now."""

    recipients: int = Field(description="Members it is for 触达人数")
    digested: Digested
    cost: int = Field(description="Points of value 所需额度")
    budget: int = Field(description="What the community may spend 可用额度")
    budget_after: int = Field(description="Below zero: it would be refused 发送后额度")
    sends_at: datetime = Field(description="After the quiet hours, if they are on 发送时间")
    quiet: bool = Field(description="Whether quiet hours put it off 是否因免打扰延后")


class PushPublic(BaseModel):
    id: str
    community_id: str
    sender_id: str
    text: str
    post_id: str | None
    sale_id: str | None
    segment_id: str | None
    to_chats: bool
    state: PushState
    cost: int
    recipients: int
    delivered: int = Field(description="Members it reached at once 已送达")
    digested: int = Field(description="Members whose digest it went to 已并入合并推送")
    sends_at: datetime
    sent_at: datetime | None
    created_at: datetime


class PushDetail(PushPublic):
    reads: int = Field(description="Members who have read it 已读")
