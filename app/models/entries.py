"""People in line. One table for draws and waiting lists: what differs is how they are ordered."""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.draws import MAX_WEIGHT
from app.domain.entries import IN_LINE_STATES, OPEN_ENTRY_STATES, SERVED_ENTRY_STATES, EntryState
from app.domain.sales import MAX_ORDER_LIMIT
from app.models.columns import check, id_field, link_field, loose_link_field, quoted, state_field, where


class Entry(SQLModel, table=True):
    """A member in a line: `line_id` is the sale's id for its draw, else that of the offer or the group one waits
    for. Who has a `rank` was drawn, and comes before those who have none; they come by their ids, in the order of
    arrival.

    `group_id` is where one is called to. It may be there before the group: the first to be called opens it.
    """

    __tablename__ = "entries"
    __table_args__ = (
        UniqueConstraint("sale_id", "offer_id", "rank"),
        check("quantity", f"quantity BETWEEN 1 AND {MAX_ORDER_LIMIT}"),
        check("weight", f"weight BETWEEN 1 AND {MAX_WEIGHT}"),
        check("rank", "rank IS NULL OR rank >= 1 AND line_id = sale_id"),
        check("order_id", f"(order_id IS NOT NULL) = (state IN ({quoted(SERVED_ENTRY_STATES)}))"),
        check("group_id", f"(group_id IS NOT NULL) = (state IN ({quoted(SERVED_ENTRY_STATES)}, 'called'))"),
        Index(
            "uq_entries_open",
            "line_id",
            "member_id",
            unique=True,
            **where(f"state IN ({quoted(OPEN_ENTRY_STATES)})"),
        ),
        Index("ix_entries_in_line", "sale_id", "offer_id", **where(f"state IN ({quoted(IN_LINE_STATES)})")),
        Index("ix_entries_offered", "order_id", **where("state = 'offered'")),
        Index(None, "member_id", "id"),
        Index(None, "line_id"),
    )

    id: str = id_field("ent")
    sale_id: str = link_field("sales.id")
    offer_id: str = link_field("offers.id")
    line_id: str = loose_link_field()
    member_id: str = link_field("members.id")
    quantity: int
    weight: int
    rank: int | None = None
    state: EntryState = state_field(EntryState)
    group_id: str | None = Field(default=None, max_length=40)
    order_id: str | None = Field(default=None, max_length=40)
    created_at: datetime
    changed_at: datetime
