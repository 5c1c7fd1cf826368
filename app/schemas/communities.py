from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.domain.communities import (
    MAX_ANSWER_MINUTES,
    MAX_MEMORY_DAYS,
    MAX_PERIOD_DAYS,
    CommunityState,
    Form,
    JoinMode,
    Lifespan,
    OnDissolve,
    Purpose,
)
from app.domain.memberships import Standing
from app.schemas.fields import Amount, Body, Currency, MemberId, Moment, Name, Prose, SegmentId, TimeOfDay, Timezone
from app.schemas.memberships import MembershipPublic

DEFAULT_MEMORY_DAYS = 7
DEFAULT_ANSWER_MINUTES = 24 * 60
MAX_BLOCKED_WORDS = 200
Word = Annotated[str, Field(min_length=1, max_length=40)]


class Plan(Body):
    """What membership costs in a paid community."""

    price: Amount
    currency: Currency = "CNY"
    period_days: Annotated[
        int, Field(ge=1, le=MAX_PERIOD_DAYS, description="Days one payment is good for 有效天数")
    ]


class CommunityCreate(Body):
    name: Name = Field(examples=["西湖茶友"])
    form: Annotated[Form, Field(strict=False)] = Field(
        default=Form.FORUM, description="One room with a short memory, or threads that can be looked up 形态"
    )
    lifespan: Annotated[Lifespan, Field(strict=False)] = Field(
        default=Lifespan.LASTING, description="`flash` dissolves by itself at `closes_at` 存续方式"
    )
    purpose: Annotated[Purpose, Field(strict=False)] = Field(default=Purpose.SALES, description="目的")
    audience: Prose = Field(default="", description="Who it is for 面向人群")
    need: Prose = Field(default="", description="The need it meets 满足的需求")
    benefits: Prose = Field(default="", description="What members get 成员得到什么")
    sustained_by: Prose = Field(default="", description="What carries the return 回报从何而来")
    posting_rules: Prose = Field(default="", description="How one posts 发言规则")
    timezone: Timezone = "Asia/Shanghai"
    closes_at: Moment | None = Field(default=None, description="When a flash community dissolves 解散时间")
    on_dissolve: Annotated[OnDissolve, Field(strict=False)] = Field(
        default=OnDissolve.KEEP, description="What becomes of what was written 解散后内容去留"
    )
    memory_days: Annotated[int, Field(ge=1, le=MAX_MEMORY_DAYS)] | None = Field(
        default=None,
        description=f"How long a chat remembers; {DEFAULT_MEMORY_DAYS} unless you say 聊天记录保留天数",
    )
    answer_minutes: Annotated[int, Field(ge=1, le=MAX_ANSWER_MINUTES)] | None = Field(
        default=None,
        description="Within which a service community promises an answer; a day unless you say 承诺答复时间",
    )
    join_mode: Annotated[JoinMode, Field(strict=False)] = Field(default=JoinMode.OPEN, description="加入方式")
    plan: Plan | None = Field(default=None, description="For a paid community, which needs it 付费方案")
    see_segment_id: SegmentId | None = Field(default=None, description="Who may see it 可见人群")
    join_segment_id: SegmentId | None = Field(default=None, description="Who may join 可加入人群")
    buy_segment_id: SegmentId | None = Field(default=None, description="Who may buy in its sales 可购买人群")
    blocked_words: Annotated[list[Word], Field(max_length=MAX_BLOCKED_WORDS)] = Field(default_factory=list)
    quiet_from: TimeOfDay = Field(default="22:00", description="From when nothing promotional is sent 免打扰开始")
    quiet_to: TimeOfDay = Field(
        default="08:00", description="Until when; the same as `quiet_from`: never 免打扰结束"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.lifespan == Lifespan.FLASH) != (self.closes_at is not None):
            raise ValueError("closes_at is for a flash community, which needs it")
        if self.on_dissolve == OnDissolve.ERASE and self.lifespan != Lifespan.FLASH:
            raise ValueError("on_dissolve is for a flash community")
        if self.memory_days is not None and self.form != Form.CHAT:
            raise ValueError("memory_days is for a chat")
        if self.answer_minutes is not None and self.purpose != Purpose.SERVICE:
            raise ValueError("answer_minutes is for a service community")
        if (self.join_mode == JoinMode.PAID) != (self.plan is not None):
            raise ValueError("plan is for a paid community, which needs it")
        return self


class CommunityUpdate(Body):
    """What kind of community it is does not change; what is named here does."""

    name: Name | None = None
    audience: Prose | None = None
    need: Prose | None = None
    benefits: Prose | None = None
    sustained_by: Prose | None = None
    posting_rules: Prose | None = None
    closes_at: Moment | None = None
    memory_days: Annotated[int, Field(ge=1, le=MAX_MEMORY_DAYS)] | None = None
    answer_minutes: Annotated[int, Field(ge=1, le=MAX_ANSWER_MINUTES)] | None = None
    blocked_words: Annotated[list[Word], Field(max_length=MAX_BLOCKED_WORDS)] | None = None
    quiet_from: TimeOfDay | None = None
    quiet_to: TimeOfDay | None = None


class OwnerSet(Body):
    member_id: MemberId


class Saved(BaseModel):
    currency: Currency
    amount: int = Field(description="Minor units, e.g. fen 分")


class CommunitySummary(BaseModel):
    """What a community came to, as its members were told when it dissolved."""

    members: int
    posts: int
    orders: int
    saved: list[Saved] = Field(description="Below list prices, by currency 共省下")


class CommunityPublic(BaseModel):
    """A community as it states itself, to whoever may see it."""

    id: str
    name: str
    form: Form
    lifespan: Lifespan
    purpose: Purpose
    audience: str
    need: str
    benefits: str
    sustained_by: str
    posting_rules: str
    state: CommunityState
    timezone: str
    closes_at: datetime | None
    on_dissolve: OnDissolve
    memory_days: int | None
    answer_minutes: int | None
    join_mode: JoinMode
    plan: Plan | None
    member_count: int
    standing: Standing | None = Field(
        description="Who the viewer is in it; None where nobody is logged in 我的身份"
    )
    created_at: datetime
    opened_at: datetime | None
    dissolved_at: datetime | None
    summary: CommunitySummary | None = Field(description="A moment after it dissolved 解散小结")


class CommunityMine(CommunityPublic):
    """A community, and one's own membership of it."""

    membership: MembershipPublic


class CommunityDetail(CommunityPublic):
    """A community as operators and those who lead it see it."""

    see_segment_id: str | None
    join_segment_id: str | None
    buy_segment_id: str | None
    blocked_words: list[str]
    quiet_from: str
    quiet_to: str
