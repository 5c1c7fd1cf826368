from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.admissions import (
    MAX_ADMIT_PER_SECOND,
    MAX_MEMBERS_APART,
    MAX_PROOF_OF_WORK,
    MAX_TICKET_SECONDS,
    MIN_TICKET_SECONDS,
    TICKET_SECONDS,
)
from app.domain.bargains import MAX_DAILY_HELPS, MAX_HELP_WEIGHT, MAX_NEW_MEMBER_DAYS, MAX_SLOTS, MIN_SLOTS
from app.domain.draws import MAX_WEIGHT
from app.domain.ladders import MAX_STEPS
from app.domain.referrals import MAX_WINDOW_DAYS, WINDOW_DAYS, TouchRule
from app.domain.rescues import MAX_EXTENSION_SECONDS
from app.domain.sales import (
    MAX_GROUP_SIZE,
    MAX_MEMBER_LIMIT,
    MAX_ORDER_LIMIT,
    MAX_STOCK,
    MAX_TTL_SECONDS,
    Allocation,
    SaleKind,
    SaleState,
)
from app.schemas.fields import (
    Amount,
    Body,
    CommunityId,
    Currency,
    LongProse,
    Moment,
    SegmentId,
    SkuId,
    Title,
)
from app.schemas.segments import Words
from app.schemas.trust import FriendsIn

GroupSize = Annotated[
    int,
    Field(ge=1, le=MAX_GROUP_SIZE, description="Seats of each group: 2 or more in a group sale, else 1 成团人数"),
]
MinSize = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_GROUP_SIZE,
        description="Paid seats with which a group succeeds at its deadline; without it, all of them 最低成团人数",
    ),
]
GroupTtl = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_TTL_SECONDS,
        description="How long a group may take to fill, or a bargain runs; without it, as long as a payment"
        " 成团或砍价时限（秒）",
    ),
]
HoldTtl = Annotated[
    int, Field(ge=1, le=MAX_TTL_SECONDS, description="How long an order waits for its payment 支付时限（秒）")
]
OrderLimit = Annotated[int, Field(ge=1, le=MAX_ORDER_LIMIT, description="Units one order may take 单笔限购")]
MemberLimit = Annotated[
    int, Field(ge=1, le=MAX_MEMBER_LIMIT, description="Running or successful orders per member 每人限购次数")
]


class AdmissionRules(Body):
    """The entrance of a flash sale. What is not set does not stand in anybody's way."""

    admit_per_second: Annotated[int, Field(ge=1, le=MAX_ADMIT_PER_SECOND)] | None = Field(
        default=None, description="How many of those in line are let in each second 每秒放行人数"
    )
    proof_of_work: Annotated[int, Field(ge=1, le=MAX_PROOF_OF_WORK)] | None = Field(
        default=None,
        description="The largest number a client may have to try before it is in line; 100000 is about a second"
        " on a phone 工作量证明难度",
    )
    per_device: Annotated[int, Field(ge=1, le=MAX_MEMBERS_APART)] | None = Field(
        default=None, description="Members in line from one device 每设备排队人数上限"
    )
    per_address: Annotated[int, Field(ge=1, le=MAX_MEMBERS_APART)] | None = Field(
        default=None, description="Members in line from one address (of IPv6: /64) 每地址排队人数上限"
    )
    ticket_seconds: Annotated[int, Field(ge=MIN_TICKET_SECONDS, le=MAX_TICKET_SECONDS)] = Field(
        default=TICKET_SECONDS, description="How long an admission ticket is good for 入场券有效期（秒）"
    )


DrawsAt = Annotated[
    Moment,
    Field(description="When the draw is, of a sale with `allocation` draw; one enters from `opens_at` on 抽签时间"),
]
MaxWeight = Annotated[
    int,
    Field(
        ge=1,
        le=MAX_WEIGHT,
        description="Most chances of one entry in the draw: one more for each draw lost in this community since"
        " the last one won 最高权重",
    ),
]
OtherCommunities = Annotated[
    list[CommunityId],
    Field(max_length=20, description="Communities it belongs to besides its own 同时所属的社群"),
]
SaleSegments = Annotated[
    list[SegmentId],
    Field(max_length=20, description="Whoever fits one of these may buy; none: everybody 适用人群"),
]
MembersOnly = Annotated[
    bool, Field(description="Whether only active members of one of its communities buy 仅限成员")
]
Stock = Annotated[int, Field(ge=1, le=MAX_STOCK, description="Units there are 库存")]


