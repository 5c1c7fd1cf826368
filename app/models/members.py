"""People: members, their sessions, and operators' keys."""

from datetime import datetime

from sqlalchemy import JSON, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.domain.members import MarkKind, SeenBy
from app.models.columns import id_field, link_field, state_field


class Member(SQLModel, table=True):
    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("provider", "subject"),)

    id: str = id_field("mem")
    provider: str = Field(max_length=20)
    subject: str = Field(max_length=120)
    name: str = Field(max_length=60)
    seen_by_friends: SeenBy = state_field(
        SeenBy, default=SeenBy.NAMED, sa_column_kwargs={"server_default": "named"}
    )
    created_at: datetime


class Session(SQLModel, table=True):
    """One login. The refresh token is rotated: only the newest one's hash is kept."""

    __tablename__ = "sessions"

    id: str = id_field("ses")
    member_id: str = link_field("members.id", index=True)
    refresh_hash: str = Field(max_length=64)
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


class OperatorKey(SQLModel, table=True):
    __tablename__ = "operator_keys"

    id: str = id_field("key")
    name: str = Field(max_length=60)
    key_hash: str = Field(max_length=64, unique=True)
    scopes: list[str] = Field(sa_type=JSON)
    created_at: datetime
    revoked_at: datetime | None = None
