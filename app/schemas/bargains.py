from datetime import datetime

from pydantic import BaseModel, Field

from app.domain.bargains import BargainState
from app.schemas.fields import Body, OfferId


class BargainCreate(Body):
    """What to bargain for."""

    offer_id: OfferId


class BargainSummary(BaseModel):
    """A bargain: `price` is what its owner may buy at now."""

    id: str
    sale_id: str
    offer_id: str
    owner_name: str = Field(description="Masked unless you are in it 非参与者显示脱敏昵称")
    state: BargainState
    start_price: int = Field(description="Minor units 起始价")
    floor_price: int = Field(description="Reached with the last slot 底价")
    price: int = Field(description="`start_price` less the cuts, minor units 当前价")
    slots: int = Field(description="Cuts that lead to the floor 总刀数")
    taken: int = Field(description="Cuts made 已砍刀数")
    left: int = Field(description="Cuts one can still make; 0 unless it is being cut 剩余刀数")
    seed_hash: str = Field(description="SHA-256 of the seed that every cut is drawn from 种子承诺")
    seed: str | None = Field(description="Shown once nobody can cut any more: check the cuts with it 种子")
    deadline_at: datetime
    created_at: datetime


class CutPublic(BaseModel):
    number: int = Field(description="1 … slots")
    name: str = Field(description="Masked unless you are in the bargain 非参与者显示脱敏昵称")
    amount: int = Field(description="Minor units")
    at: datetime
    you: bool = False


class BargainPublic(BargainSummary):
    cuts: list[CutPublic] = Field(description="By number; a help may have made several 一次助力可砍多刀")


class CutAnswer(BaseModel):
    """What your help has cut, and the bargain with it."""

    amount: int = Field(description="Minor units 本次砍掉的金额")
    bargain: BargainPublic


class BargainChange(BaseModel):
    """One thing that happened in a bargain, and the bargain as it is now."""

    id: int = Field(description="Grows with every change of this bargain; pass it as `after` or `Last-Event-ID`")
    type: str = Field(examples=["bargain.cut"])
    amount: int | None = Field(default=None, description="What a help has cut")
    price: int | None = Field(default=None, description="The price after it")
    at: datetime
    bargain: BargainPublic


class BargainChanges(BaseModel):
    """Changes after the id that was asked for, oldest first. `final`: there will be no more."""

    bargain: BargainPublic
    changes: list[BargainChange]
    after: int = Field(description="Pass as `after` next time")
    final: bool