class Step(Body):
    heads: Annotated[int, Field(ge=2, le=MAX_GROUP_SIZE, description="Paid seats of the group 已支付人数")]
    price: Amount


Ladder = Annotated[
    list[Step],
    Field(
        max_length=MAX_STEPS,
        description="Lower prices for more heads than `min_size`. Everybody pays the price of joining and is given"
        " back the gap to the step the group closes on 阶梯价：先按入团时的价格支付，成团后退差价",
    ),
]


class RescueRules(Body):
    """What is done for groups that do not fill. Members choose among it when they join; without a choice, or when
    it cannot be granted, they are refunded. Buying alone is offered by an offer's `solo_price`.
    """

    merge: bool = Field(default=False, description="Members may move to another group 并团")
    extend_seconds: Annotated[
        int, Field(ge=0, le=MAX_EXTENSION_SECONDS, description="Groups may get so much more time, once 延长（秒）")
    ] = 0
    flexible: bool = Field(default=False, description="Members may name a `min_quantity` 可选最少件数")
    cover_seats: Annotated[
        int,
        Field(ge=0, lt=MAX_GROUP_SIZE, description="Seats that the merchant fills, and is shown to have 商家补位"),
    ] = 0


SoloPrice = Annotated[
    Amount,
    Field(
        description="Price for who would rather buy alone than go without. They pay it when they join, and get the"
        " difference back when the group succeeds 单买价"
    ),
]


class BargainRules(Body):
    """How prices are cut in a bargain sale, from an offer's `list_price` down to its `price`."""

    slots: Annotated[
        int,
        Field(ge=MIN_SLOTS, le=MAX_SLOTS, description="Cuts that lead from start to floor 总刀数", examples=[10]),
    ]
    daily_helps: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_DAILY_HELPS,
            description="Helps one member may give in this sale a day, by UTC 每日帮砍次数",
        ),
    ] = 3
    weight: Annotated[int, Field(ge=1, le=MAX_HELP_WEIGHT, description="Cuts one help makes 每次助力刀数")] = 1
    new_member_days: Annotated[
        int, Field(ge=0, le=MAX_NEW_MEMBER_DAYS, description="How long a member counts as new 新人天数")
    ] = 0
    new_member_weight: Annotated[
        int, Field(ge=1, le=MAX_HELP_WEIGHT, description="Cuts a new member's help makes 新人助力刀数")
    ] = 1


class AttributionRules(Body):
    """Which of a buyer's taps on invites says who brought them. Codes that are typed count as taps."""

    touch: Annotated[TouchRule, Field(strict=False, description="The first or the last tap 首次或末次点击")] = (
        TouchRule.LAST
    )
    window_days: Annotated[
        int, Field(ge=1, le=MAX_WINDOW_DAYS, description="How long a tap counts before one orders 归因窗口（天）")
    ] = WINDOW_DAYS
    lasting: bool = Field(
        default=False,
        description="Who brought a member once has brought them in every sale with lasting rules; otherwise each"
        " sale asks anew 永久绑定",
    )


class OfferCreate(Body):
    sku_id: SkuId
    price: Amount
    list_price: Amount | None = Field(
        default=None,
        description="Price outside the sale, for display; in a bargain sale the price one starts at"
        " 原价，砍价活动中为起始价",
    )
    solo_price: SoloPrice | None = None
    stock: Stock
    ladder: Ladder = Field(default_factory=list)


