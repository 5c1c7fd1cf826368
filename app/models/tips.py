from datetime import date, datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.tips import DAILY_TIPS, MAX_TIP
from app.models.columns import big_field, check, id_field, link_field, loose_link_field, where


class Tip(SQLModel, table=True):
    """Tip `number` of 1..20 that a member gave on one day, by UTC."""

    __tablename__ = "tips"
    __table_args__ = (
        UniqueConstraint("sender_id", "day", "number"),
        UniqueConstraint("sender_id", "request_key"),
        check("receiver_id", "receiver_id <> sender_id"),
        check("number", f"number BETWEEN 1 AND {DAILY_TIPS}"),
        check("amount", f"amount BETWEEN 1 AND {MAX_TIP}"),
        Index("ix_tips_community", "community_id", "created_at", **where("community_id IS NOT NULL")),
    )

    id: str = id_field("tip")
    sender_id: str = link_field("members.id")
    receiver_id: str = link_field("members.id", index=True)
    day: date
    number: int
    amount: int = big_field()
    currency: str = Field(max_length=3)
    community_id: str | None = link_field("communities.id", default=None, nullable=True)
    """Where it was given."""
    subject_id: str | None = loose_link_field(default=None, nullable=True)
    """The post or comment it was given for."""
    note: str = Field(max_length=500)
    created_at: datetime
    request_key: str = Field(max_length=128)
