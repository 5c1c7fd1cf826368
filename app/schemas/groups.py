from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.groups import FailReason, GroupState
from app.domain.rescues import OnUnfilled
from app.domain.sales import MAX_ORDER_LIMIT
from app.schemas.fields import Body, CouponCode, InviteCode, OfferId, Ticket
from app.schemas.orders import OrderPublic
from app.schemas.trust import FriendsIn


class ClaimCreate(Body):
    """What to take: units of one offer, and with them a seat."""

    offer_id: OfferId
    quantity: Annotated[int, Field(ge=1, le=MAX_ORDER_LIMIT)] = 1
    on_unfilled: Annotated[
        OnUnfilled,
        Field(strict=False, description="Your wish for the case that the group does not fill 未成团时的选择"),
    ] = OnUnfilled.REFUND
    min_quantity: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_ORDER_LIMIT,
            description="Take so few, and up to `quantity` only if that helps to fill the group; what is not needed"
            " is refunded 至少要几件，其余仅在有助于成团时购买",
        ),
    ] = None
    invite_code: InviteCode | None = Field(default=None, description="Who brought you 邀请码")
    coupon_code: CouponCode | None = Field(default=None, description="What takes something off 优惠码")
    ticket: Ticket | None = Field(
        default=None, description="In a flash sale: the admission ticket you were given; not read elsewhere 入场券"
    )


class SeatPublic(BaseModel):
    number: int = Field(description="1 … size")
    name: str = Field(description="Masked unless you are in the group 非团员显示脱敏昵称")
    leader: bool
    paid: bool
    you: bool = False


class GroupCounts(BaseModel):
    """How full a group is. While it runs, `size = held + paid + left`; a final group has no free seats."""

    id: str
    sale_id: str
    product_id: str
    state: GroupState
    size: int
    held: int = Field(description="Seats waiting for their payment 待支付")
    paid: int = Field(description="Seats paid for 已支付")
    left: int = Field(description="Seats one can join 空位；团结束后为 0")
    opened_at: datetime
    deadline_at: datetime
    ended_at: datetime | None
    fail_reason: FailReason | None
    covered: int = Field(description="Seats that the merchant covered at the end 商家补位")
    extra: int = Field(description="Units that members took in place of others at the end 团员代购补位")
    extended_at: datetime | None = Field(description="When it was given more time, once 延长时间")
    merged_into: str | None = Field(description="The group that members of it were moved to 并入的团")


FriendsField = Annotated[
    FriendsIn | None,
    Field(description="Who that you know has paid; only where it is asked for with a member's token 好友已参与"),
]


class GroupSummary(GroupCounts):
    leader_name: str
    friends_in: FriendsField = None


class PricePublic(BaseModel):
    """Where a group stands on an offer's price ladder: `heads_to_next` more, and everybody pays `next_price`."""

    offer_id: str
    price: int = Field(description="What the next to join pays for a unit, minor units 现在入团的单价")
    next_price: int | None = Field(description="None at the end of the ladder 下一阶单价")
    heads_to_next: int | None = Field(description="Paid seats that are missing for it 距下一阶还差几人")


class GroupPublic(GroupSummary):
    members: list[SeatPublic] = Field(description="Taken seats, by number")
    prices: list[PricePublic] = Field(description="Of the offers that have a price ladder 阶梯价")


class GroupList(BaseModel):
    """Those with friends of the viewer first, then nearest to full, then nearest to their deadline."""

    items: list[GroupSummary]


class ClaimAnswer(BaseModel):
    """The order, and how full its group was with it."""

    group: GroupCounts
    order: OrderPublic


class Change(BaseModel):
    """One thing that happened in a group, and the group as it is now."""

    id: int = Field(description="Grows with every change of this group; pass it as `after` or `Last-Event-ID`")
    type: str = Field(examples=["seat.paid"])
    seat: int | None = None
    at: datetime
    group: GroupPublic


class Changes(BaseModel):
    """Changes after the id that was asked for, oldest first. `final`: there will be no more."""

    group: GroupPublic
    changes: list[Change]
    after: int = Field(description="Pass as `after` next time")
    final: bool
