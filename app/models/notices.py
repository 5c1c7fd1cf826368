"""What members are told, and the broadcasts of communities."""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint, false
from sqlmodel import Field, SQLModel

from app.domain.notices import DAILY_CAP, NoticeKind, PushState
from app.models.columns import (
    ID_LENGTH,
    big_field,
    check,
    id_field,
    link_field,
    loose_link_field,
    state_field,
    where,
)


class Notice(SQLModel, table=True):
    """Something a member is told. A push takes place `number` of 1..3 of the member's `day`, a digest the only one
    there is for digests.
    """

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("member_id", "day", "number"),
        Index("uq_notices_push", "push_id", "member_id", unique=True, **where("push_id IS NOT NULL")),
        Index("uq_notices_digest", "member_id", "day", unique=True, **where("kind = 'digest'")),
        check("number", f"number BETWEEN 1 AND {DAILY_CAP}"),
        check("place", "(kind = 'push') = (number IS NOT NULL)"),
        check("day", "(kind IN ('push', 'digest')) = (day IS NOT NULL)"),
        check("push_id", "(kind = 'push') = (push_id IS NOT NULL)"),
        Index(None, "member_id", "id"),
        Index("ix_notices_unread", "member_id", "id", **where("read_at IS NULL")),
        Index("ix_notices_quoting", "subject_id", **where("kind IN ('mention', 'answer')")),
    )

    id: str = id_field("ntc")
    member_id: str = link_field("members.id")
    kind: NoticeKind = state_field(NoticeKind)
    community_id: str | None = link_field("communities.id", default=None, nullable=True)
    push_id: str | None = link_field("pushes.id", default=None, nullable=True)
    subject_id: str | None = Field(default=None, max_length=ID_LENGTH)
    """The id of what it is about: an order, a post, a comment, a sale."""
    text: str = Field(max_length=2000)
    day: str | None = Field(default=None, max_length=10)
    """YYYY-MM-DD in the time zone of the community, of a digest that of the first community in it."""
    number: int | None = None
    read_at: datetime | None = None
    created_at: datetime


class Push(SQLModel, table=True):
    """A broadcast to the members of a community, and what it costs of what the community has earned."""

    __tablename__ = "pushes"
    __table_args__ = (
        UniqueConstraint("sender_id", "request_key"),
        check("cost", "cost >= 1"),
        check("recipients", "recipients >= 1"),
        check("sent_at", "(sent_at IS NOT NULL) = (state = 'sent')"),
        Index("ix_pushes_sent", "community_id", "sent_at", **where("sent_at IS NOT NULL")),
        Index("ix_pushes_due", "sends_at", **where("state IN ('scheduled', 'sending')")),
        Index(None, "community_id", "id"),
    )

    id: str = id_field("psh")
    community_id: str = link_field("communities.id")
    sender_id: str = link_field("members.id")
    text: str = Field(max_length=500)
    post_id: str | None = link_field("posts.id", default=None, nullable=True)
    sale_id: str | None = loose_link_field(default=None, nullable=True)
    segment_id: str | None = link_field("segments.id", default=None, nullable=True)
    to_chats: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Whether it also goes to the chats that are bound to the community, once to each."""
    state: PushState = state_field(PushState)
    cost: int = big_field()
    """Points of value; those of a cancelled push are spent no more."""
    recipients: int
    """Those it was for when it was asked for."""
    delivered: int = 0
    digested: int = 0
    """Those it reached at once, and those whose digest it went to."""
    sends_at: datetime
    """When to send it, or to go on: quiet hours put it off."""
    sent_at: datetime | None = None
    sent_to: str = Field(default="", max_length=ID_LENGTH)
    """The last member it was sent to: they are told in the order of their ids."""
    created_at: datetime
    request_key: str = Field(max_length=128)
    request_hash: str = Field(max_length=64)


class Overflow(SQLModel, table=True):
    """A push that waits for a member's next digest: there was no place for it, or they want digests."""

    __tablename__ = "overflows"
    __table_args__ = (Index(None, "due_at"),)

    member_id: str = link_field("members.id", primary_key=True)
    push_id: str = link_field("pushes.id", primary_key=True)
    created_at: datetime
    due_at: datetime
    """When the digest may be sent."""
