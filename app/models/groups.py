"""Groups, and the numbered places a claim takes: seats, units, purchases.

A place is a row whose primary key is the place itself. Taking it is inserting the row, giving it back is
deleting it; the database refuses the second taker.
"""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.groups import FailReason, GroupState
from app.domain.sales import MAX_GROUP_SIZE
from app.models.columns import check, id_field, loose_link_field, state_field, where


class Group(SQLModel, table=True):
    __tablename__ = "groups"
    __table_args__ = (
        check("size", f"size BETWEEN 1 AND {MAX_GROUP_SIZE}"),
        check("ended", "(ended_at IS NOT NULL) = (state IN ('failed', 'merged', 'succeeded'))"),
        check("succeeded_in_time", "state <> 'succeeded' OR ended_at <= deadline_at"),
        check("failed_with_reason", "(fail_reason IS NOT NULL) = (state = 'failed')"),
        check("merged_into", "(merged_into IS NOT NULL) = (state = 'merged')"),
        check("filled_up", "covered >= 0 AND extra >= 0 AND covered + extra < size"),
        Index(None, "sale_id", "state", "deadline_at"),
        Index("ix_groups_succeeded", "sale_id", "ended_at", **where("state = 'succeeded' AND size > 1")),
        Index("ix_groups_running", "deadline_at", **where("state IN ('open', 'filled')")),
    )

    id: str = id_field("grp")
    sale_id: str = loose_link_field()
    product_id: str = loose_link_field()
    state: GroupState = state_field(GroupState)
    size: int
    leader_id: str = loose_link_field()
    opened_at: datetime
    deadline_at: datetime
    ended_at: datetime | None = None
    fail_reason: FailReason | None = state_field(FailReason, default=None, nullable=True)
    merged_into: str | None = loose_link_field(default=None, nullable=True)
    """The sibling group that members of it have moved to."""
    extended_at: datetime | None = None
    """When it was given more time, which happens once."""
    covered: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Seats that the merchant covers, so that it succeeds."""
    extra: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Units that members took in place of others, so that it succeeds."""


class Seat(SQLModel, table=True):
    """Place `number` of 1..size in a group."""

    __tablename__ = "seats"
    __table_args__ = (
        UniqueConstraint("group_id", "member_id"),
        check("number", "number BETWEEN 1 AND size"),
    )

    group_id: str = loose_link_field(primary_key=True)
    number: int = Field(primary_key=True)
    size: int
    member_id: str = loose_link_field()
    order_id: str = loose_link_field()


class Unit(SQLModel, table=True):
    """Unit `number` of 1..stock of an offer."""

    __tablename__ = "units"
    __table_args__ = (check("number", "number BETWEEN 1 AND stock"),)

    offer_id: str = loose_link_field(primary_key=True)
    number: int = Field(primary_key=True)
    stock: int
    order_id: str = loose_link_field(index=True)


class Purchase(SQLModel, table=True):
    """Purchase `number` of 1..member_limit of a member in a sale."""

    __tablename__ = "purchases"
    __table_args__ = (check("number", "number BETWEEN 1 AND member_limit"),)

    sale_id: str = loose_link_field(primary_key=True)
    member_id: str = loose_link_field(primary_key=True)
    number: int = Field(primary_key=True)
    member_limit: int
    order_id: str = loose_link_field()
