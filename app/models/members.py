"""People: members, their sessions, and operators' keys."""

from datetime import datetime

from sqlalchemy import JSON, Index
from sqlmodel import Field, SQLModel

from app.domain.members import MarkKind, SeenBy
from app.models.columns import bucket_field, check, id_field, link_field, state_field, where


class Member(SQLModel, table=True):
    __tablename__ = "members"
    __table_args__ = (
        check("sweep_at", "sweep_at IS NULL OR erased_at IS NOT NULL"),
        Index(None, "bucket"),
        Index("ix_members_erased", "erased_at", **where("erased_at IS NOT NULL")),
        Index("ix_members_sweep", "sweep_at", **where("sweep_at IS NOT NULL")),
    )

    id: str = id_field("mem")
    name: str = Field(max_length=60)
    seen_by_friends: SeenBy = state_field(
        SeenBy, default=SeenBy.NAMED, sa_column_kwargs={"server_default": "named"}
    )
    created_at: datetime
    bucket: str | None = bucket_field("id")
    erased_at: datetime | None = None
    sweep_at: datetime | None = None
    """When what was left behind is swept next; None: it is all gone."""


class Identity(SQLModel, table=True):
    """Whom a provider knows a member as: one who logs in there, or speaks in a chat there, is this member. The key
    lets nobody be two members.
    """

    __tablename__ = "identities"

    provider: str = Field(primary_key=True, max_length=40)
    subject: str = Field(primary_key=True, max_length=120)
    member_id: str = link_field("members.id", index=True)
    created_at: datetime


class Session(SQLModel, table=True):
    """One login. The refresh token is rotated: only the newest one's hash is kept."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index(None, "expires_at"),
        Index("ix_sessions_revoked", "revoked_at", **where("revoked_at IS NOT NULL")),
    )

    id: str = id_field("ses")
    member_id: str = link_field("members.id", index=True)
    provider: str | None = Field(default=None, max_length=40)
    """Who confirmed the login; None of one that is older than this column."""
    refresh_hash: str = Field(max_length=64)
    refreshed_at: datetime | None = None
    expires_at: datetime
    revoked_at: datetime | None = None
    created_at: datetime


class Mark(SQLModel, table=True):
    """Something of a member's that two accounts of one person would share. Only its digest is kept."""

    __tablename__ = "marks"
    __table_args__ = (Index(None, "kind", "digest"),)

    member_id: str = link_field("members.id", primary_key=True)
    kind: MarkKind = state_field(MarkKind, primary_key=True)
    digest: str = Field(primary_key=True, max_length=64)
    created_at: datetime


class Phone(SQLModel, table=True):
    """A member's number: sealed, and found by its digest. Two accounts may have the same one."""

    __tablename__ = "phones"

    member_id: str = link_field("members.id", primary_key=True)
    number: str = Field(max_length=120)
    digest: str = Field(max_length=64, index=True)
    provider: str = Field(max_length=40)
    created_at: datetime


class OperatorKey(SQLModel, table=True):
    __tablename__ = "operator_keys"

    id: str = id_field("key")
    name: str = Field(max_length=60)
    key_hash: str = Field(max_length=64, unique=True)
    scopes: list[str] = Field(sa_type=JSON)
    created_at: datetime
    revoked_at: datetime | None = None
