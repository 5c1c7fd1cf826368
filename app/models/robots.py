"""What is said in chats, and how far it has been read what there is to say."""

from datetime import datetime

from sqlalchemy import Index, Text
from sqlmodel import Field, SQLModel

from app.domain.robots import OutgoingState
from app.models.columns import big_field, check, id_field, link_field, state_field, where


class Robot(SQLModel, table=True):
    """How a binding stands with its platform."""

    __tablename__ = "robots"
    __table_args__ = (check("failures", "failures >= 0"),)

    binding_id: str = link_field("bindings.id", primary_key=True)
    earned_at: datetime
    """When all messages it has sent will have been earned."""
    next_at: datetime
    """When it may send the next one: the platform allows it, and does not want to be left alone."""
    busy_until: datetime | None = None
    """A message is on its way; after this moment whoever sent it is believed dead."""
    failures: int = 0
    """How often in a row it did not answer."""
    announced_at: datetime | None = None
    """When there was last news."""


class Announcement(SQLModel, table=True):
    """What a chat has heard of a group. The key is the place."""

    __tablename__ = "announcements"
    __table_args__ = (
        check("due_at", "(due_at IS NULL) = (since IS NULL)"),
        check("joined", "joined >= 0 AND (joined = 0 OR due_at IS NOT NULL)"),
        check("message_id", "(message_id IS NULL) = (posted_at IS NULL)"),
        Index("ix_announcements_due", "binding_id", "due_at", **where("due_at IS NOT NULL")),
        Index(None, "said_at"),
    )

    binding_id: str = link_field("bindings.id", primary_key=True)
    group_id: str = link_field("groups.id", primary_key=True)
    version: int = 0
    """Grows with all that happens to the group."""
    since: datetime | None = None
    """When the first thing happened that the chat has not heard of."""
    due_at: datetime | None = None
    """When it is told."""
    joined: int = 0
    """Members who have joined since the chat last heard of the group."""
    matters: bool = False
    """Whether something happened that is told in a message of its own."""
    said_at: datetime | None = None
    message_id: str | None = Field(default=None, max_length=200)
    """The last message about this group alone, as the platform calls it, where it can be changed."""
    posted_at: datetime | None = None


class Outgoing(SQLModel, table=True):
    """A message that waits for its turn, oldest first."""

    __tablename__ = "outgoing"
    __table_args__ = (
        check("content", "(content <> '') = (state = 'queued')"),
        check("ended_at", "(ended_at IS NOT NULL) = (state <> 'queued')"),
        check("reason", "(reason IS NOT NULL) = (state = 'dropped')"),
        Index("ix_outgoing_due", "binding_id", "due_at", "id", **where("state = 'queued'")),
        Index("ix_outgoing_ended", "ended_at", **where("ended_at IS NOT NULL")),
        Index("uq_outgoing_push", "push_id", "binding_id", unique=True, **where("push_id IS NOT NULL")),
    )

    id: str = id_field("out")
    binding_id: str = link_field("bindings.id")
    push_id: str | None = link_field("pushes.id", default=None, nullable=True)
    """The broadcast that it is; None: it answers somebody."""
    state: OutgoingState = state_field(OutgoingState)
    content: str = Field(sa_type=Text)
    """Where and what, sealed: whoever reads it could answer in our place, or log in. Nothing once it is over."""
    due_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    reason: str | None = Field(default=None, max_length=200)
    """Why it was dropped, without secrets."""
    created_at: datetime


class Cursor(SQLModel, table=True):
    """How far somebody has read the feed of events."""

    __tablename__ = "cursors"

    name: str = Field(primary_key=True, max_length=40)
    event_id: int = big_field()
