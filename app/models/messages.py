"""What came in from chats."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.messages import MAX_ATTEMPTS, MessageState
from app.models.columns import check, id_field, link_field, state_field, where


class Message(SQLModel, table=True):
    """Something that was said to us: a command, or anything in a private conversation. Its key refuses its
    repetition. What is kept of it is the command that we understood, and not a word else.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("binding_id", "message_id"),
        check("attempts", f"attempts BETWEEN 0 AND {MAX_ATTEMPTS}"),
        check("forgotten", "state = 'received' OR (reply_token IS NULL AND sender_id = '' AND chat_id = '')"),
        Index("ix_messages_received", "binding_id", "id", **where("state = 'received'")),
        Index(None, "created_at"),
    )

    id: str = id_field("msg")
    binding_id: str = link_field("bindings.id")
    message_id: str = Field(max_length=200)
    """A digest of the platform's, which may say who it is from."""
    chat_id: str = Field(max_length=200)
    sender_id: str = Field(max_length=120)
    """Both empty once it is answered: whoever is no member yet could not have them erased."""
    member_id: str | None = link_field("members.id", default=None, nullable=True, index=True)
    """Who that was, as far as we knew when we answered."""
    command: dict[str, Any] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    """A `Command`; None: nothing that we understood."""
    is_private: bool
    reply_token: str | None = Field(default=None, max_length=3000)
    """Sealed, with the id of the message as context."""
    state: MessageState = state_field(MessageState)
    attempts: int = 0
    created_at: datetime


class Nonce(SQLModel, table=True):
    """A webhook that was accepted once. The key refuses its repetition."""

    __tablename__ = "nonces"

    binding_id: str = link_field("bindings.id", primary_key=True)
    digest: str = Field(primary_key=True, max_length=64)
    """Of what the platform says no two webhooks share."""
    seen_at: datetime = Field(index=True)


class LinkCode(SQLModel, table=True):
    """A secret, good once and for ten minutes, that says that somebody in a chat is a member. It is made by one of
    them and used by the other: it begins with one half, and has both once it was used.
    """

    __tablename__ = "link_codes"
    __table_args__ = (
        check("subject", "(provider IS NULL) = (subject IS NULL)"),
        check("made_by", "member_id IS NOT NULL OR subject IS NOT NULL"),
        check("used_at", "(used_at IS NOT NULL) = (member_id IS NOT NULL AND subject IS NOT NULL)"),
        Index(None, "provider", "subject"),
    )

    digest: str = Field(primary_key=True, max_length=64)
    member_id: str | None = link_field("members.id", default=None, nullable=True, index=True)
    provider: str | None = Field(default=None, max_length=40)
    subject: str | None = Field(default=None, max_length=120)
    created_at: datetime
    expires_at: datetime = Field(index=True)
    used_at: datetime | None = None
