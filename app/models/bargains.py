"""Bargains, and their numbered places: the slots that helps take, and a member's helps of a day."""

from datetime import date, datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.bargains import (
    MAX_HELP_WEIGHT,
    MAX_SLOTS,
    MIN_SLOTS,
    RUNNING_BARGAIN_STATES,
    BargainState,
)
from app.models.columns import big_field, check, id_field, link_field, quoted, state_field, where


class Bargain(SQLModel, table=True):
    """`price` is the start price less the cuts of the `taken` slots. The row is the mutex of its cuts."""

    __tablename__ = "bargains"
    __table_args__ = (
        check("price", "price BETWEEN floor_price AND start_price AND floor_price >= 1"),
        check("slots", f"slots BETWEEN {MIN_SLOTS} AND {MAX_SLOTS} AND start_price - floor_price >= slots"),
        check("taken", "taken BETWEEN 0 AND slots"),
        check("floor", "(price = floor_price) = (taken = slots)"),
        check("won", "(state <> 'cutting' OR taken < slots) AND (state <> 'won' OR taken = slots)"),
        Index(
            "uq_bargains_running",
            *("sale_id", "member_id", "offer_id"),
            unique=True,
            **where(f"state IN ({quoted(RUNNING_BARGAIN_STATES)})"),
        ),
        Index("ix_bargains_timed", "deadline_at", **where("state IN ('cutting', 'won')")),
        Index(None, "member_id", "id"),
    )

    id: str = id_field("bgn")
    sale_id: str = link_field("sales.id")
    offer_id: str = link_field("offers.id")
    member_id: str = link_field("members.id")
    state: BargainState = state_field(BargainState)
    start_price: int = big_field()
    floor_price: int = big_field()
    price: int = big_field()
    slots: int
    taken: int = 0
    seed: str = Field(max_length=64)
    seed_hash: str = Field(max_length=64)
    deadline_at: datetime
    created_at: datetime


class Cut(SQLModel, table=True):
    """Slot `number` of 1..slots of a bargain: what it cut, and whose help it was. A help of several slots takes
    them in a row, as its parts 1, 2, …: a second help would begin with part 1 again.
    """

    __tablename__ = "cuts"
    __table_args__ = (
        UniqueConstraint("bargain_id", "member_id", "part"),
        Index(None, "member_id"),
        check("number", "number BETWEEN 1 AND slots"),
        check("part", f"part BETWEEN 1 AND {MAX_HELP_WEIGHT}"),
        check("amount", "amount >= 1"),
    )

    bargain_id: str = link_field("bargains.id", primary_key=True)
    number: int = Field(primary_key=True)
    slots: int
    member_id: str = link_field("members.id")
    part: int
    amount: int = big_field()
    created_at: datetime


class Help(SQLModel, table=True):
    """Help `number` of 1..daily_limit of a member in a sale on one day, by UTC."""

    __tablename__ = "helps"
    __table_args__ = (check("number", "number BETWEEN 1 AND daily_limit"),)

    sale_id: str = link_field("sales.id", primary_key=True)
    member_id: str = link_field("members.id", primary_key=True)
    day: date = Field(primary_key=True)
    number: int = Field(primary_key=True)
    daily_limit: int
    bargain_id: str = link_field("bargains.id")
