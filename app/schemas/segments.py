from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from app.domain.segments import MAX_DEPTH, MAX_PARTS, SegmentKind
from app.schemas.fields import Body, CommunityId, MemberId, Name

MAX_LISTED = 1_000
RuleTree = Annotated[
    dict[str, Any],
    Field(
        description='`{"all": [rules]}`, `{"any": [rules]}`, `{"not": rule}`, or a comparison, such as'
        ' `{"fact": "spent", "is": "at_least", "value": 100000}` (fen) or'
        ' `{"fact": "device", "is": "one_of", "value": ["phone"]}`; at most'
        f" {MAX_DEPTH} deep, of {MAX_PARTS} parts. Numbers are `orders`, `spent`, `days_since_first_order`,"
        " `days_since_last_order`, `member_days`, `check_ins`, `night_check_ins` and `night_share` (percent),"
        " compared by `at_least`, `at_most`, `exactly`; words are `device`, `city`, `tag`, `own_tag` and"
        " `community`. What is not known fits no comparison 人群规则",
        examples=[{"fact": "orders", "is": "exactly", "value": 0}],
    ),
]


class SegmentCreate(Body):
    name: Name = Field(examples=["新客"])
    kind: Annotated[SegmentKind, Field(strict=False)] = Field(
        default=SegmentKind.DYNAMIC, description="Whom the rule fits at the moment, or a list that stays 动态或静态"
    )
    rule: RuleTree | None = None
    member_ids: Annotated[list[MemberId], Field(min_length=1, max_length=MAX_LISTED)] | None = Field(
        default=None, description="Of a static one, instead of a rule 指定成员"
    )


class PreviewAsked(Body):
    """A rule to try, among all members or those of one community."""

    rule: RuleTree
    community_id: CommunityId | None = None


class Words(BaseModel):
    """A rule as people read it."""

    en: str
    zh: str


class SegmentPublic(BaseModel):
    id: str
    name: str
    kind: SegmentKind
    rule: dict[str, Any] = Field(description="Empty where members were named")
    words: Words
    created_at: datetime


class SegmentDetail(SegmentPublic):
    listed: int | None = Field(description="How many are on the list; None without one 名单人数")


class SegmentMemberPublic(BaseModel):
    member_id: str
    name: str = Field(description="Masked 脱敏昵称")


class Counted(BaseModel):
    """How many there are: between `low` and `high` with 95 %, which are `count` where all were counted."""

    count: int
    low: int
    high: int


class CountedIn(Counted):
    community_id: str
    name: str


class Preview(BaseModel):
    words: Words
    exact: bool = Field(description="Whether all were counted, or a sample 是否精确")
    looked_at: int = Field(description="Members that were looked at 抽样人数")
    members: Counted
    communities: list[CountedIn] = Field(description="The communities with the most of them 各社群人数")
    examples: list[SegmentMemberPublic]
