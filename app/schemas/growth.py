from datetime import datetime

from pydantic import BaseModel, Field

from app.domain.growth import Cohort
from app.domain.invites import InviteChannel


class GrowthSlice(BaseModel):
    """What is asked about. Money is that of orders in one currency."""

    sale_id: str | None = None
    community_id: str | None = None
    channel: InviteChannel | None = None
    cohort: Cohort | None = None
    currency: str = "CNY"
    since: datetime | None = None
    until: datetime | None = None


class RatioPublic(BaseModel):
    """Two counts, which are exact, and their ratio to four digits."""

    numerator: int
    denominator: int
    value: float | None = Field(description="null: there is nothing to divide by 分母为零")


class GrowthFigures(BaseModel):
    active: int = Field(description="Members who paid an order or made an invite, on any channel 活跃成员")
    invites: int = Field(description="Invites that were made 邀请数")
    visitors: int = Field(description="Distinct people who came by an invite of another 访客数")
    logged_in: int = Field(description="Of them, who are known by now 其中已登录")
    paid: int = Field(description="Of those, who paid an order after they first came 其中已付款")
    brought: int = Field(description="New members: their first paid order was brought by an invite 带来的新成员")
    referrers: int = Field(description="Members who brought one of them 带来者")
    cycle_seconds: int | None = Field(description="Median from beginning to invite to the payment 裂变周期中位数")
    depths: list[int] = Field(description="Of `brought`, how many at level 1, 2, … below a seed 层级分布")
    unplaced: int = Field(description="Of `brought`, those below no seed: see docs/metrics.md 无根")
    captured: int = Field(description="Paid by `brought` in the period, minor units 实付金额")
    refunded: int = Field(description="Of that given back, or on its way 退款金额")
    kept: int = Field(description="`captured − refunded` 净额")
    ratios: dict[str, RatioPublic] = Field(
        description="`invites_per_active`, `login_rate`, `paid_rate`, `visit_to_paid`, `brought_per_invite`,"
        " `k_factor` = brought ÷ active 各项比率"
    )


class GrowthPublic(BaseModel):
    sale_id: str | None
    community_id: str | None
    channel: InviteChannel | None
    cohort: Cohort | None
    currency: str
    since: datetime
    until: datetime = Field(description="Not included 不含")
    total: GrowthFigures
    channels: dict[InviteChannel, GrowthFigures] = Field(
        description="By the channel of the invites; `active` is everybody's, so that K-factors add up 按渠道"
    )
    cohorts: dict[str, GrowthFigures] = Field(
        description="By when those who invite came, the first day of it in UTC; only when asked for 按邀请者批次"
    )


class BranchPublic(BaseModel):
    """A seed, who invites and was not brought, and all who came through them."""

    member_id: str
    name: str
    members: int = Field(description="Brought at any level, at any time 带来人数")
    depth: int = Field(description="Levels below the seed 层级")
    captured: int = Field(description="Paid by them in the period, minor units 实付金额")
    refunded: int = Field(description="Of that given back, or on its way 退款金额")
    kept: int = Field(description="`captured − refunded` 净额")
    own_kept: int = Field(description="The same of the seed's own orders, which `kept` leaves out 种子自购净额")


class BranchesPublic(BaseModel):
    currency: str
    since: datetime
    until: datetime
    items: list[BranchPublic]
