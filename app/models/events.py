from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from app.models.columns import big_field, where


class Event(SQLModel, table=True):
    """One thing that happened, written in the transaction that did it.

    `subject` is the id of the thing that changed. For a change of state, `from_state` and `to_state` say
    which (`from_state` is None at birth). Events of one group are written under the lock of its row, so
    their ids are in order and without gaps for a reader of that group. The same goes for a bargain.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "group_id", "id"),
        Index("ix_events_communities", "community_id", "id", **where("community_id IS NOT NULL")),
        Index("ix_events_community_times", "community_id", "created_at", **where("community_id IS NOT NULL")),
        Index("ix_events_bargains", "bargain_id", "id", **where("bargain_id IS NOT NULL")),
    )

    id: int | None = big_field(default=None, primary_key=True)
    type: str = Field(max_length=40)
    subject: str = Field(max_length=40)
    from_state: str | None = Field(default=None, max_length=20)
    to_state: str | None = Field(default=None, max_length=20)
    sale_id: str | None = Field(default=None, max_length=40)
    group_id: str | None = Field(default=None, max_length=40)
    bargain_id: str | None = Field(default=None, max_length=40)
    member_id: str | None = Field(default=None, max_length=40)
    community_id: str | None = Field(default=None, max_length=40)
    """Of what happens in a community, but not in its sales."""
    data: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime
