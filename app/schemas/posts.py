from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.domain.jobs import JobState
from app.domain.memberships import Role
from app.domain.posts import MAX_MENTIONS, MAX_PICTURES, PostKind, ReactionKind
from app.schemas.fields import Body, GroupId, LongProse, MemberId, Page, PictureUrl, SaleId
from app.schemas.groups import GroupPublic
from app.schemas.sales import SalePublic

WRITTEN = frozenset({PostKind.QUESTION, PostKind.JOB})
Mentions = Annotated[
    list[MemberId], Field(max_length=MAX_MENTIONS, description="Members who are told of it 提及的成员")
]


class PostCreate(Body):
    kind: Annotated[PostKind, Field(strict=False)] = PostKind.TEXT
    body: LongProse = Field(default="", examples=["今天的新茶到了"])
    pictures: Annotated[list[PictureUrl], Field(max_length=MAX_PICTURES)] = Field(default_factory=list)
    mentions: Mentions = Field(default_factory=list)
    exclusive: bool = Field(
        default=False, description="For those who have paid for their membership 仅付费成员可见"
    )
    group_id: GroupId | None = Field(default=None, description="Of a group card 拼团卡片")
    sale_id: SaleId | None = Field(default=None, description="Of a flash card 秒杀卡片")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == PostKind.GROUP_CARD) != (self.group_id is not None):
            raise ValueError("group_id is for a group card, which needs it")
        if (self.kind == PostKind.FLASH_CARD) != (self.sale_id is not None):
            raise ValueError("sale_id is for a flash card, which needs it")
        if self.kind in WRITTEN and not self.body:
            raise ValueError("body: say something")
        if self.kind == PostKind.TEXT and not (self.body or self.pictures):
            raise ValueError("body or pictures: say or show something")
        return self


class PersonPublic(BaseModel):
    """A member as the others of a community see them: by their nickname there, or their masked name."""

    member_id: str
    name: str
    role: Role | None = Field(description="None for who is there no more 身份，已离开则为空")


class CheckInPublic(BaseModel):
    day: str
    streak: int = Field(description="Days in a row 连续天数")
    night: bool


class QuestionPublic(BaseModel):
    answered_at: datetime | None
    answer_due_at: datetime | None = Field(
        description="As this community promises; None where it does not 承诺答复时间"
    )
    overdue: bool = Field(description="Answered later than promised, or waiting longer 超时")


class HandPublic(BaseModel):
    number: int
    giver: PersonPublic
    receiver: PersonPublic
    created_at: datetime


class JobPublic(BaseModel):
    state: JobState
    holder: PersonPublic | None
    hands: list[HandPublic] = Field(description="Through which it went 转手记录")


class PostPublic(BaseModel):
    """A post as a member sees it. Of an exclusive one that is not for them there is no body, and nothing on it."""

    id: str
    community_id: str
    author: PersonPublic
    kind: PostKind
    body: str | None
    pictures: list[str]
    mentions: list[PersonPublic]
    exclusive: bool
    comment_count: int
    reaction_count: int
    reactions: list[ReactionKind] = Field(description="The viewer's own 我的回应")
    pinned_at: datetime | None
    hidden_at: datetime | None
    check_in: CheckInPublic | None
    question: QuestionPublic | None
    job: JobPublic | None
    group: GroupPublic | None = Field(description="On a group card, as it is now 拼团实时状态")
    sale: SalePublic | None = Field(description="On a flash card, as it is now 活动实时状态")
    created_at: datetime


class FeedPage(Page[PostPublic]):
    """Posts, newest first; those that wait for an answer, longest waiting first. Pinned ones are in `pinned`
    too.
    """

    pinned: list[PostPublic] = Field(description="On the first page, those pinned last 置顶")


class CommentCreate(Body):
    body: Annotated[LongProse, Field(min_length=1)] = Field(examples=["水温 80 度即可"])
    mentions: Mentions = Field(default_factory=list)


class CommentPublic(BaseModel):
    id: str
    post_id: str
    author: PersonPublic
    body: str | None = Field(description="None for who may not see the post 无权查看则为空")
    is_answer: bool
    reaction_count: int
    reactions: list[ReactionKind]
    hidden_at: datetime | None
    created_at: datetime


class Reacted(BaseModel):
    """What a member has reacted with, and how many reactions there are."""

    reactions: list[ReactionKind]
    reaction_count: int


class HandOn(Body):
    member_id: MemberId


class StreakPublic(BaseModel):
    post_id: str
    author: PersonPublic
    streak: int
    night: bool
    created_at: datetime


class StreaksPublic(BaseModel):
    """Who has checked in today, longest streak first."""

    day: str = Field(description="Today, there 今日")
    items: list[StreakPublic]
    your_streak: int = Field(description="With today, or up to yesterday; 0: none that goes on 我的连续天数")
    checked_in: bool = Field(description="Whether you have, today 今日是否已打卡")


class HistoryItem(BaseModel):
    """One of the two."""

    post: PostPublic | None
    comment: CommentPublic | None


class HistoryPage(Page[HistoryItem]):
    member: PersonPublic
    posts: int = Field(description="Up to a thousand 帖子数")
    comments: int = Field(description="Up to a thousand, answers among them 评论数")
    answers: int
