from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.domain.draws import MAX_WEIGHT
from app.domain.entries import EntryState
from app.domain.sales import MAX_ORDER_LIMIT
from app.schemas.fields import Body, GroupId, OfferId


class EntryCreate(Body):
    """What to stand in line for: units of one offer, all or nothing, with all your party in one order."""

    offer_id: OfferId
    quantity: Annotated[int, Field(ge=1, le=MAX_ORDER_LIMIT)] = 1
    group_id: GroupId | None = Field(
        default=None, description="A full group, to wait for a seat in it 等待满员的团"
    )


class EntryPublic(BaseModel):
    """Your entry. It waits until it is drawn or its turn comes; then it is `offered` an order, to be paid in
    time.
    """

    id: str
    sale_id: str
    offer_id: str
    group_id: str | None = Field(description="The group it waits for, or is called to 等待或获得名额的团")
    quantity: int
    weight: int = Field(ge=1, le=MAX_WEIGHT, description="Its chances in the draw, one for each 抽签权重")
    rank: int | None = Field(description="Its place in the drawn order of its offer, from 1 抽签名次")
    state: EntryState
    position: int | None = Field(
        description="While it waits: 1 is next. After a draw this is its reserve number; before, there is none"
        " 候补序号，1 为下一位；抽签前为空"
    )
    order_id: str | None = Field(description="Pay it before its `hold_expires_at` 须在限时内支付的订单")
    created_at: datetime


class LotPublic(BaseModel):
    id: str = Field(description="Of the entry: its member knows it, nobody else 仅本人知道的登记号")
    offer_id: str
    quantity: int
    weight: int
    rank: int


class DrawnOffer(BaseModel):
    id: str
    stock: int = Field(description="When it was drawn 抽签时的库存")


class DrawPublic(BaseModel):
    """Everything that is needed to draw again and compare: see docs/verify_draw.py. Before the draw, what was
    committed to.
    """

    sale_id: str
    draws_at: datetime
    drawn_at: datetime | None
    seed_hash: str = Field(description="SHA-256 of the seed, published before anybody enters 种子承诺")
    seed: str | None = Field(description="In hex; told after the draw 抽签后公布的种子")
    entries_hash: str | None = Field(description="SHA-256 of all entries as they were drawn 全部登记的哈希")
    offers: list[DrawnOffer]
    entries: list[LotPublic] = Field(description="By offer and rank")
    winners: list[str] = Field(description="Entries that the stock sufficed for, in the same order 中签")
