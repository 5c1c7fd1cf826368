"""Reward policies, and the rewards of orders."""

from datetime import date, datetime

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.rewards import (
    MAX_LEVELS,
    MAX_MATURE_DAYS,
    WHOLE,
    Level,
    PolicyTerms,
    RewardLimit,
    RewardRole,
    RewardState,
)
from app.models.columns import big_field, check, id_field, link_field, state_field, where


class RewardPolicy(SQLModel, table=True):
    """Who is rewarded for the orders of a sale, or of all sales of a community, and with how much.

    There are two levels and no column for a third. Its terms do not change; it can be ended.
    """

    __tablename__ = "reward_policies"
    __table_args__ = (
        check("scope", "(sale_id IS NULL) <> (community_id IS NULL)"),
        check("first", "(first_basis_points IS NULL) <> (first_amount IS NULL)"),
        check(
            "second",
            "second_basis_points IS NULL AND second_amount IS NULL"
            " OR role = 'inviter' AND (second_basis_points IS NULL OR second_amount IS NULL)",
        ),
        check(
            "basis_points",
            "coalesce(first_basis_points, 1) >= 1 AND coalesce(second_basis_points, 1) >= 1"
            f" AND coalesce(first_basis_points, 0) + coalesce(second_basis_points, 0) <= {WHOLE}",
        ),
        check("amounts", "coalesce(first_amount, 1) >= 1 AND coalesce(second_amount, 1) >= 1"),
        check("caps", "coalesce(order_cap, 1) >= 1 AND coalesce(day_cap, 1) >= 1"),
        check("mature_days", f"mature_days BETWEEN 0 AND {MAX_MATURE_DAYS}"),
    )

    id: str = id_field("pol")
    title: str = Field(max_length=120)
    sale_id: str | None = link_field("sales.id", default=None, nullable=True, index=True)
    community_id: str | None = link_field("communities.id", default=None, nullable=True, index=True)
    role: RewardRole = state_field(RewardRole)
    currency: str = Field(max_length=3)
    first_basis_points: int | None = None
    first_amount: int | None = big_field(default=None, nullable=True)
    second_basis_points: int | None = None
    second_amount: int | None = big_field(default=None, nullable=True)
    order_cap: int | None = big_field(default=None, nullable=True)
    day_cap: int | None = big_field(default=None, nullable=True)
    mature_days: int
    created_at: datetime
    ended_at: datetime | None = None

    def terms(self) -> PolicyTerms:
        """Its rules, as the domain reads them."""
        levels = [Level(self.first_basis_points, self.first_amount)]
        if self.second_basis_points is not None or self.second_amount is not None:
            levels.append(Level(self.second_basis_points, self.second_amount))
        return PolicyTerms(self.role, tuple(levels), self.order_cap, self.day_cap)


class Reward(SQLModel, table=True):
    """What a member earns by an order: reward `number` of its level and policy. The place is taken once."""

    __tablename__ = "rewards"
    __table_args__ = (
        UniqueConstraint("policy_id", "order_id", "level", "number"),
        UniqueConstraint("policy_id", "order_id", "member_id"),
        check("level", f"level BETWEEN 1 AND {MAX_LEVELS}"),
        check("number", "number >= 1"),
        check("amount", "amount >= 0"),
        check("mature_at", "state <> 'matured' OR mature_at IS NOT NULL"),
        Index(None, "order_id"),
        Index(None, "member_id", "id"),
        Index(None, "policy_id", "member_id", "day"),
        Index("ix_rewards_pending", "mature_at", **where("state = 'pending'")),
        Index(None, "state", "id"),
    )

    id: str = id_field("rwd")
    policy_id: str = link_field("reward_policies.id")
    order_id: str = link_field("orders.id")
    sale_id: str = link_field("sales.id")
    member_id: str = link_field("members.id")
    via_id: str | None = link_field("members.id", default=None, nullable=True)
    """Of the second level: the member they brought, who brought the buyer."""
    level: int
    number: int
    day: date
    """The day whose cap it counts towards."""
    amount: int = big_field()
    limited_by: RewardLimit | None = state_field(RewardLimit, default=None, nullable=True)
    state: RewardState = state_field(RewardState)
    reasons: list[str] = Field(default_factory=list, sa_type=JSON)
    """What is suspected, when it was withheld."""
    cleared: bool = False
    """An operator has looked at it and let it go on."""
    mature_at: datetime | None = None
    """Known once its order is confirmed."""
    created_at: datetime
