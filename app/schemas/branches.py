from datetime import datetime

from pydantic import BaseModel, Field


class Level(BaseModel):
    level: int = Field(description="1: directly 层级")
    count: int


class BranchMember(BaseModel):
    level: int
    name: str = Field(description="Masked, but of who brought you 脱敏昵称")
    member_id: str | None = Field(description="Of those next to you; None beyond")
    bound_at: datetime = Field(description="Since when 绑定时间")


class Inviters(BaseModel):
    """Who brought you, and who them: nearest first."""

    scope: str = Field(description="The sale, or `all` for referrals that last")
    items: list[BranchMember]


class Branch(BaseModel):
    """Whom you brought, and whom they brought in turn: level by level, on each in the order they came."""

    scope: str = Field(description="The sale, or `all` for referrals that last")
    levels: list[Level]
    complete: bool = Field(description="Whether everybody is counted; of a huge branch only the nearest are")
    items: list[BranchMember]
    next: int | None = Field(description="Pass it as `after` to read on; None when there is no more")


class OperatorReferral(BaseModel):
    level: int
    member_id: str
    inviter_id: str
    name: str = Field(description="Of the member on the way down, of the inviter on the way up")
    bound_at: datetime


class OperatorBranch(BaseModel):
    """The referrals below or above a member, nearest first."""

    scope: str = Field(description="The sale, or `all` for referrals that last")
    levels: list[Level]
    complete: bool
    items: list[OperatorReferral]
    next: int | None
