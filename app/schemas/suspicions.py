from datetime import datetime

from pydantic import BaseModel, Field

from app.domain.members import MarkKind
from app.domain.suspicions import Suspicion


class ReasonPublic(BaseModel):
    code: Suspicion
    weight: int
    en: str
    zh: str


class EvidencePublic(BaseModel):
    shared: list[MarkKind] = Field(description="What inviter and member have in common 共用的标识")
    siblings: int = Field(description="Others of the inviter's who share one with the member 同标识的其他被邀请人")
    ring: bool = Field(description="Whether they are part of a ring 是否成环")
    day: int = Field(description="Members brought within a day, counted up to 100 一天内带来人数")
    alike: int = Field(description="Of them, those who look made for their order 疑似专为下单的新号")


class SuspectPublic(BaseModel):
    """An inviter, by the worst of a few of those they brought."""

    member_id: str
    name: str
    score: int = Field(description="0 to 100 可疑分")
    withheld: bool = Field(description="Whether rewards for it wait for an operator 奖励是否暂扣")
    referrals: int = Field(description="Of theirs, among those looked at 近期带来人数")
    worst_member_id: str
    reasons: list[ReasonPublic]
    evidence: EvidencePublic


class LookedAt(BaseModel):
    """How far a list looked: at most 2,000 referrals, 50 inviters, and three members of each."""

    referrals: int
    inviters: int
    assessed: int
    since: datetime | None = Field(description="Pass it as `before` to look further back; null: that was all 翻页")


class SuspicionsPublic(BaseModel):
    items: list[SuspectPublic]
    looked_at: LookedAt
