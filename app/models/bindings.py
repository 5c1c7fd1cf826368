"""Bindings of chats, and what is numbered in them."""

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from app.domain.bindings import BindingState, Language, PlatformName
from app.models.columns import ID_LENGTH, check, id_field, link_field, state_field, where


class Binding(SQLModel, table=True):
    """A robot or an app of ours on a chat platform, and the chat there in which it speaks for a community."""

    __tablename__ = "bindings"
    __table_args__ = (
        check("sealed", "(state = 'removed') = (credentials = '')"),
        check("removed_at", "(removed_at IS NOT NULL) = (state = 'removed')"),
        check("tested_at", "(tested_at IS NOT NULL) = (test_result IS NOT NULL)"),
        check("failed_at", "(failed_at IS NOT NULL) = (last_error IS NOT NULL)"),
        Index(
            "uq_bindings_chat",
            "platform",
            "chat_id",
            unique=True,
            **where("state = 'active' AND chat_id IS NOT NULL"),
        ),
    )

    id: str = id_field("bnd")
    platform: PlatformName = state_field(PlatformName)
    community_id: str = link_field("communities.id", index=True)
    chat_id: str | None = Field(default=None, max_length=200)
    """The group chat, as the platform calls it; None until somebody speaks to us in one. In private conversations
    we answer in any case.
    """
    language: Language = state_field(Language)
    credentials: str = Field(max_length=20_000)
    """Sealed, with the id of the binding as context; nothing once it is removed."""
    state: BindingState = state_field(BindingState)
    tested_at: datetime | None = None
    test_result: str | None = Field(default=None, max_length=200)
    failed_at: datetime | None = None
    """When the platform refused what we said last, if it did."""
    last_error: str | None = Field(default=None, max_length=200)
    """Why it did, without secrets."""
    created_at: datetime
    removed_at: datetime | None = None


class ChatNumber(SQLModel, table=True):
    """What the members of a community call an offer, a group or a bargain in their chats. The key is the place;
    no number is ever given to something else.
    """

    __tablename__ = "chat_numbers"
    __table_args__ = (
        check("number", "number >= 1"),
        Index("uq_chat_numbers_subject", "community_id", "subject", unique=True),
    )

    community_id: str = link_field("communities.id", primary_key=True)
    number: int = Field(primary_key=True)
    subject: str = Field(max_length=ID_LENGTH)