class SaleCreate(Body):
    """A draft. It sells once it is published and its window has opened."""

    community_id: CommunityId
    kind: Annotated[SaleKind, Field(strict=False)] = SaleKind.GROUP
    title: Title
    description: LongProse = ""
    currency: Currency = "CNY"
    opens_at: Moment
    closes_at: Moment
    group_size: GroupSize = 1
    min_size: MinSize | None = None
    group_ttl_seconds: GroupTtl | None = None
    bargain: BargainRules | None = Field(default=None, description="Of a bargain sale, and only of one 砍价规则")
    hold_ttl_seconds: HoldTtl
    order_limit: OrderLimit = 1
    member_limit: MemberLimit = 1
    rescue: RescueRules = Field(default_factory=RescueRules)
    admission: AdmissionRules = Field(default_factory=AdmissionRules)
    attribution: AttributionRules = Field(default_factory=AttributionRules)
    allocation: Annotated[Allocation, Field(strict=False, description="Who gets the units 分配方式")] = (
        Allocation.FASTEST
    )
    draws_at: DrawsAt | None = None
    max_weight: MaxWeight = 1
    members_only: MembersOnly = False
    community_ids: OtherCommunities = Field(default_factory=list)
    segment_ids: SaleSegments = Field(default_factory=list)
    offers: Annotated[list[OfferCreate], Field(max_length=20)] = Field(default_factory=list)


class OfferUpdate(Body):
    """A published offer may only get more stock."""

    sku_id: SkuId
    price: Amount | None = None
    list_price: Amount | None = None
    solo_price: SoloPrice | None = None
    stock: Stock | None = None
    ladder: Ladder | None = None


class SaleUpdate(Body):
    """A draft may change in everything; a published sale only in its texts, a later end and more stock."""

    title: Title | None = None
    description: LongProse | None = None
    opens_at: Moment | None = None
    closes_at: Moment | None = None
    group_size: GroupSize | None = None
    min_size: MinSize | None = None
    group_ttl_seconds: GroupTtl | None = None
    bargain: BargainRules | None = None
    hold_ttl_seconds: HoldTtl | None = None
    order_limit: OrderLimit | None = None
    member_limit: MemberLimit | None = None
    rescue: RescueRules | None = None
    admission: AdmissionRules | None = None
    attribution: AttributionRules | None = None
    draws_at: DrawsAt | None = None
    max_weight: MaxWeight | None = None
    members_only: MembersOnly | None = None
    community_ids: OtherCommunities | None = None
    segment_ids: SaleSegments | None = None
    offers: Annotated[list[OfferUpdate], Field(max_length=20)] | None = Field(
        default=None,
        description="Offers to add or change, by sku",
    )


class OfferPublic(BaseModel):
    id: str
    product_id: str
    product_title: str
    picture_url: str = Field(description="Of the product 商品图片")
    sku_id: str
    sku_name: str
    price: int = Field(description="Minor units")
    list_price: int | None
    solo_price: int | None
    ladder: list[Step]
    stock: int
    taken: int = Field(description="Units in running or successful orders, live 已占用")
    left: int = Field(description="Units that can be claimed now, live 剩余")


class BuyersPublic(Words):
    """A segment that buyers are asked to fit, in words."""

    community_id: str | None = Field(description="Of the community by way of which one buys; None: of the sale")


class SalePublic(BaseModel):
    id: str
    community_id: str
    community_ids: list[str] = Field(description="Communities it belongs to besides its own 同时所属的社群")
    members_only: bool = Field(description="Whether only members of one of its communities buy 仅限成员")
    segments: list[BuyersPublic] = Field(
        description="Who may buy: whoever fits one of the sale's, if it has any, and comes by way of a community"
        " that has none or whose own they fit 适用人群"
    )
    series_id: str | None = Field(description="The series of slots it is one of; list it by this 场次系列")
    kind: SaleKind
    title: str
    description: str
    state: SaleState
    currency: str
    opens_at: datetime
    closes_at: datetime
    group_size: int
    min_size: int | None
    group_ttl_seconds: int
    bargain: BargainRules | None
    hold_ttl_seconds: int
    order_limit: int
    member_limit: int
    rescue: RescueRules
    admission: AdmissionRules
    attribution: AttributionRules = Field(description="Who is said to have brought a buyer 推荐归因规则")
    allocation: Allocation = Field(description="`draw`: enter, and be drawn; `fastest`: buy 分配方式")
    draws_at: datetime | None
    drawn_at: datetime | None
    max_weight: int
    seed_hash: str | None = Field(description="SHA-256 of the draw's seed, from publishing on 种子承诺")
    seed: str | None = Field(description="Told after the draw 抽签后公布")
    entries_hash: str | None = Field(description="Of all entries as they were drawn")
    offers: list[OfferPublic]
    friends_in: FriendsIn | None = Field(
        default=None,
        description="Who that you know has bought; only of one sale asked for with a member's token 好友已购买",
    )
