from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.domain.rewards import MAX_LEVELS, MAX_MATURE_DAYS, WHOLE, RewardLimit, RewardRole, RewardState
from app.schemas.fields import Amount, Body, CommunityId, Currency, SaleId, Title


class RewardLevel(Body):
    """Either a part of what the order really cost, or a fixed amount."""

    basis_points: Annotated[int, Field(ge=1, le=WHOLE)] | None = Field(
        default=None, description="Hundredths of a percent 万分比", examples=[500]
    )
    amount: Amount | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.basis_points is None) == (self.amount is None):
            raise ValueError("name either basis_points or amount")
        return self


class PolicyCreate(Body):
    """Who earns what by the orders of a sale, or of all sales of a community. It can be ended, not changed."""

    title: Title
    sale_id: SaleId | None = None
    community_id: CommunityId | None = None
    role: Annotated[RewardRole, Field(strict=False)]
    levels: Annotated[list[RewardLevel], Field(min_length=1, max_length=MAX_LEVELS)] = Field(
        description="Of inviters a second one, for whoever brought the inviter; never a third 最多两级"
    )
    order_cap: Amount | None = Field(default=None, description="All that one order yields 单笔订单奖励上限")
    day_cap: Amount | None = Field(default=None, description="All that a member earns in a day 每人每日上限")
    mature_days: Annotated[
        int, Field(ge=0, le=MAX_MATURE_DAYS, description="Refund window after the order is confirmed 退款期（天）")
    ] = 7
    currency: Currency | None = Field(default=None, description="The sale's, unless it is for a community")

    @model_validator(mode="after")
    def _is_for_one_thing(self) -> Self:
        if (self.sale_id is None) == (self.community_id is None):
            raise ValueError("name either sale_id or community_id")
        return self


class TopUp(Body):
    amount: Amount


class PolicyPublic(BaseModel):
    id: str
    title: str
    sale_id: str | None
    community_id: str | None
    role: RewardRole
    levels: list[RewardLevel]
    order_cap: int | None
    day_cap: int | None
    mature_days: int
    currency: str
    budget: int = Field(description="What is left of its budget, minor units 剩余预算")
    created_at: datetime
    ended_at: datetime | None


class RewardPublic(BaseModel):
    """A reward as its member sees it."""

    id: str
    order_id: str
    sale_id: str
    role: RewardRole
    level: int
    amount: int = Field(description="Minor units")
    currency: str
    limited_by: RewardLimit | None = Field(description="What made it smaller than the policy says 受限原因")
    state: RewardState
    mature_at: datetime | None = Field(description="When it comes into the balance, once that is known 结算时间")
    created_at: datetime


class OperatorReward(RewardPublic):
    policy_id: str
    member_id: str
    reasons: list[str] = Field(description="What is suspected, where it was withheld 暂扣原因")
