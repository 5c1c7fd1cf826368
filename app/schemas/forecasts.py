from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from app.domain.forecasts import MAX_MEMBERS
from app.domain.sales import MAX_GROUP_SIZE, MAX_ORDER_LIMIT, SaleKind
from app.schemas.fields import Amount, Body, OfferId
from app.schemas.sales import GroupSize, Ladder, MinSize, Stock

Percent = Annotated[int, Field(ge=0, le=100)]


class Share(Body):
    offer_id: OfferId
    weight: Annotated[int, Field(ge=1, le=1000, description="In proportion to the others 相对权重")]


class DemandStep(Body):
    """So many members more. They want one offer each, in turns by `shares`; without shares all offers alike."""

    members: Annotated[int, Field(ge=1, le=MAX_MEMBERS, description="Members who come now 新增到访人数")]
    paying_percent: Percent = Field(default=100, description="Of them, who pay; a hold lapses 支付转化率")
    quantity: Annotated[int, Field(ge=1, le=MAX_ORDER_LIMIT, description="Units of each order 每单件数")] = 1
    shares: Annotated[list[Share], Field(max_length=20)] = Field(default_factory=list)


class OfferTrial(Body):
    """Other terms for an offer, to be tried. The sale stays as it is."""

    offer_id: OfferId
    price: Amount | None = None
    list_price: Amount | None = None
    stock: Stock | None = None
    ladder: Ladder | None = None


class ForecastCreate(Body):
    """How many come, what is assumed of them, and which terms are tried instead of the sale's own."""

    curve: Annotated[list[DemandStep], Field(min_length=1, max_length=50)]
    coupon_percent: Percent = Field(default=0, description="Orders that redeem a coupon 用券订单占比")
    coupon_discount: Annotated[
        int, Field(ge=0, le=10**12, description="What it takes off each of them, minor units 每单优惠金额")
    ] = 0
    reward_percent: Percent = Field(default=0, description="Rewards, of what is kept of an order 奖励比例")
    group_size: GroupSize | None = None
    min_size: MinSize | None = None
    cover_seats: Annotated[
        int | None, Field(ge=0, lt=MAX_GROUP_SIZE, description="Seats of a group that you would cover 商家补位")
    ] = None
    offers: Annotated[list[OfferTrial], Field(max_length=20)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if sum(step.members for step in self.curve) > MAX_MEMBERS:
            raise ValueError(f"curve must not have more than {MAX_MEMBERS} members altogether")
        return self


class MoneyForecast(BaseModel):
    """Of orders that go through, in minor units: `gross − discount − coupons − gaps − rewards = net`."""

    gross: int = Field(
        description="Units sold × `list_price`, or × the first price where there is none 按原价的销售额"
    )
    discount: int = Field(description="What the prices of joining are below that 活动让利")
    coupons: int = Field(description="What coupons take off 优惠券抵扣")
    gaps: int = Field(description="Given back when groups close on a lower price 阶梯差价退款")
    rewards: int = Field(description="Percent of what is kept of each order, rounded down 奖励支出")
    net: int = Field(description="What remains 净收入")


class OfferLevel(BaseModel):
    offer_id: str
    sold: int = Field(description="Units of orders that go through 售出")
    left: int = Field(description="`stock − sold`; with what comes back from failing groups 剩余")
    unmet: int = Field(description="Units that paying members wanted and were not there any more 未满足需求")


class LevelForecast(BaseModel):
    """What there would be if nobody came after so many members."""

    members: int = Field(description="Members who have come 累计到访人数")
    paying: int = Field(description="Of them, who would pay 其中付款人数")
    turned_away: int = Field(description="Of those, who found too few units 因缺货流失人数")
    groups_filled: int = Field(description="Full and paid 已满员成团")
    groups_closing: int = Field(description="Not full, but with enough paid seats at their deadline 到期可成团")
    groups_failing: int = Field(description="With too few at their deadline, and refunded 到期将失败")
    orders_confirmed: int = Field(description="Orders that go through 成交订单")
    orders_refunded: int = Field(description="Paid orders of the failing groups 退款订单")
    offers: list[OfferLevel]
    money: MoneyForecast = Field(description="In a bargain sale: if nobody gets any help 砍价活动中为无人助力时")
    at_floor: MoneyForecast | None = Field(
        description="In a bargain sale: if everybody is helped down to the floor, and so the least; else null"
        " 全部砍到底价时"
    )


class StepForecast(BaseModel):
    heads: int
    price: int
    group_net: int = Field(
        description="Of a group that closes with so many heads, one unit each: `heads × price` 该档成团收入"
    )


class OfferForecast(BaseModel):
    offer_id: str
    stock: int
    sold_out_after: int | None = Field(
        description="Members after whom the first one was turned away; null: nobody was 多少人后售罄"
    )
    steps: list[StepForecast] = Field(
        description="Its prices by heads. Where `group_net` falls, a larger group brings less 阶梯价各档收入"
    )


class ForecastPublic(BaseModel):
    sale_id: str
    kind: SaleKind
    currency: str
    group_size: int
    needed: int = Field(description="Paid seats with which a group succeeds at its deadline 最少付款人数")
    first_group_after: int | None = Field(description="Members until the first group is full 首团满员所需人数")
    offers: list[OfferForecast]
    levels: list[LevelForecast] = Field(description="After each step of the curve 各需求水平")
